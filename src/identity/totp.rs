//! The second factor: time-based codes (RFC 6238, SHA-1, six digits, 30 seconds, as every authenticator app has them),
//! and recovery codes for the day when the phone is lost.

use autostack_domain::{
    Secret,
    account::{SecretDigest, Totp},
    time::UnixMillis,
};
use aws_lc_rs::rand;
use totp_rs::Builder;

use crate::opaque::{NoRandomness, digest_of, same};

/// Recovery codes that somebody gets.
pub const RECOVERY_CODES: usize = 10;
/// Bytes of the shared secret: what RFC 4226 recommends.
const SECRET_BYTES: usize = 20;
/// Characters of recovery codes: those that nobody mistakes for one another.
const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz123456789";
/// Characters of a recovery code, of 5 bits each; shown in two halves.
const CODE_CHARS: usize = 16;

/// A second factor that is offered: shown once, and confirmed by a first code.
#[derive(Debug)]
pub struct Offer {
    /// The shared secret, in base32, to type in.
    pub secret: Secret<String>,
    /// The same as an `otpauth://` address, to scan.
    pub url: Secret<String>,
}

/// Offers a second factor to the account with that address; `host` is what an authenticator shows beside it.
///
/// # Errors
/// When the host gives no random numbers.
pub fn offer(host: &str, email: &str) -> Result<Offer, NoRandomness> {
    let mut bytes = [0; SECRET_BYTES];
    rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
    let secret = totp_rs::Secret::new(bytes.into());
    let base32 = secret.to_base32();
    // Colons separate the parts of the address.
    let (issuer, account) = (format!("autostack {host}").replace(':', " "), email.replace(':', " "));
    let totp =
        Builder::new().with_secret(secret).with_account_name(account).with_issuer(Some(issuer)).build();
    let url = totp.and_then(|totp| totp.to_url()).map_err(|_| NoRandomness)?;
    Ok(Offer { secret: Secret::new(base32), url: Secret::new(url) })
}

/// The time step of a code, if it is one of this secret, now or a step earlier or later.
pub fn step_of(secret: &str, code: &str, now: UnixMillis) -> Option<u64> {
    let secret = totp_rs::Secret::try_from_base32(secret).ok()?;
    let totp = Builder::new().with_secret(secret).build().ok()?;
    totp.check(code, u64::try_from(now.0 / 1000).ok()?)
}

/// Takes a code or a recovery code; whether it was good. Changes what is kept, so that it is good only once.
pub fn take(factor: &mut Totp, code: &str, now: UnixMillis) -> bool {
    let code = code.trim();
    if let Some(step) = step_of(&factor.secret, code, now) {
        let is_new = step > factor.last_step;
        factor.last_step = factor.last_step.max(step);
        return is_new;
    }
    let shown = digest_of(normal(code).as_bytes());
    let before = factor.recovery.len();
    factor.recovery.retain(|known| !same(known, &shown));
    factor.recovery.len() < before
}

/// New recovery codes: as they are shown, once, and as they are kept.
///
/// # Errors
/// When the host gives no random numbers.
pub fn recovery_codes() -> Result<(Vec<Secret<String>>, Vec<SecretDigest>), NoRandomness> {
    let code = || {
        let mut bytes = [0; CODE_CHARS];
        rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
        let code: String = bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect();
        let digest = digest_of(code.as_bytes());
        let (left, right) = code.split_at(CODE_CHARS / 2);
        Ok((Secret::new(format!("{left}-{right}")), digest))
    };
    (0..RECOVERY_CODES).map(|_| code()).collect::<Result<Vec<_>, _>>().map(|codes| codes.into_iter().unzip())
}

/// As it is kept: without what people put in between.
fn normal(code: &str) -> String {
    code.chars().filter(|c| c.is_ascii_alphanumeric()).map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

    fn at(seconds: i64) -> UnixMillis {
        UnixMillis(NOW.0 + seconds * 1000)
    }

    fn code_at(secret: &str, moment: UnixMillis) -> String {
        let secret = totp_rs::Secret::try_from_base32(secret).unwrap();
        let totp = Builder::new().with_secret(secret).build().unwrap();
        totp.generate(u64::try_from(moment.0 / 1000).unwrap()).to_string()
    }

    fn factor() -> Totp {
        let offer = offer("example.com", "ada@example.com").unwrap();
        Totp { secret: offer.secret.expose().clone(), last_step: 0, recovery: vec![] }
    }

    #[test]
    fn the_codes_are_those_of_rfc_6238() {
        // Appendix B, SHA-1, the last six of the eight digits.
        let secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
        for (seconds, code) in [(59, "287082"), (1_111_111_109, "081804"), (2_000_000_000, "279037")] {
            assert_eq!(
                step_of(secret, code, UnixMillis(seconds * 1000)),
                Some(u64::try_from(seconds).unwrap() / 30)
            );
        }
    }

    #[test]
    fn b5_a_code_counts_once_and_within_one_step() {
        let mut factor = factor();
        let code = code_at(&factor.secret, NOW);
        assert!(take(&mut factor, &code, at(20)) && !take(&mut factor, &code, at(20)));
        let earlier = code_at(&factor.secret, at(-30));
        assert!(!take(&mut factor, &earlier, NOW), "an earlier step after a later one");
        let later = code_at(&factor.secret, at(300));
        assert!(!take(&mut factor, &later, NOW) && take(&mut factor, &later, at(330)));
        for bad in ["", "12345", "1234567", "abcdef", "١٢٣٤٥٦"] {
            assert!(!take(&mut factor, bad, NOW), "{bad}");
        }
    }

    #[test]
    fn a_recovery_code_counts_once_however_it_is_typed() {
        let (shown, kept) = recovery_codes().unwrap();
        assert_eq!((shown.len(), kept.len()), (RECOVERY_CODES, RECOVERY_CODES));
        let mut factor = Totp { recovery: kept, ..factor() };
        let typed = shown[3].expose().to_uppercase().replace('-', " ");
        assert!(take(&mut factor, &typed, NOW) && !take(&mut factor, &typed, NOW));
        assert_eq!(factor.recovery.len(), RECOVERY_CODES - 1);
    }

    #[test]
    fn an_offer_can_be_scanned() {
        let offer = offer("example.com", "ada@example.com").unwrap();
        let url = offer.url.expose();
        assert!(url.starts_with("otpauth://totp/autostack%20example.com:ada%40example.com?"), "{url}");
        assert!(url.contains(offer.secret.expose().as_str()));
    }
}
