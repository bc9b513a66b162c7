//! What a `.gitmodules` file says, and what it must not say. Of a place in the tree it tells the URL, and nothing else of
//! it is ever followed: where a submodule goes, the tree itself says.

use std::collections::BTreeMap;

/// Bytes of a `.gitmodules` file.
pub(super) const BYTES_MAX: u64 = 1024 * 1024;

/// Why a `.gitmodules` file is refused.
pub(super) fn fault(content: &[u8]) -> Option<String> {
    if content.contains(&0) {
        return Some("it holds a NUL byte".into());
    }
    for Assignment { key, value, .. } in assignments(content) {
        let shown = String::from_utf8_lossy(&value).into_owned();
        if value.iter().any(|b| b.is_ascii_control() && *b != b'\t') {
            // A carriage return at the end of a path is CVE-2025-48384.
            return Some(format!("the {key} of a submodule holds a control character"));
        }
        if value.starts_with(b"-") {
            return Some(format!("the {key} {shown:?} of a submodule would be read as an option"));
        }
        if key == "url" && !is_plain_url(&shown) {
            return Some(format!("the url {shown:?} of a submodule is neither https, ssh, git nor relative"));
        }
    }
    None
}

fn is_plain_url(url: &str) -> bool {
    const SCHEMES: [&str; 4] = ["https://", "http://", "ssh://", "git://"];
    if url.starts_with("./") || url.starts_with("../") {
        return true;
    }
    if let Some(rest) = SCHEMES.iter().find_map(|scheme| url.strip_prefix(scheme)) {
        return !rest.starts_with('-');
    }
    // `user@host:path`, and nothing like `ext::…` or `/path`.
    match url.split_once(':') {
        Some((host, path)) => {
            let host_fits = !host.is_empty()
                && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'@'));
            host_fits && !path.is_empty() && !path.starts_with(':') && !path.starts_with("//")
        }
        None => false,
    }
}

/// What is said of one submodule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Said {
    path: Option<Vec<u8>>,
    url: Option<Vec<u8>>,
    update: Option<Vec<u8>>,
}

impl Said {
    /// Where it is fetched from, as it is written.
    pub(super) fn url(&self) -> Option<&str> {
        self.url.as_deref().and_then(|url| std::str::from_utf8(url).ok()).filter(|url| !url.is_empty())
    }

    /// Whether its author wants it left alone.
    pub(super) fn is_left_out(&self) -> bool {
        self.update.as_deref() == Some(b"none")
    }
}

/// What is said of the submodules, by their place in the tree. Of what is said in two ways nothing is believed.
pub(super) fn places(content: &[u8]) -> Result<BTreeMap<Vec<u8>, Said>, String> {
    let mut named = BTreeMap::<Vec<u8>, Said>::new();
    for Assignment { submodule, key, value } in assignments(content) {
        let Some(name) = submodule else { continue };
        let said = named.entry(name).or_default();
        let place = match key.as_str() {
            "path" => &mut said.path,
            "url" => &mut said.url,
            "update" => &mut said.update,
            _ => continue,
        };
        if place.as_ref().is_some_and(|before| *before != value) {
            return Err(format!("the {key} of a submodule is given twice"));
        }
        *place = Some(value);
    }
    let mut places = BTreeMap::new();
    for said in named.into_values() {
        let Some(path) = said.path.clone() else { continue };
        if places.insert(path.clone(), said).is_some() {
            return Err(format!("two submodules are at {:?}", String::from_utf8_lossy(&path)));
        }
    }
    Ok(places)
}

/// A `key = value` line.
#[derive(Debug, PartialEq, Eq)]
struct Assignment {
    /// The name in the `[submodule "NAME"]` above it; `None` below any other heading.
    submodule: Option<Vec<u8>>,
    /// In lower case.
    key: String,
    /// As git reads it: quotes and escapes resolved, comments and blanks at the ends removed, lines joined at a
    /// backslash.
    value: Vec<u8>,
}

fn assignments(content: &[u8]) -> Vec<Assignment> {
    let mut found = Vec::new();
    let mut rest = content;
    let mut submodule = None;
    while !rest.is_empty() {
        rest = rest.trim_ascii_start();
        if let Some(inner) = rest.strip_prefix(b"[") {
            (submodule, rest) = section(inner);
            continue;
        }
        let key_end = rest.iter().position(|b| matches!(b, b'=' | b'\n')).unwrap_or(rest.len());
        let is_comment = rest.first().is_some_and(|b| matches!(b, b'#' | b';'));
        if is_comment || rest.get(key_end) != Some(&b'=') {
            let line_end = rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
            rest = &rest[line_end..];
            continue;
        }
        let key = String::from_utf8_lossy(rest[..key_end].trim_ascii()).to_ascii_lowercase();
        let (value, tail) = read_value(&rest[key_end + 1..]);
        found.push(Assignment { submodule: submodule.clone(), key, value });
        rest = tail;
    }
    found
}

/// Reads `submodule "name"]`, where a bracket within the quoted name does not end it: the name, and what follows.
fn section(inner: &[u8]) -> (Option<Vec<u8>>, &[u8]) {
    let (mut quoted, mut escaped) = (false, false);
    let (mut heading, mut name) = (Vec::new(), None::<Vec<u8>>);
    for (at, byte) in inner.iter().enumerate() {
        match byte {
            b'\n' => return (None, &inner[at..]),
            b'\\' if !escaped => {
                escaped = true;
                continue;
            }
            b'"' if !escaped => {
                quoted = !quoted;
                name.get_or_insert_default();
            }
            b']' if !escaped && !quoted => {
                let is_ours = heading.trim_ascii().eq_ignore_ascii_case(b"submodule");
                return (name.filter(|_| is_ours), &inner[at + 1..]);
            }
            other if quoted => name.get_or_insert_default().push(*other),
            other => heading.push(*other),
        }
        escaped = false;
    }
    (None, &[])
}

fn read_value(raw: &[u8]) -> (Vec<u8>, &[u8]) {
    let (mut value, mut quoted, mut kept) = (Vec::new(), false, 0);
    let mut bytes = raw.iter().copied().enumerate();
    let mut end = raw.len();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\n' => {
                end = at;
                break;
            }
            b'#' | b';' if !quoted => {
                end = raw[at..].iter().position(|b| *b == b'\n').map_or(raw.len(), |length| at + length);
                break;
            }
            b'"' => {
                quoted = !quoted;
                kept = value.len();
            }
            b'\\' => match bytes.next().map(|(_, escaped)| escaped) {
                Some(b'\n') | None => {}
                Some(escaped) => {
                    value.push(unescape(escaped));
                    kept = value.len();
                }
            },
            b'\r' if raw.get(at + 1) == Some(&b'\n') && !quoted => {}
            _ => {
                value.push(byte);
                if quoted || !byte.is_ascii_whitespace() {
                    kept = value.len();
                }
            }
        }
    }
    value.truncate(kept);
    let blank = value.iter().take_while(|b| b.is_ascii_whitespace() && **b != b'\r').count();
    value.drain(..blank);
    (value, &raw[end..])
}

fn unescape(escaped: u8) -> u8 {
    match escaped {
        b'n' => b'\n',
        b't' => b'\t',
        b'b' => 8,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_files_are_accepted() {
        let content = b"# comment\n; another\n[core]\n[submodule \"a]b\"]\r\n\tpath = lib/a # here\r\n\
            \turl = \"https://host.test/a.git\" ; there\n\tshallow\n[submodule \"b\"] path = b\n\
            \turl = git@host.test:group/\\\n b.git\n\turl=../c.git\n\turl = ssh://git@host.test:22/d";
        assert_eq!(fault(content), None);
        let read = assignments(content);
        let first =
            Assignment { submodule: Some(b"a]b".to_vec()), key: "path".into(), value: b"lib/a".to_vec() };
        assert_eq!(read[0], first);
        assert_eq!(read[1].value, b"https://host.test/a.git");
        assert_eq!(read[3].value, b"git@host.test:group/ b.git");
    }

    #[test]
    fn a_place_has_one_url() {
        let read = |content: &str| places(content.as_bytes());
        let found = read(
            "[submodule \"a\"]\n\tpath = lib/a\n[core]\n\turl = ../x\n[Submodule \"a\"]\n\turl = ../a.git\n\
             [submodule \"q\\\"]\"]\n\tpath = q\n\tupdate = none\n[submodule \"lost\"]\n\turl = ../b\n",
        )
        .unwrap();
        assert_eq!(found.len(), 2, "{found:?}");
        let (a, q) = (&found[&b"lib/a"[..]], &found[&b"q"[..]]);
        assert_eq!((a.url(), a.is_left_out()), (Some("../a.git"), false));
        assert_eq!((q.url(), q.is_left_out()), (None, true));
        for (content, why) in [
            ("[submodule \"a\"]\npath=a\nurl=../b\nurl=../c\n", "given twice"),
            ("[submodule \"a\"]\npath=a\n[submodule \"a\"]\npath=b\n", "given twice"),
            ("[submodule \"a\"]\npath=a\n[submodule \"b\"]\npath=a\n", "two submodules"),
        ] {
            assert!(read(content).unwrap_err().contains(why), "{content}");
        }
        assert!(read("[submodule \"a\"]\npath=a\npath=a\n").is_ok());
    }

    #[test]
    fn c9_urls_that_run_or_read_something_are_refused() {
        for url in [
            "ext::sh -c id",
            "file:///etc",
            "/etc",
            "fd::7",
            "-u./x",
            "https://-oProxyCommand=id/",
            "x",
            "http::http://host.test",
            "\"https://host.test/a\\nb\"",
            "EXT::x",
            "ssh://-x/y",
            "javascript://x",
        ] {
            let content = format!("[submodule \"x\"]\n\turl = {url}\n");
            assert!(fault(content.as_bytes()).is_some(), "{url}");
        }
    }

    #[test]
    fn any_bytes_are_read_to_their_end() {
        let mut state = 7_u32;
        for _ in 0..2_000 {
            let content: Vec<u8> = (0..40)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    b"[]=\"\\\n\r#; ab\t"[(state >> 24) as usize % 13]
                })
                .collect();
            let (_any, _some) = (fault(&content), places(&content));
        }
    }
}
