//! Kinds of value that name something elsewhere: pages, servers, and what they let us in by.

use autostack_domain::{Host, Secret, user::normal_email};

use super::values::{Kind, Refusal};

/// Bytes of a URL, of a name or of a secret; more is a mistake.
const TEXT_BYTES_MAX: usize = 4096;

/// Where a web page comes from, as browsers write it: scheme, host, and a port that is not the scheme's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// As it stands in the header `Origin`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

pub(super) const ORIGINS_OR_OFF: Kind<Vec<Origin>> = Kind {
    expected: r#""off", or origins with spaces between, such as "https://panel.example.com http://localhost:5173""#,
    parse: |text| match text {
        "off" => Ok(Vec::new()),
        list if list.trim().is_empty() => Err(Refusal::Wrong),
        list => list.split_whitespace().map(|one| origin(one).ok_or(Refusal::Wrong)).collect(),
    },
};

fn origin(text: &str) -> Option<Origin> {
    let (scheme, rest) = text.split_once("://")?;
    let (host, port) = rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port)));
    let own_port = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    // An address in numbers is no host name, and good here all the same.
    let is_host = host.parse::<Host>().is_ok() || host.parse::<std::net::Ipv4Addr>().is_ok();
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != own_port));
    (is_host && is_port).then(|| Origin(text.to_owned()))
}

/// Where something is reached over HTTP: scheme, host, port and perhaps a path, without a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl(String);

impl BaseUrl {
    /// Reads one; `None` where it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim_end_matches('/');
        let (scheme, rest) = text.split_once("://")?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-._~/".contains(letter);
        let (host, port) = authority.split_once(':').unwrap_or((authority, "80"));
        let is_good = ["http", "https"].contains(&scheme)
            && (host.parse::<Host>().is_ok() || host.parse::<std::net::Ipv4Addr>().is_ok())
            && port.parse::<u16>().is_ok_and(|port| port > 0)
            && path.chars().all(is_plain)
            && text.len() <= TEXT_BYTES_MAX;
        is_good.then(|| Self(text.to_owned()))
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether browsers reach it by TLS.
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https:")
    }
}

const URL_EXPECTED: &str = r#"a URL without a slash at its end, such as "https://panel.example.com""#;

pub(super) const URL: Kind<BaseUrl> =
    Kind { expected: URL_EXPECTED, parse: |text| BaseUrl::parse(text).ok_or(Refusal::Wrong) };

pub(super) const URL_OR_AUTO: Kind<Option<BaseUrl>> = Kind {
    expected: r#""auto", or a URL such as "https://panel.example.com""#,
    parse: |text| match text {
        "auto" => Ok(None),
        url => BaseUrl::parse(url).map(Some).ok_or(Refusal::Wrong),
    },
};

/// How a mail server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailSecurity {
    /// In the open, then TLS; a server without it is refused.
    StartTls,
    /// TLS from the first byte.
    Tls,
    /// In the open: for a server on the host itself.
    None,
}

impl MailSecurity {
    /// The port that servers take such mail on.
    pub fn port(self) -> u16 {
        match self {
            MailSecurity::StartTls => 587,
            MailSecurity::Tls => 465,
            MailSecurity::None => 25,
        }
    }
}

pub(super) const MAIL_SECURITY: Kind<MailSecurity> = Kind {
    expected: r#""starttls", "tls" or "none""#,
    parse: |text| match text {
        "starttls" => Ok(MailSecurity::StartTls),
        "tls" => Ok(MailSecurity::Tls),
        "none" => Ok(MailSecurity::None),
        _ => Err(Refusal::Wrong),
    },
};

pub(super) const SERVER_OR_OFF: Kind<Option<String>> = Kind {
    expected: r#""off", or the name or IPv4 address of a server, without a port"#,
    parse: |text| match text {
        "off" => Ok(None),
        name if name.parse::<Host>().is_ok() || name.parse::<std::net::Ipv4Addr>().is_ok() => {
            Ok(Some(name.to_owned()))
        }
        _ => Err(Refusal::Wrong),
    },
};

pub(super) const PORT_OR_AUTO: Kind<Option<u16>> = Kind {
    expected: r#""auto", or a port from 1 to 65535"#,
    parse: |text| match text {
        "auto" => Ok(None),
        port => port.parse().ok().filter(|port| *port > 0).map(Some).ok_or(Refusal::Wrong),
    },
};

pub(super) const ADDRESS_OR_AUTO: Kind<Option<String>> = Kind {
    expected: r#""auto", or an e-mail address"#,
    parse: |text| match text {
        "auto" => Ok(None),
        address => normal_email(address).map(Some).map_err(|_| Refusal::Wrong),
    },
};

pub(super) const TEXT_OR_OFF: Kind<Option<String>> = Kind {
    expected: r#""off", or a name without control characters"#,
    parse: |text| match text {
        "off" => Ok(None),
        text if is_text(text) => Ok(Some(text.to_owned())),
        _ => Err(Refusal::Wrong),
    },
};

pub(super) const SECRET_OR_OFF: Kind<Option<Secret<String>>> = Kind {
    expected: r#""off", or a secret"#,
    // Never refused: a refusal repeats what was given.
    parse: |text| match text {
        "off" | "" => Ok(None),
        secret => Ok(Some(Secret::new(secret.to_owned()))),
    },
};

fn is_text(text: &str) -> bool {
    !text.is_empty() && text.len() <= TEXT_BYTES_MAX && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_written_as_browsers_write_it() {
        for good in ["https://panel.example.com", "http://localhost:5173", "http://127.0.0.1:8080"] {
            assert_eq!(origin(good).unwrap().as_str(), good);
        }
        for bad in [
            "panel.example.com",
            "https://a.test/",
            "https://a.test:443",
            "ftp://a.test",
            "https://",
            "null",
            "*",
        ] {
            assert!(origin(bad).is_none(), "{bad}");
        }
        assert_eq!((ORIGINS_OR_OFF.parse)("https://a.test  http://b.test").unwrap().len(), 2);
        assert!(
            (ORIGINS_OR_OFF.parse)("  ").is_err() && (ORIGINS_OR_OFF.parse)("https://a.test, b").is_err()
        );
    }

    #[test]
    fn a_url_has_no_slash_at_its_end_and_no_query() {
        assert_eq!(BaseUrl::parse("https://a.test/").unwrap().as_str(), "https://a.test");
        assert_eq!(
            BaseUrl::parse("http://127.0.0.1:8000/api/v3").unwrap().as_str(),
            "http://127.0.0.1:8000/api/v3"
        );
        assert!(BaseUrl::parse("https://a.test").unwrap().is_https());
        for bad in [
            "a.test",
            "https://a.test?x=1",
            "https://user@a.test",
            "https://a.test:0",
            "javascript:1",
            "https://a b",
        ] {
            assert!(BaseUrl::parse(bad).is_none(), "{bad}");
        }
    }
}
