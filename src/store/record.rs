//! A stored value is its version, a space, and JSON: `1 {"name":"shop"}`.
//!
//! Each record type names its previous one and how that becomes the present one, so a value of any age is
//! read through a chain of migrations and written back in the newest form at its next change.
//! `tests/fixtures/records` holds samples of every version that was ever written.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// A type that is stored. To change its shape: keep the old type under a new name (`AppV1`) with its
/// `Record` impl, raise `VERSION`, name the old type in `Previous`, and write `migrate`.
pub trait Record: Serialize + DeserializeOwned {
    /// Counted from 1, raised by one at each change of the JSON's shape.
    const VERSION: u16;
    /// The shape before this one; [`NoPrevious`] for version 1.
    type Previous: Record;

    /// Makes a record of this shape from the one before it.
    fn migrate(previous: Self::Previous) -> Self;
}

/// What stands before the first version of a record: nothing, so it has no value.
#[derive(Debug, Serialize, Deserialize)]
pub enum NoPrevious {}

impl Record for NoPrevious {
    const VERSION: u16 = 0;
    type Previous = NoPrevious;

    fn migrate(previous: NoPrevious) -> NoPrevious {
        previous
    }
}

/// Declares types whose present shape is their first.
macro_rules! first_version {
    ($($record:ty),* $(,)?) => {
        $(impl $crate::record::Record for $record {
            const VERSION: u16 = 1;
            type Previous = $crate::record::NoPrevious;

            fn migrate(previous: $crate::record::NoPrevious) -> Self {
                match previous {}
            }
        })*
    };
}
pub(crate) use first_version;

/// Why a stored value cannot be read or made.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It does not begin with a version and a space.
    #[error("it has no version")]
    NoVersion,
    /// No agent ever wrote this version.
    #[error("its version {0} was never used")]
    Unused(u16),
    /// A newer agent wrote it.
    #[error("its version {found} is newer than {known}, which is the newest that this agent knows")]
    TooNew {
        /// The version that it has.
        found: u16,
        /// The newest that is known.
        known: u16,
    },
    /// Its JSON is not of the shape that its version has.
    #[error("its JSON does not have the shape of version {version}")]
    Shape {
        /// The version that it has.
        version: u16,
        /// Where it differs.
        #[source]
        source: serde_json::Error,
    },
}

/// The stored form of a record.
pub fn encode<R: Record>(record: &R) -> Result<Vec<u8>, RecordError> {
    let mut stored = format!("{} ", R::VERSION).into_bytes();
    serde_json::to_writer(&mut stored, record)
        .map_err(|source| RecordError::Shape { version: R::VERSION, source })?;
    Ok(stored)
}

/// Reads a stored form of any version.
pub fn decode<R: Record>(stored: &[u8]) -> Result<R, RecordError> {
    let space = stored.iter().take(6).position(|byte| *byte == b' ').ok_or(RecordError::NoVersion)?;
    let (version, json) = (&stored[..space], &stored[space + 1..]);
    let version = std::str::from_utf8(version).ok().and_then(|digits| digits.parse().ok());
    let version: u16 = version.ok_or(RecordError::NoVersion)?;
    if version > R::VERSION {
        return Err(RecordError::TooNew { found: version, known: R::VERSION });
    }
    decode_json(version, json)
}

fn decode_json<R: Record>(version: u16, json: &[u8]) -> Result<R, RecordError> {
    if R::VERSION == 0 {
        Err(RecordError::Unused(version))
    } else if version == R::VERSION {
        serde_json::from_slice(json).map_err(|source| RecordError::Shape { version, source })
    } else {
        decode_json::<R::Previous>(version, json).map(R::migrate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three shapes of one record, as they would come about over the years.
    #[derive(Debug, Serialize, Deserialize)]
    struct PersonV1 {
        name: String,
    }
    first_version!(PersonV1);

    #[derive(Debug, Serialize, Deserialize)]
    struct PersonV2 {
        first: String,
        last: String,
    }
    impl Record for PersonV2 {
        const VERSION: u16 = 2;
        type Previous = PersonV1;

        fn migrate(previous: PersonV1) -> Self {
            let (first, last) = previous.name.split_once(' ').unwrap();
            Self { first: first.into(), last: last.into() }
        }
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Person {
        last_then_first: [String; 2],
    }
    impl Record for Person {
        const VERSION: u16 = 3;
        type Previous = PersonV2;

        fn migrate(previous: PersonV2) -> Self {
            Self { last_then_first: [previous.last, previous.first] }
        }
    }

    #[test]
    fn a_record_of_any_age_is_read() {
        let ada = Person { last_then_first: ["Lovelace".into(), "Ada".into()] };
        let stored: [&[u8]; 3] = [
            br#"1 {"name":"Ada Lovelace"}"#,
            br#"2 {"first":"Ada","last":"Lovelace"}"#,
            br#"3 {"last_then_first":["Lovelace","Ada"]}"#,
        ];
        for stored in stored {
            assert_eq!(decode::<Person>(stored).unwrap(), ada);
        }
        assert_eq!(encode(&ada).unwrap(), stored[2]);
    }

    #[test]
    fn values_that_nobody_wrote_are_refused() {
        let read = |stored: &[u8]| decode::<Person>(stored).unwrap_err();
        assert!(matches!(read(b""), RecordError::NoVersion));
        assert!(matches!(read(b"{}"), RecordError::NoVersion));
        assert!(matches!(read(b" {}"), RecordError::NoVersion));
        assert!(matches!(read(b"x {}"), RecordError::NoVersion));
        assert!(matches!(read(b"0 {}"), RecordError::Unused(0)));
        assert!(matches!(read(b"4 {}"), RecordError::TooNew { found: 4, known: 3 }));
        assert!(matches!(read(b"2 {}"), RecordError::Shape { version: 2, .. }));
        assert!(matches!(read(br#"1 {"name":"#), RecordError::Shape { version: 1, .. }));
    }
}
