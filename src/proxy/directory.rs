//! Which of the published addresses a request is for: an exact host before a wildcard, the nearest wildcard before
//! one further up, and of the prefixes of one host the longest.

use std::collections::HashMap;

use autostack_domain::{Address, Host, address::PathPrefix};

/// Where a request goes to, as the client says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'a> {
    /// The host in lower case, without a port.
    pub(crate) host: &'a str,
    /// The path as it came.
    pub(crate) path: &'a str,
}

/// Addresses and what they lead to.
#[derive(Debug, Clone)]
pub(crate) struct Directory<T> {
    hosts: HashMap<Host, Vec<Entry<T>>>,
    /// What stands for every host below one.
    below: HashMap<Host, Vec<Entry<T>>>,
}

#[derive(Debug, Clone)]
struct Entry<T> {
    prefix: PathPrefix,
    leads_to: T,
}

impl<T> Default for Directory<T> {
    fn default() -> Self {
        Self { hosts: HashMap::new(), below: HashMap::new() }
    }
}

impl<T> Directory<T> {
    /// What the address of a request leads to; looks only, and allocates nothing.
    pub(crate) fn find(&self, at: At<'_>) -> Option<&T> {
        if let Some(found) = self.hosts.get(at.host).and_then(|entries| longest(entries, at.path)) {
            return Some(found);
        }
        if self.below.is_empty() {
            return None;
        }
        let mut rest = at.host;
        while let Some((_, above)) = rest.split_once('.') {
            if let Some(found) = self.below.get(above).and_then(|entries| longest(entries, at.path)) {
                return Some(found);
            }
            rest = above;
        }
        None
    }

    /// Adds an address; refused if there is one for the same hosts and paths.
    #[must_use]
    pub(crate) fn add(&mut self, address: &Address, leads_to: T) -> bool {
        let entries = self.map(address).entry(address.host.host().clone()).or_default();
        if entries.iter().any(|entry| entry.prefix == address.prefix) {
            return false;
        }
        // The longest stands first.
        let at = entries.partition_point(|entry| {
            entry.prefix.as_str().len() >= address.prefix.as_str().len() && !entry.prefix.is_root()
        });
        entries.insert(at, Entry { prefix: address.prefix.clone(), leads_to });
        true
    }

    /// Takes an address out.
    pub(crate) fn remove(&mut self, address: &Address) {
        let map = self.map(address);
        if let Some(entries) = map.get_mut(address.host.host()) {
            entries.retain(|entry| entry.prefix != address.prefix);
            if entries.is_empty() {
                map.remove(address.host.host());
            }
        }
    }

    fn map(&mut self, address: &Address) -> &mut HashMap<Host, Vec<Entry<T>>> {
        if address.host.is_wildcard() { &mut self.below } else { &mut self.hosts }
    }
}

fn longest<'a, T>(entries: &'a [Entry<T>], path: &str) -> Option<&'a T> {
    entries.iter().find(|entry| entry.prefix.rest_of(path).is_some()).map(|entry| &entry.leads_to)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn directory(addresses: &[&str]) -> Directory<String> {
        let mut directory = Directory::default();
        for address in addresses {
            assert!(directory.add(&address.parse().unwrap(), (*address).to_owned()), "{address}");
        }
        directory
    }

    fn find<'a>(directory: &'a Directory<String>, host: &str, path: &str) -> Option<&'a str> {
        directory.find(At { host, path }).map(String::as_str)
    }

    #[test]
    fn the_longest_prefix_wins() {
        let directory = directory(&["a.test", "a.test/api", "a.test/api/v2", "b.test/only"]);
        for (path, wanted) in [
            ("/", "a.test"),
            ("/apix", "a.test"),
            ("/api", "a.test/api"),
            ("/api/v1", "a.test/api"),
            ("/api/v2", "a.test/api/v2"),
            ("/api/v2/x", "a.test/api/v2"),
            ("/api/v20", "a.test/api"),
            ("*", "a.test"),
        ] {
            assert_eq!(find(&directory, "a.test", path), Some(wanted), "{path}");
        }
        assert_eq!(find(&directory, "b.test", "/"), None);
        assert_eq!(find(&directory, "b.test", "/only/x"), Some("b.test/only"));
    }

    #[test]
    fn an_exact_host_comes_before_a_wildcard_and_a_near_one_before_a_far_one() {
        let directory =
            directory(&["*.example.test", "www.example.test/api", "*.a.example.test", "example.test"]);
        for (host, path, wanted) in [
            ("www.example.test", "/api", "www.example.test/api"),
            ("www.example.test", "/", "*.example.test"),
            ("x.example.test", "/", "*.example.test"),
            ("x.a.example.test", "/", "*.a.example.test"),
            ("a.example.test", "/", "*.example.test"),
            ("z.y.x.a.example.test", "/", "*.a.example.test"),
            ("example.test", "/", "example.test"),
        ] {
            assert_eq!(find(&directory, host, path), Some(wanted), "{host}{path}");
        }
        assert_eq!(find(&directory, "notexample.test", "/"), None);
        assert_eq!(find(&directory, "", "/"), None);
    }

    #[test]
    fn what_was_added_can_be_taken_out_again() {
        let mut directory = directory(&["a.test", "a.test/api", "*.b.test"]);
        assert!(!directory.add(&"a.test/api".parse().unwrap(), "thief".to_owned()));
        for address in ["a.test/api", "*.b.test"] {
            directory.remove(&address.parse().unwrap());
        }
        assert_eq!(find(&directory, "a.test", "/api"), Some("a.test"));
        assert_eq!(find(&directory, "x.b.test", "/"), None);
        directory.remove(&"a.test".parse().unwrap());
        assert!(directory.hosts.is_empty() && directory.below.is_empty());
    }

    proptest! {
        /// Against the definition: of all addresses that fit, the one that is most exact.
        #[test]
        fn the_most_exact_address_is_found(
            addresses in proptest::collection::btree_set("(\\*\\.)?([ab]\\.){1,2}t(/[xy]){0,2}", 0..8),
            host in "([ab]\\.){0,3}t",
            path in "(/[xy]){0,3}/?",
        ) {
            let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
            let directory = directory(&addresses);
            let path = if path.is_empty() { "/".to_owned() } else { path };
            let wanted = addresses
                .iter()
                .filter(|text| {
                    let address: Address = text.parse().unwrap();
                    address.host.matches(&host.parse().unwrap()) && address.prefix.rest_of(&path).is_some()
                })
                .max_by_key(|text| {
                    let address: Address = text.parse().unwrap();
                    let host = (!address.host.is_wildcard(), address.host.host().as_str().len());
                    let prefix = if address.prefix.is_root() { 0 } else { address.prefix.as_str().len() };
                    (host, prefix)
                });
            prop_assert_eq!(find(&directory, &host, &path), wanted.copied());
        }
    }
}
