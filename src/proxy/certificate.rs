//! A certificate chain and its key, looked at before anything is done with them: that they can be read and belong
//! together, that each certificate was made by the next, that the time is right, and for which hosts they stand.

use std::time::Duration;

use autostack_domain::{CertificatePem, Host, Secret, UnixMillis, address::HostPattern};
use aws_lc_rs::{
    rsa,
    signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};
use rcgen::{CertificateParams, DistinguishedName, DnType};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer, time::ASN1Time};

use crate::limits::{CHAIN_CERTIFICATES_MAX, GENERATED_DAYS};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Why a certificate cannot be used, for its owner.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// A block is not what its label says.
    #[error("the {what} cannot be read: {why}")]
    Unreadable {
        /// `certificate`, `private key`.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// More certificates than any chain has.
    #[error("the chain has more than {CHAIN_CERTIFICATES_MAX} certificates")]
    TooLong,
    /// The key is another one's.
    #[error("the private key does not belong to the first certificate of the chain, which is for {0}")]
    WrongKey(String),
    /// The chain is out of order.
    #[error(
        "certificate {at} of the chain was not issued by the one behind it: put the app's own first, then each issuer"
    )]
    WrongOrder {
        /// Counted from 1.
        at: usize,
    },
    /// Its time is over.
    #[error("the certificate for {subject} expired on {at}")]
    Expired {
        /// Whose.
        subject: String,
        /// When.
        at: String,
    },
    /// Its time has not come.
    #[error("the certificate for {subject} is not valid before {at}")]
    NotYet {
        /// Whose.
        subject: String,
        /// From when on it is.
        at: String,
    },
    /// It is for no host.
    #[error("the certificate names no host")]
    NoHost,
    /// None can be made.
    #[error("a certificate cannot be made: {0}")]
    Generate(String),
}

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Hosts that it is for, as it names them.
    pub hosts: Vec<HostPattern>,
    /// Who made it.
    pub issuer: String,
    /// For whom.
    pub subject: String,
    /// From when on it is valid.
    pub starts_at: UnixMillis,
    /// Until when.
    pub expires_at: UnixMillis,
    /// Whether it was made with its own key.
    pub is_self_signed: bool,
}

impl Facts {
    /// Whether browsers take it for these hosts: a wildcard of a certificate stands for one label only.
    pub fn covers(&self, wanted: &HostPattern) -> bool {
        self.hosts.iter().any(|named| {
            named == wanted
                || (named.is_wildcard()
                    && !wanted.is_wildcard()
                    && is_right_below(wanted.host(), named.host()))
        })
    }
}

fn is_right_below(host: &Host, above: &Host) -> bool {
    host.as_str().split_once('.').is_some_and(|(_, rest)| rest == above.as_str())
}

/// Looks at a chain and its key.
///
/// # Errors
/// The first thing that is wrong with them.
pub fn check(pem: &CertificatePem, now: UnixMillis) -> Result<Facts, CertificateError> {
    let ders = chain(&pem.chain)?;
    let certificates = ders.iter().map(|der| parse(der)).collect::<Result<Vec<_>, _>>()?;
    let Some(leaf) = certificates.first() else {
        return Err(unreadable("certificate", "there is none"));
    };
    let subject = leaf.subject().to_string();
    if public_key_of(&pem.key)? != leaf.public_key().subject_public_key.data.as_ref() {
        return Err(CertificateError::WrongKey(subject));
    }
    for (at, pair) in certificates.windows(2).enumerate() {
        let [issued, issuer] = pair else { continue };
        let is_issuer =
            issued.issuer() == issuer.subject() && issued.verify_signature(Some(issuer.public_key())).is_ok();
        if !is_issuer {
            return Err(CertificateError::WrongOrder { at: at + 1 });
        }
    }
    for certificate in &certificates {
        check_time(certificate, now)?;
    }
    let hosts = hosts_of(leaf);
    if hosts.is_empty() {
        return Err(CertificateError::NoHost);
    }
    let is_self_signed = leaf.issuer() == leaf.subject() && leaf.verify_signature(None).is_ok();
    let validity = leaf.validity();
    Ok(Facts {
        hosts,
        issuer: leaf.issuer().to_string(),
        subject,
        starts_at: millis(validity.not_before),
        expires_at: millis(validity.not_after),
        is_self_signed,
    })
}

/// What a stored certificate says, without asking whether its time is right.
///
/// # Errors
/// When it cannot be read.
pub fn facts(pem: &CertificatePem) -> Result<Facts, CertificateError> {
    let ders = chain(&pem.chain)?;
    let leaf =
        ders.first().map(|der| parse(der)).ok_or_else(|| unreadable("certificate", "there is none"))??;
    check(pem, millis(leaf.validity().not_before)).or_else(|error| match error {
        // Somebody further up in the chain began later.
        CertificateError::NotYet { .. } | CertificateError::Expired { .. } => Ok(Facts {
            hosts: hosts_of(&leaf),
            issuer: leaf.issuer().to_string(),
            subject: leaf.subject().to_string(),
            starts_at: millis(leaf.validity().not_before),
            expires_at: millis(leaf.validity().not_after),
            is_self_signed: false,
        }),
        error => Err(error),
    })
}

/// Makes a certificate that nobody but its owner vouches for, valid from today on, with an ECDSA P-256 key.
///
/// # Errors
/// When the host gives no random numbers.
pub fn generate(hosts: &[HostPattern], now: UnixMillis) -> Result<CertificatePem, CertificateError> {
    let failed = |error: rcgen::Error| CertificateError::Generate(error.to_string());
    let names: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names.clone()).map_err(failed)?;
    params.distinguished_name = DistinguishedName::new();
    // A common name has 64 characters at most; what counts are the alternative names.
    if let Some(first) = names.iter().find(|name| name.len() <= 64) {
        params.distinguished_name.push(DnType::CommonName, first.as_str());
    }
    let today = ASN1Time::from_timestamp(now.0 / 1_000)
        .map_err(|error| CertificateError::Generate(error.to_string()))?
        .to_datetime();
    params.not_before = today;
    params.not_after = today + DAY * GENERATED_DAYS;
    let key = rcgen::KeyPair::generate().map_err(failed)?;
    let certificate = params.self_signed(&key).map_err(failed)?;
    Ok(CertificatePem { chain: certificate.pem(), key: Secret::new(key.serialize_pem()) })
}

fn unreadable(what: &'static str, why: impl std::fmt::Display) -> CertificateError {
    CertificateError::Unreadable { what, why: why.to_string() }
}

fn chain(pem: &str) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let mut ders = Vec::new();
    for der in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        if ders.len() == CHAIN_CERTIFICATES_MAX {
            return Err(CertificateError::TooLong);
        }
        ders.push(der.map_err(|error| unreadable("certificate", error))?);
    }
    Ok(ders)
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, CertificateError> {
    match X509Certificate::from_der(der.as_ref()) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(unreadable("certificate", "there is more behind its end")),
        Err(error) => Err(unreadable("certificate", error)),
    }
}

/// The public half of a private key, as certificates hold it.
fn public_key_of(key: &Secret<String>) -> Result<Vec<u8>, CertificateError> {
    let der = PrivateKeyDer::from_pem_slice(key.expose().as_bytes())
        .map_err(|error| unreadable("private key", error))?;
    let bytes = der.secret_der();
    let rsa = rsa::KeyPair::from_pkcs8(bytes).or_else(|_| rsa::KeyPair::from_der(bytes));
    if let Ok(key) = rsa {
        return Ok(key.public_key().as_ref().to_vec());
    }
    for algorithm in [
        &signature::ECDSA_P256_SHA256_ASN1_SIGNING,
        &signature::ECDSA_P384_SHA384_ASN1_SIGNING,
        &signature::ECDSA_P521_SHA512_ASN1_SIGNING,
    ] {
        if let Ok(key) = EcdsaKeyPair::from_private_key_der(algorithm, bytes) {
            return Ok(key.public_key().as_ref().to_vec());
        }
    }
    match Ed25519KeyPair::from_pkcs8(bytes) {
        Ok(key) => Ok(key.public_key().as_ref().to_vec()),
        Err(_) => Err(unreadable("private key", "it is no unencrypted RSA, ECDSA or Ed25519 key")),
    }
}

fn check_time(certificate: &X509Certificate<'_>, now: UnixMillis) -> Result<(), CertificateError> {
    let validity = certificate.validity();
    let (subject, show) = (certificate.subject().to_string(), |time: ASN1Time| time.to_string());
    if millis(validity.not_after) < now {
        return Err(CertificateError::Expired { subject, at: show(validity.not_after) });
    }
    // Seconds are all that a certificate counts.
    if validity.not_before.timestamp() > now.0 / 1_000 {
        return Err(CertificateError::NotYet { subject, at: show(validity.not_before) });
    }
    Ok(())
}

/// The alternative names that are hosts; where there is no such list, the common name, as of old.
fn hosts_of(certificate: &X509Certificate<'_>) -> Vec<HostPattern> {
    let names = certificate.subject_alternative_name().ok().flatten();
    let of_list = names.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
        GeneralName::DNSName(name) => name.parse().ok(),
        _ => None,
    });
    let mut hosts: Vec<HostPattern> = of_list.collect();
    if names.is_none() {
        let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
        hosts.extend(common.filter_map(|name| name.parse::<HostPattern>().ok()));
    }
    hosts
}

fn millis(time: ASN1Time) -> UnixMillis {
    UnixMillis(time.timestamp().saturating_mul(1_000))
}

#[cfg(test)]
mod tests;
