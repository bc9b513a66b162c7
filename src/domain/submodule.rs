//! Where the code of a submodule is fetched from: what `.gitmodules` says, as a URL that is spoken to here.

use crate::remote_url::RemoteUrl;

/// The URL that is fetched. `of` is where the code came from that has the submodule, where that is known.
///
/// An address for SSH is asked by https: whoever serves a repository to the public does so there, and the login of
/// `git:auth` is one for https.
///
/// # Errors
/// A clause that says why there is none.
///
/// ```
/// # use autostack_domain::submodule;
/// let of = "https://git.example.com/ada/shop.git".parse().ok();
/// let url = |given| submodule::resolve(given, of.as_ref()).unwrap().to_string();
/// assert_eq!(url("../lib.git"), "https://git.example.com/ada/lib.git");
/// assert_eq!(url("git@github.com:ada/lib.git"), "https://github.com/ada/lib.git");
/// ```
pub fn resolve(given: &str, of: Option<&RemoteUrl>) -> Result<RemoteUrl, String> {
    if given.starts_with("./") || given.starts_with("../") {
        let Some(of) = of else {
            return Err("its URL is relative to where the code comes from, which a push does not tell: \
                        write the whole URL into .gitmodules, or deploy with git:sync"
                .to_owned());
        };
        return relative(given, of);
    }
    let url = match over_ssh(given)? {
        Some((host, path)) => format!("https://{host}/{}", path.trim_start_matches('/')),
        None => given.to_owned(),
    };
    url.parse::<RemoteUrl>().map_err(|invalid| format!("its URL is not valid: {}", invalid.why))
}

/// As git reads it: each `../` takes a part of the path away, and `./` none.
fn relative(given: &str, of: &RemoteUrl) -> Result<RemoteUrl, String> {
    let refuse = || Err(format!("its URL {given:?} leads nowhere from {of}"));
    if of.path().contains('?') {
        return refuse();
    }
    let (mut base, mut rest) = (of.path().trim_end_matches('/'), given);
    loop {
        if let Some(shorter) = rest.strip_prefix("../") {
            let Some((above, _)) = base.rsplit_once('/') else { return refuse() };
            (base, rest) = (above, shorter);
        } else if let Some(shorter) = rest.strip_prefix("./") {
            rest = shorter;
        } else {
            break;
        }
    }
    let is_plain = !rest.is_empty() && rest.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if !is_plain {
        return refuse();
    }
    of.with_path(&format!("{base}/{rest}")).or_else(|_| refuse())
}

/// Host and path of `ssh://[USER@]HOST[:22]/PATH` and `USER@HOST:PATH`; `None` for what is neither.
fn over_ssh(given: &str) -> Result<Option<(&str, &str)>, String> {
    if let Some(rest) = given.strip_prefix("ssh://") {
        let (authority, path) = rest.split_once('/').ok_or("its URL has no path")?;
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let host = host.strip_suffix(":22").unwrap_or(host);
        if host.contains(':') {
            return Err("its URL is for SSH on a port of its own: write one for https".to_owned());
        }
        return Ok(Some((host, path)));
    }
    if given.contains("://") {
        return Ok(None);
    }
    let Some((authority, path)) = given.split_once(':') else { return Ok(None) };
    Ok(authority.rsplit_once('@').map(|(_, host)| (host, path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of() -> RemoteUrl {
        "https://git.test:8443/group/shop.git/".parse().unwrap()
    }

    #[test]
    fn urls_are_resolved_as_git_does() {
        for (given, url) in [
            ("https://a.test/x.git", "https://a.test/x.git"),
            ("http://10.0.0.1/x", "http://10.0.0.1/x"),
            ("../lib.git", "https://git.test:8443/group/lib.git"),
            ("../../other/lib", "https://git.test:8443/other/lib"),
            ("./lib.git", "https://git.test:8443/group/shop.git/lib.git"),
            ("./../lib", "https://git.test:8443/group/lib"),
            ("git@a.test:x/y.git", "https://a.test/x/y.git"),
            ("git@a.test:/x/y.git", "https://a.test/x/y.git"),
            ("ssh://git@a.test/x.git", "https://a.test/x.git"),
            ("ssh://a.test:22/x.git", "https://a.test/x.git"),
        ] {
            assert_eq!(resolve(given, Some(&of())).unwrap().to_string(), url, "{given}");
        }
    }

    #[test]
    fn c12_what_leads_elsewhere_is_refused() {
        for given in [
            "ext::sh -c id",
            "file:///etc",
            "/etc/passwd",
            "-u./x",
            "git://a.test/x",
            "https://u:p@a.test/x",
            "ssh://git@a.test:2222/x",
            "ssh://-oProxyCommand=id/x",
            "git@-oProxyCommand=id:x",
            "git@0x7f.1:x",
            "host:path",
            "../../../x",
            "../../../../x",
            "../x/../../y",
            "../x//y",
            "../",
            "./",
            "../a b",
            "",
        ] {
            assert!(resolve(given, Some(&of())).is_err(), "{given}: {:?}", resolve(given, Some(&of())));
        }
        assert!(resolve("../lib.git", None).unwrap_err().contains("git:sync"));
        let archive: RemoteUrl = "https://a.test/x?archive=1".parse().unwrap();
        assert!(resolve("../lib.git", Some(&archive)).is_err());
    }
}
