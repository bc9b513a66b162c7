//! Chains that fit and chains that do not.

use rcgen::{BasicConstraints, IsCa, Issuer};

use super::*;

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

fn pattern(text: &str) -> HostPattern {
    text.parse().unwrap()
}

/// A chain of an app's certificate and the authority that made it, and the app's key.
fn issued(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> (String, String, Secret<String>) {
    let today = ASN1Time::from_timestamp(NOW.0 / 1_000).unwrap().to_datetime();
    let mut of_authority = CertificateParams::new(Vec::new()).unwrap();
    of_authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    of_authority.distinguished_name.push(DnType::CommonName, "Authority");
    of_authority.not_before = today;
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let authority = of_authority.self_signed(&authority_key).unwrap();
    let mut params =
        CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    params.not_before = today;
    params.not_after = today + DAY * 90;
    change(&mut params);
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = params.signed_by(&key, &Issuer::new(of_authority, authority_key)).unwrap();
    (leaf.pem(), authority.pem(), Secret::new(key.serialize_pem()))
}

#[test]
fn a_chain_that_fits_tells_what_it_is_for() {
    let (leaf, authority, key) = issued(&["example.test", "*.example.test"], |_| {});
    let facts = check(&CertificatePem { chain: leaf + &authority, key }, NOW).unwrap();
    assert_eq!(facts.hosts, [pattern("example.test"), pattern("*.example.test")]);
    assert!(!facts.is_self_signed && facts.issuer.contains("Authority"), "{facts:?}");
    assert_eq!(facts.starts_at, NOW);
    assert_eq!(facts.expires_at, UnixMillis(NOW.0 + 90 * 24 * 3_600 * 1_000));
    for covered in ["example.test", "www.example.test", "*.example.test"] {
        assert!(facts.covers(&pattern(covered)), "{covered}");
    }
    for not in ["a.b.example.test", "*.www.example.test", "other.test"] {
        assert!(!facts.covers(&pattern(not)), "{not}");
    }
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let (leaf, authority, key) = issued(&["example.test"], |_| {});
    let (other_leaf, other_authority, other_key) = issued(&["other.test"], |_| {});
    let look = |chain: String, key: &Secret<String>| check(&CertificatePem { chain, key: key.clone() }, NOW);
    assert!(look(leaf.clone(), &key).is_ok(), "a chain may leave its authority out");
    assert!(matches!(look(leaf.clone(), &other_key), Err(CertificateError::WrongKey(_))));
    for second in [&other_authority, &other_leaf, &leaf] {
        let wrong = look(format!("{leaf}{second}"), &key);
        assert_eq!(wrong, Err(CertificateError::WrongOrder { at: 1 }));
    }
    assert!(matches!(look(authority + &leaf, &key), Err(CertificateError::WrongKey(_))));
    let damaged = leaf.replacen("M", "N", 1);
    assert!(matches!(look(damaged, &key), Err(CertificateError::Unreadable { .. })));
    let no_key = Secret::new("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".to_owned());
    assert!(matches!(
        look(leaf.clone(), &no_key),
        Err(CertificateError::Unreadable { what: "private key", .. })
    ));
    assert_eq!(look(leaf.repeat(CHAIN_CERTIFICATES_MAX + 1), &key), Err(CertificateError::TooLong));
    assert!(matches!(look(String::new(), &key), Err(CertificateError::Unreadable { .. })));
}

#[test]
fn the_time_must_be_right_and_a_stored_one_is_read_whenever() {
    let (leaf, _, key) = issued(&["example.test"], |_| {});
    let pem = CertificatePem { chain: leaf, key };
    let after = UnixMillis(NOW.0 + 91 * 24 * 3_600 * 1_000);
    assert!(matches!(check(&pem, after), Err(CertificateError::Expired { .. })));
    assert!(matches!(check(&pem, UnixMillis(NOW.0 - 10_000)), Err(CertificateError::NotYet { .. })));
    assert_eq!(facts(&pem).unwrap().expires_at, check(&pem, NOW).unwrap().expires_at);
    let (nameless, _, key) = issued(&[], |_| {});
    assert_eq!(check(&CertificatePem { chain: nameless, key }, NOW), Err(CertificateError::NoHost));
}

#[test]
fn one_that_is_made_here_fits() {
    let hosts = [pattern("shop.example.test"), pattern("*.shop.example.test")];
    let pem = generate(&hosts, NOW).unwrap();
    let facts = check(&pem, NOW).unwrap();
    assert!(facts.is_self_signed);
    assert_eq!(facts.hosts, hosts);
    assert_eq!(check(&pem, UnixMillis(NOW.0 + 999)).unwrap(), facts);
    assert!(generate(&hosts, NOW).unwrap() != pem, "each has a key of its own");
}
