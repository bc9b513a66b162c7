//! What this door speaks: the protocol's parameters, chosen once.

use std::{borrow::Cow, sync::Arc, time::Duration};

use russh::{
    MethodKind, MethodSet, Preferred, SshId, cipher, compression, kex,
    keys::{Algorithm, EcdsaCurve, HashAlg},
    mac,
    server::Config,
};

use crate::{host_key::HostKey, limits::Limits};

/// Our first line, without its end.
pub(crate) const IDENTIFICATION: &str = concat!("SSH-2.0-autostack_", env!("CARGO_PKG_VERSION"));

/// Bytes that a client may send before it hears that they have arrived. At 80 ms there and back, 60 MB take
/// 1.5 s with it and 6.0 s with the 2 MiB that are usual.
const WINDOW_BYTES: u32 = 8 * 1024 * 1024;

/// Bytes of one packet, as OpenSSH sends them.
const PACKET_BYTES_MAX: u32 = 32 * 1024;

/// What a refused key costs. Nothing needs more: a key is not guessed.
const REJECTION: Duration = Duration::from_millis(50);

/// Key exchange: with a half that a quantum computer does not break where the client can, and the two names
/// by which both sides agree on strict mode (threat C6, Terrapin) and on signature algorithms.
const KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::EXTENSION_SUPPORT_AS_SERVER,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
];

/// Host keys and users' keys. RSA is verified only, never with SHA-1.
const KEYS: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::SkEd25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    Algorithm::SkEcdsaSha2NistP256,
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
];

const CIPHERS: &[cipher::Name] = &[
    cipher::CHACHA20_POLY1305,
    cipher::AES_256_GCM,
    cipher::AES_128_GCM,
    // For clients of some age; OpenSSH never takes it while one of the above is there.
    cipher::AES_256_CTR,
];

const MACS: &[mac::Name] = &[mac::HMAC_SHA512_ETM, mac::HMAC_SHA256_ETM];

/// Whether a key of this algorithm may be used to log in.
pub(crate) fn accepts(algorithm: &Algorithm) -> bool {
    KEYS.contains(algorithm)
}

pub(crate) fn config(host_key: &HostKey, limits: &Limits) -> Arc<Config> {
    Arc::new(Config {
        server_id: SshId::Standard(Cow::Borrowed(IDENTIFICATION)),
        methods: MethodSet::from([MethodKind::PublicKey].as_slice()),
        // OpenSSH begins with "none", only to learn the methods.
        auth_rejection_time_initial: Some(Duration::ZERO),
        auth_rejection_time: REJECTION,
        // The opening "none", the keys, and the question after the reason for the refusal.
        max_auth_attempts: limits.keys_refused_max + 2,
        keys: vec![host_key.private()],
        window_size: WINDOW_BYTES,
        maximum_packet_size: PACKET_BYTES_MAX,
        preferred: Preferred {
            kex: Cow::Borrowed(KEX),
            key: Cow::Borrowed(KEYS),
            cipher: Cow::Borrowed(CIPHERS),
            mac: Cow::Borrowed(MACS),
            compression: Cow::Borrowed(&[compression::NONE]),
            ..Preferred::DEFAULT
        },
        keepalive_interval: Some(limits.keepalive_interval),
        keepalive_max: limits.keepalives_unanswered_max,
        inactivity_timeout: Some(limits.inactivity),
        nodelay: true,
        ..Config::default()
    })
}
