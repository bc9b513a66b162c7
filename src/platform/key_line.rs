//! A public key as people paste it: exactly one line of a `.pub` file, of a kind that is strong enough.

use ssh_key::PublicKey;

use crate::error::{ErrorKind, PlatformError};

/// Bytes of a key's line; an RSA key of 16,384 bits takes 2.8 KiB.
pub const KEY_LINE_BYTES_MAX: usize = 16 * 1024;
/// Bits of an RSA key, below which it is no proof of anything.
const RSA_BITS_MIN: u32 = 2048;
/// What the lines of keys begin with that are understood here.
const KINDS: [&str; 3] = ["ssh-", "ecdsa-", "sk-"];

/// Reads the key in a text: blank lines and lines of comment around it are nobody's. Nothing of what was given is
/// repeated in a refusal: it may be a secret.
pub(crate) fn parse(given: &str) -> Result<PublicKey, PlatformError> {
    if given.contains("PRIVATE KEY") || given.contains("PuTTY-User-Key-File") {
        return Err(refuse("it is a private key; keep it to yourself"));
    }
    if given.len() > KEY_LINE_BYTES_MAX {
        return Err(refuse(&format!("{} bytes; the limit is {KEY_LINE_BYTES_MAX} bytes", given.len())));
    }
    let mut lines = given.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let line = lines.next().ok_or_else(|| refuse("it is empty"))?;
    let more = lines.count();
    if line.starts_with("----") {
        return Err(refuse("it is in another format; ssh-keygen -i -f FILE prints the one that is wanted"));
    }
    if more > 0 {
        return Err(refuse(&format!("there are {} lines; add one key at a time", more + 1)));
    }
    if !begins_a_key(line) && line.match_indices([' ', '\t']).any(|(at, _)| begins_a_key(&line[at + 1..])) {
        return Err(refuse(
            "options stand in front of it, and they would have no effect here; leave them away",
        ));
    }
    let key = PublicKey::from_openssh(line).map_err(|error| refuse(&error.to_string()))?;
    match key.key_data() {
        data if data.is_dsa() => {
            Err(refuse("it is a DSA key, which nobody trusts any more; make one of ed25519"))
        }
        data => match data.rsa().map(ssh_key::public::RsaPublicKey::key_size) {
            Some(bits) if bits < RSA_BITS_MIN => {
                Err(refuse(&format!("it is an RSA key of {bits} bits; it needs {RSA_BITS_MIN} or more")))
            }
            _ => Ok(key),
        },
    }
}

fn begins_a_key(text: &str) -> bool {
    KINDS.iter().any(|kind| text.starts_with(kind))
}

fn refuse(why: &str) -> PlatformError {
    PlatformError::new(ErrorKind::Invalid, format!("this is not a public key: {why}"))
        .hint("give one line of a .pub file, such as ~/.ssh/id_ed25519.pub, on standard input")
}

#[cfg(test)]
mod tests {
    use ssh_key::HashAlg;

    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ ada@laptop";
    const RSA_1024: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQDAYSaqIrTwuKD2P2nA7CwmFdHCaoxO5oqpmLtHylCTpzMpTcrofr3Sre4dm1xk+f00OFKNGKbJ2Sny7Pl/83e7NNmFG0wgI8p1NLw4e/IuFe19bm1pldFZx9rpSDL6+UAS2P7jqomPphsoU3qJ9GN3uQdweojWR5LJ6/QAU5uqiw==";
    const DSA: &str = "ssh-dss AAAAB3NzaC1kc3MAAACBAMFHeThprCpvM5RxZx4XQpbsaY+XgjGPuEiU+zMwo22s7muO1WkoTcrs0OaIk5yseu+dE3xPB4k3Ccgr6Jo5szl/DNULYq/kzKWl4jbqHuWY9yIkqJfWGMqJ2MWAp2k4zyHk1QznypfyWh40CXTgHlaSJ19pFUizZwXxKw25NY5LAAAAFQCW5Yj274BOHikQKOzsP3cLAWrRrwAAAIEAjlD8yPcEbRLhD88hCMOm5RFTz6hPPaseKj+N3MAAeTaCZxNe29hUEwNlm/aoNnD5+nJT3jSrQ7aDYRiXkRqrT+L5Bj1TuB+fnfNkJH4TDxQ0YjY4lo5mWQB1RJdxFNKjP6B3ySlc/Ajbhcu2ZzkCNhCAhwOMkk/8sj1RSslS5GQAAACBAIf+sUsedw5IFPNxkul4YUdNqYd6E27nE09FkNXx6NWD02R4lVQbEJqU5DqqKazmbg/ML2qqIInSbMPwQ9JR7QJtcE3LMl24jbAto85k2deKQR35GPJSW740suvK93bndAMQzQxKcRL3RLZskm2lcqN6XSTb8vIiTGDzmqCJQCFW";

    #[test]
    fn a_line_of_a_pub_file_is_a_key() {
        for given in
            [format!("{KEY}\n"), format!("\r\n# Ada's\r\n\t{KEY}\r\n\n"), KEY.replace(" ada@laptop", "")]
        {
            let key = parse(&given).unwrap();
            assert!(key.fingerprint(HashAlg::Sha256).to_string().starts_with("SHA256:"));
        }
    }

    #[test]
    fn what_is_no_public_key_is_refused_without_being_repeated() {
        let long = format!("{KEY}{}", "x".repeat(KEY_LINE_BYTES_MAX));
        let (two, options) = (format!("{KEY}\n{KEY}\n"), format!("command=\"id canary\",no-pty {KEY}"));
        for (bad, why) in [
            ("", "empty"),
            ("# only this", "empty"),
            ("ssh-ed25519", ""),
            ("canary", ""),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\ncanary", "keep it to yourself"),
            ("PuTTY-User-Key-File-3: ssh-ed25519\ncanary", "keep it to yourself"),
            ("---- BEGIN SSH2 PUBLIC KEY ----\ncanary", "ssh-keygen -i"),
            (&long, "16384 bytes"),
            (&two, "2 lines"),
            (&options, "options"),
            (RSA_1024, "1024 bits"),
            (DSA, "DSA"),
        ] {
            let refused = parse(bad).unwrap_err();
            assert_eq!(refused.kind, ErrorKind::Invalid, "{bad:?}");
            let said = refused.message;
            assert!(said.contains(why) && !said.contains("canary"), "{bad:?}: {said}");
        }
    }
}
