//! Follows a chunked body without touching it: where it ends, and that its framing is exactly RFC 9112.

use crate::limits::{CHUNK_LINE_BYTES_MAX, TRAILER_BYTES_MAX};

/// Where in a chunked body the next byte belongs.
#[derive(Debug)]
pub(crate) struct Chunks {
    place: Place,
    /// Bytes of the line, or of the trailers, so far.
    line_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the digits of a chunk size.
    Size {
        so_far: u64,
        digits: u8,
    },
    /// In what follows a `;`.
    Extension {
        size: u64,
    },
    /// After the CR of a size line.
    SizeLf {
        size: u64,
    },
    /// In the data.
    Data {
        left: u64,
    },
    /// Before the CR and the LF after the data.
    DataCr,
    DataLf,
    /// At the start of a trailer line, inside one, after its CR, after the CR of the empty line.
    TrailerStart,
    Trailer,
    TrailerLf,
    LastLf,
}

/// The framing is wrong; what it means is anybody's guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the chunked body is not framed as it must be")]
pub(crate) struct BadFraming;

impl Chunks {
    pub(crate) fn new() -> Self {
        Self { place: Place::Size { so_far: 0, digits: 0 }, line_bytes: 0 }
    }

    /// Follows `bytes`; gives the number that belong to the body when it ends within them.
    pub(crate) fn follow(&mut self, bytes: &[u8]) -> Result<Option<usize>, BadFraming> {
        let mut at = 0;
        while at < bytes.len() {
            if let Place::Data { left } = self.place {
                let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - at);
                at += here;
                let left = left - here as u64;
                self.place = if left == 0 { Place::DataCr } else { Place::Data { left } };
                continue;
            }
            let is_end = self.place == Place::LastLf;
            self.place = self.step(bytes[at])?;
            at += 1;
            if is_end {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    fn step(&mut self, byte: u8) -> Result<Place, BadFraming> {
        self.line_bytes += 1;
        let is_text = matches!(byte, b'\t' | 0x20..=0x7e | 0x80..=0xff);
        match (self.place, byte) {
            (Place::Size { so_far, digits }, digit) if digit.is_ascii_hexdigit() && digits < 16 => {
                let value = (digit as char).to_digit(16).ok_or(BadFraming)?;
                Ok(Place::Size { so_far: so_far << 4 | u64::from(value), digits: digits + 1 })
            }
            (Place::Size { so_far: size, digits: 1.. }, b'\r') => Ok(Place::SizeLf { size }),
            (Place::Size { so_far: size, digits: 1.. }, b';') => Ok(Place::Extension { size }),
            (Place::Extension { size }, b'\r') => Ok(Place::SizeLf { size }),
            (Place::Extension { size }, _) if is_text && self.line_bytes <= CHUNK_LINE_BYTES_MAX => {
                Ok(Place::Extension { size })
            }
            (Place::SizeLf { size }, b'\n') => {
                self.line_bytes = 0;
                Ok(if size == 0 { Place::TrailerStart } else { Place::Data { left: size } })
            }
            (Place::DataCr, b'\r') => Ok(Place::DataLf),
            (Place::DataLf, b'\n') => {
                self.line_bytes = 0;
                Ok(Place::Size { so_far: 0, digits: 0 })
            }
            (Place::TrailerStart, b'\r') => Ok(Place::LastLf),
            (Place::TrailerStart, b' ' | b'\t' | b':') => Err(BadFraming),
            (Place::Trailer, b'\r') => Ok(Place::TrailerLf),
            (Place::TrailerStart | Place::Trailer, _) if is_text && self.line_bytes <= TRAILER_BYTES_MAX => {
                Ok(Place::Trailer)
            }
            (Place::TrailerLf, b'\n') => Ok(Place::TrailerStart),
            (Place::LastLf, b'\n') => Ok(Place::LastLf),
            _ => Err(BadFraming),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Follows a body whole, and byte by byte; both must agree.
    fn end_of(body: &[u8]) -> Result<Option<usize>, BadFraming> {
        let whole = Chunks::new().follow(body);
        let mut chunks = Chunks::new();
        let mut bytewise = Ok(None);
        for (at, byte) in body.iter().enumerate() {
            match chunks.follow(&[*byte]) {
                Ok(None) => {}
                Ok(Some(_)) => {
                    bytewise = Ok(Some(at + 1));
                    break;
                }
                Err(error) => {
                    bytewise = Err(error);
                    break;
                }
            }
        }
        assert_eq!(whole, bytewise, "{}", String::from_utf8_lossy(body));
        whole
    }

    #[test]
    fn a_body_ends_after_its_last_chunk() {
        for (body, rest) in [
            ("0\r\n\r\n", "GET"),
            ("5\r\nhello\r\n0\r\n\r\n", ""),
            ("A;x=\"y\"\r\n0123456789\r\n000\r\n\r\n", "GET /"),
            ("1\r\n\n\r\n0\r\nX-Sum: 1\r\nY: 2\r\n\r\n", "x"),
        ] {
            assert_eq!(end_of(format!("{body}{rest}").as_bytes()), Ok(Some(body.len())), "{body:?}");
        }
        assert_eq!(end_of(b"5\r\nhel"), Ok(None));
    }

    #[test]
    fn d1_anything_else_is_refused() {
        let long_extension = format!("1;{}\r\n", "x".repeat(CHUNK_LINE_BYTES_MAX));
        for body in [
            "\r\n",
            "x\r\n",
            "0x5\r\nhello\r\n",
            "+5\r\n",
            " 5\r\n",
            "5 \r\n",
            "-1\r\n",
            "5\nhello\n0\n\n",
            "5\r\nhello\n0\r\n\r\n",
            "5\r\nhelloX",
            "5\r\nhello\r\r\n",
            "11111111111111111\r\n",
            ";a\r\n",
            "5;\n",
            "5;a\rb\r\n",
            "0\r\n \r\n",
            "0\r\nA: b\n\r\n",
            "0\r\n\rX",
            "0\r\n: x\r\n",
            "5;\0\r\n",
            "5\r\rhello",
            "5,5\r\nhello\r\n",
            &long_extension,
        ] {
            assert_eq!(end_of(body.as_bytes()), Err(BadFraming), "{body:?}");
        }
    }
}
