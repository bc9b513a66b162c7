//! A certificate chain with its key, as an operator brings it.

use crate::{limits, names::Invalid, secret::Secret};

/// Chain and key in PEM, the leaf first. That they fit together is checked where they come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificatePem {
    /// The certificates.
    pub chain: String,
    /// The private key.
    pub key: Secret<String>,
}

impl CertificatePem {
    /// Sorts what was sent in one piece: blocks of certificates and one block with a private key, in any order.
    /// What stands between blocks is left out.
    ///
    /// # Errors
    /// No certificate, no key or several, or more than [`limits::CERTIFICATE_BYTES_MAX`].
    pub fn sort(text: &str) -> Result<Self, Invalid> {
        // Never repeated: it may hold the key.
        let refuse = |why: String| Err(Invalid::new("certificate", "", why));
        if text.len() > limits::CERTIFICATE_BYTES_MAX {
            return refuse(format!("more than {} KiB", limits::CERTIFICATE_BYTES_MAX >> 10));
        }
        let (mut chain, mut keys) = (String::new(), Vec::new());
        let mut rest = text;
        while let Some((label, block, after)) = next_block(rest) {
            match label {
                "CERTIFICATE" => {
                    chain.push_str(block);
                    chain.push('\n');
                }
                label if label.ends_with("PRIVATE KEY") => keys.push(block),
                _ => {}
            }
            rest = after;
        }
        if chain.is_empty() {
            return refuse("there is no -----BEGIN CERTIFICATE----- in it".to_owned());
        }
        match keys.as_slice() {
            [key] => Ok(Self { chain, key: Secret::new(format!("{key}\n")) }),
            [] => refuse("there is no private key in it".to_owned()),
            _ => refuse("there is more than one private key in it".to_owned()),
        }
    }
}

/// The label of the first PEM block, the block itself, and what follows.
fn next_block(text: &str) -> Option<(&str, &str, &str)> {
    const BEGIN: &str = "-----BEGIN ";
    let start = text.find(BEGIN)?;
    let (label, _) = text[start + BEGIN.len()..].split_once("-----")?;
    let end_line = format!("-----END {label}-----");
    let end = start + text[start..].find(&end_line)? + end_line.len();
    Some((label, &text[start..end], &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(label: &str, text: &str) -> String {
        format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----")
    }

    #[test]
    fn blocks_are_sorted_whatever_their_order() {
        let text = format!(
            "{}\nBag Attributes\n{}\n{}",
            block("EC PRIVATE KEY", "k"),
            block("CERTIFICATE", "a"),
            block("CERTIFICATE", "b")
        );
        let sorted = CertificatePem::sort(&text).unwrap();
        assert_eq!(sorted.chain, format!("{}\n{}\n", block("CERTIFICATE", "a"), block("CERTIFICATE", "b")));
        assert_eq!(*sorted.key.expose(), format!("{}\n", block("EC PRIVATE KEY", "k")));
    }

    #[test]
    fn what_is_not_one_chain_and_one_key_is_refused_and_not_repeated() {
        let (key, certificate) = (block("PRIVATE KEY", "hunter2"), block("CERTIFICATE", "a"));
        for bad in [
            "",
            &key,
            &certificate,
            &format!("{key}\n{key}\n{certificate}"),
            "-----BEGIN CERTIFICATE-----\nx",
            &"x".repeat(limits::CERTIFICATE_BYTES_MAX + 1),
        ] {
            let refused = CertificatePem::sort(bad).unwrap_err();
            assert!(!refused.to_string().contains("hunter2"), "{refused}");
        }
    }
}
