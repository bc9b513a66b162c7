//! A path inside an app's tree, as somebody types it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::names::Invalid;

/// Bytes of a path that somebody types.
const BYTES_MAX: usize = 255;

/// A path inside the tree, without slashes around it: `apps/web`, `deploy/Dockerfile`. Never absolute, never `..`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TreePath(String);

impl TreePath {
    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TreePath {
    type Err = Invalid;

    fn from_str(given: &str) -> Result<Self, Invalid> {
        let refuse = |why: &str| Err(Invalid::new("path", given, why));
        if given.starts_with('/') {
            return refuse("it does not begin at the top of the tree: leave out the first /");
        }
        if given.len() > BYTES_MAX {
            return refuse("it is longer than 255 bytes");
        }
        if given.chars().any(char::is_control) {
            return refuse("it holds a control character");
        }
        let parts: Vec<&str> = given.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        match parts.as_slice() {
            [] => refuse("it names no place in the tree"),
            parts if parts.contains(&"..") => refuse("it leads out of the tree"),
            parts => Ok(Self(parts.join("/"))),
        }
    }
}

impl TryFrom<String> for TreePath {
    type Error = Invalid;

    fn try_from(given: String) -> Result<Self, Invalid> {
        given.parse()
    }
}

impl From<TreePath> for String {
    fn from(path: TreePath) -> String {
        path.0
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_in_the_tree() {
        for (given, path) in [
            ("apps/web", "apps/web"),
            ("./apps//web/", "apps/web"),
            ("a b/Dockerfile.prod", "a b/Dockerfile.prod"),
        ] {
            assert_eq!(given.parse::<TreePath>().unwrap().as_str(), path);
        }
        for outside in ["", ".", "/", "/etc", "..", "a/../b", "a\nb", "a\0b", &"x".repeat(256)] {
            assert!(outside.parse::<TreePath>().is_err(), "{outside:?}");
        }
    }
}
