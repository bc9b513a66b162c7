//! Tokens: claims signed with Ed25519. An access token opens the API for minutes; a refresh token, good once, buys the next
//! pair. One algorithm, one shape of header: whatever else a token says about how it is to be verified refuses it.

use std::time::Duration;

use autostack_domain::{SessionId, UnixMillis, UserId};
use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header, encode};
use serde::{Deserialize, Serialize};

use crate::signing::{SigningKey, SigningKeys};

/// Bytes of a token; ours have about 500.
pub const TOKEN_BYTES_MAX: usize = 2 * 1024;
/// Seconds that the clock of a token may be ahead: the same host signs and verifies.
const AHEAD_SECONDS_MAX: u64 = 60;
/// Who signs.
const ISSUER: &str = "autostack";

/// What a token is good for; no token is good for both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Opens the API.
    Access,
    /// Buys the next pair of tokens.
    Refresh,
}

impl Use {
    fn audience(self) -> &'static str {
        match self {
            Use::Access => "autostack:access",
            Use::Refresh => "autostack:refresh",
        }
    }
}

/// What a token says, once it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The user.
    pub user: UserId,
    /// The session that it belongs to.
    pub session: SessionId,
    /// How often that session had been refreshed when it was made.
    pub generation: u32,
    /// When it ends.
    pub expires_at: UnixMillis,
}

/// Why a token opens nothing. People are told one and the same; the log says which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is no token of ours, or somebody changed it.
    #[error("the token is not valid")]
    Invalid,
    /// It was good once.
    #[error("the token has expired")]
    Expired,
    /// None can be made: the host has no key for it.
    #[error("the token cannot be signed")]
    Unsigned,
}

/// As they stand in a token; seconds as whole numbers, every field there, none besides.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    iss: String,
    aud: String,
    sub: UserId,
    sid: SessionId,
    #[serde(rename = "gen")]
    generation: u32,
    iat: u64,
    exp: u64,
}

impl SigningKeys {
    /// Signs a token that is good for `ttl` from `now`.
    ///
    /// # Errors
    /// When there is no key to sign with.
    pub fn issue(
        &self,
        for_use: Use,
        (user, session, generation): (&UserId, &SessionId, u32),
        now: UnixMillis,
        ttl: Duration,
    ) -> Result<String, TokenError> {
        let key = self.newest().ok_or(TokenError::Unsigned)?;
        let iat = seconds(now);
        let claims = Written {
            iss: ISSUER.to_owned(),
            aud: for_use.audience().to_owned(),
            sub: user.clone(),
            sid: session.clone(),
            generation,
            iat,
            exp: iat.saturating_add(ttl.as_secs()),
        };
        encode(&header_of(key), &claims, &key.signs).map_err(|_| TokenError::Unsigned)
    }

    /// Verifies a token: its form, its key, its signature, its issuer, what it is good for, and its time.
    ///
    /// # Errors
    /// When it opens nothing, with the reason.
    pub fn verify(&self, for_use: Use, token: &str, now: UnixMillis) -> Result<Claims, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Invalid);
        }
        let header = decode_header(token).map_err(|_| TokenError::Invalid)?;
        let key = header.kid.as_deref().and_then(|id| self.find(id)).ok_or(TokenError::Invalid)?;
        // Also refuses `jwk`, `jku`, `x5u`, `crit` and whatever else a header may say.
        if header != header_of(key) {
            return Err(TokenError::Invalid);
        }
        let written = decode::<Written>(token, &key.verifies, &only_the_signature())
            .map_err(|_| TokenError::Invalid)?
            .claims;
        let now = seconds(now);
        if written.iss != ISSUER
            || written.aud != for_use.audience()
            || written.iat > now.saturating_add(AHEAD_SECONDS_MAX)
        {
            return Err(TokenError::Invalid);
        }
        if written.exp <= now {
            return Err(TokenError::Expired);
        }
        let expires_at = i64::try_from(written.exp).unwrap_or(i64::MAX).saturating_mul(1000);
        Ok(Claims {
            user: written.sub,
            session: written.sid,
            generation: written.generation,
            expires_at: UnixMillis(expires_at),
        })
    }
}

fn header_of(key: &SigningKey) -> Header {
    Header { kid: Some(key.id.clone()), ..Header::new(Algorithm::EdDSA) }
}

/// The library looks at the signature and its algorithm only: its own view of times takes a claim that is not there for one
/// that allows.
fn only_the_signature() -> Validation {
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation
}

fn seconds(moment: UnixMillis) -> u64 {
    u64::try_from(moment.0 / 1000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use jsonwebtoken::EncodingKey;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::signing::new_key;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
    const MINUTE: Duration = Duration::from_secs(60);

    fn keys() -> SigningKeys {
        SigningKeys::open(&[new_key(NOW).unwrap()]).unwrap()
    }

    fn ids() -> (UserId, SessionId) {
        let id = "00000000-0000-7000-8000-000000000001";
        (id.parse().unwrap(), id.parse().unwrap())
    }

    fn token(keys: &SigningKeys, for_use: Use) -> String {
        let (user, session) = ids();
        keys.issue(for_use, (&user, &session, 3), NOW, MINUTE).unwrap()
    }

    fn good_claims() -> Value {
        let (user, session) = ids();
        let now = seconds(NOW);
        json!({
            "iss": ISSUER, "aud": "autostack:access", "sub": user, "sid": session, "gen": 0, "iat": now, "exp": now + 60,
        })
    }

    /// A token with any header and claims, signed with the right key.
    fn signed(keys: &SigningKeys, header: &Header, claims: &Value) -> String {
        encode(header, claims, &keys.newest().unwrap().signs).unwrap()
    }

    #[test]
    fn a_token_says_who_for_its_use_and_its_time() {
        let keys = keys();
        let (user, session) = ids();
        let claims = keys.verify(Use::Access, &token(&keys, Use::Access), NOW).unwrap();
        let expires_at = UnixMillis(NOW.0 + 60_000);
        assert_eq!(claims, Claims { user, session, generation: 3, expires_at });
        for (made, asked) in [(Use::Access, Use::Refresh), (Use::Refresh, Use::Access)] {
            assert_eq!(keys.verify(asked, &token(&keys, made), NOW), Err(TokenError::Invalid));
        }
        let late = UnixMillis(NOW.0 + 60_000);
        assert_eq!(keys.verify(Use::Access, &token(&keys, Use::Access), late), Err(TokenError::Expired));
    }

    #[test]
    fn a_new_key_logs_nobody_out() {
        let old = new_key(NOW).unwrap();
        let before = SigningKeys::open(std::slice::from_ref(&old)).unwrap();
        let made_before = token(&before, Use::Access);
        let new = new_key(UnixMillis(NOW.0 + 1)).unwrap();
        let both = SigningKeys::open(&[old, new.clone()]).unwrap();
        assert!(both.verify(Use::Access, &made_before, NOW).is_ok());
        assert!(before.verify(Use::Access, &token(&both, Use::Access), NOW).is_err());
        assert!(SigningKeys::open(&[new]).unwrap().verify(Use::Access, &made_before, NOW).is_err());
    }

    #[test]
    fn b1_a_header_that_says_more_or_something_else_refuses_the_token() {
        let keys = keys();
        let good = header_of(keys.newest().unwrap());
        assert!(keys.verify(Use::Access, &signed(&keys, &good, &good_claims()), NOW).is_ok());
        let mut with_extra = good.clone();
        with_extra.extras.insert("b64", false);
        let headers = [
            Header { kid: None, ..good.clone() },
            Header { kid: Some("../../etc/passwd".into()), ..good.clone() },
            Header { kid: Some(String::new()), ..good.clone() },
            Header { jku: Some("https://evil.test/keys".into()), ..good.clone() },
            Header { x5u: Some("https://evil.test/cert".into()), ..good.clone() },
            Header { x5c: Some(vec!["AAAA".into()]), ..good.clone() },
            Header { crit: Some(vec!["exp".into()]), ..good.clone() },
            Header { typ: None, ..good.clone() },
            Header { cty: Some("JWT".into()), ..good },
            with_extra,
        ];
        for header in headers {
            let token = signed(&keys, &header, &good_claims());
            assert_eq!(keys.verify(Use::Access, &token, NOW), Err(TokenError::Invalid), "{header:?}");
        }
    }

    #[test]
    fn b1_no_algorithm_but_ours_is_believed() {
        let keys = keys();
        let good = token(&keys, Use::Access);
        let parts: Vec<&str> = good.split('.').collect();
        let kid = keys.newest().unwrap().id.clone();
        for alg in ["none", "None", "HS256", "HS512", "RS256", "ES256"] {
            let header = json!({ "alg": alg, "typ": "JWT", "kid": kid }).to_string();
            let header = URL_SAFE_NO_PAD.encode(header);
            for signature in ["", parts[2]] {
                let forged = format!("{header}.{}.{signature}", parts[1]);
                assert_eq!(keys.verify(Use::Access, &forged, NOW), Err(TokenError::Invalid), "{alg}");
            }
        }
        // The public key, which anybody may know, as the secret of an HMAC.
        let public = keys.newest().unwrap().verifies.try_get_as_bytes().unwrap();
        let header = Header { kid: Some(kid), ..Header::new(Algorithm::HS256) };
        let forged = encode(&header, &good_claims(), &EncodingKey::from_secret(public)).unwrap();
        assert_eq!(keys.verify(Use::Access, &forged, NOW), Err(TokenError::Invalid));
    }

    #[test]
    fn b1_claims_of_the_wrong_type_missing_or_more_refuse_the_token() {
        let keys = keys();
        let header = header_of(keys.newest().unwrap());
        let now = seconds(NOW);
        let changes = [
            ("exp", json!("never")),
            ("exp", Value::Null),
            ("exp", json!(-1)),
            ("exp", json!(1e300)),
            ("exp", json!([now + 60])),
            ("iat", json!(now + 3600)),
            ("iat", json!("now")),
            ("nbf", json!("later")),
            ("iss", json!("evil")),
            ("iss", json!(["autostack"])),
            ("aud", json!("other")),
            ("aud", json!(["autostack:access"])),
            ("sub", json!("../x")),
            ("gen", json!(-1)),
            ("admin", json!(true)),
        ];
        for (name, value) in changes {
            let mut claims = good_claims();
            claims[name] = value;
            let token = signed(&keys, &header, &claims);
            assert_eq!(keys.verify(Use::Access, &token, NOW), Err(TokenError::Invalid), "{claims}");
        }
        for name in ["exp", "iat", "iss", "aud", "sub", "sid", "gen"] {
            let mut claims = good_claims();
            claims.as_object_mut().unwrap().remove(name);
            let token = signed(&keys, &header, &claims);
            assert_eq!(keys.verify(Use::Access, &token, NOW), Err(TokenError::Invalid), "without {name}");
        }
    }

    #[test]
    fn b1_what_is_cut_doubled_lengthened_or_huge_is_refused() {
        let keys = keys();
        let good = token(&keys, Use::Access);
        let signature = good.rsplit('.').next().unwrap();
        let bad = [
            String::new(),
            ".".into(),
            "..".into(),
            format!("{good}.{signature}"),
            format!("{good}A"),
            format!("{good} "),
            good[..good.len() - 1].to_owned(),
            good.replacen('.', "", 1),
            "x".repeat(1024 * 1024),
            format!("{good}\0"),
            format!("{good}="),
        ];
        for token in bad {
            assert_eq!(keys.verify(Use::Access, &token, NOW), Err(TokenError::Invalid), "{}", token.len());
        }
    }

    proptest! {
        #[test]
        fn b1_no_other_bytes_are_a_token(at in 0usize..400, byte in any::<u8>()) {
            let keys = keys();
            let mut bytes = token(&keys, Use::Access).into_bytes();
            let at = at % bytes.len();
            prop_assume!(bytes[at] != byte);
            bytes[at] = byte;
            if let Ok(token) = String::from_utf8(bytes) {
                prop_assert!(keys.verify(Use::Access, &token, NOW).is_err());
            }
        }
    }
}
