//! One `git push`: the ref updates that it carries, and which of them goes live.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::names::Invalid;

/// A commit (or any object) id: 40 characters of lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommitId(String);

impl CommitId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 7 characters, as git shows it to people.
    pub fn short(&self) -> &str {
        &self.0[..7]
    }

    /// Git's way to say "no object": the old side of a creation, the new side of a deletion.
    pub fn is_null(&self) -> bool {
        self.0.bytes().all(|b| b == b'0')
    }
}

impl FromStr for CommitId {
    type Err = Invalid;

    fn from_str(given: &str) -> Result<Self, Invalid> {
        let fits = given.len() == 40 && given.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if fits {
            Ok(Self(given.to_owned()))
        } else {
            Err(Invalid::new("commit id", given, "expected 40 characters of 0-9 and a-f"))
        }
    }
}

impl TryFrom<String> for CommitId {
    type Error = Invalid;

    fn try_from(given: String) -> Result<Self, Invalid> {
        given.parse()
    }
}

impl From<CommitId> for String {
    fn from(id: CommitId) -> String {
        id.0
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A full ref name, `refs/heads/main`, by the rules of `git check-ref-format` that keep it safe as an
/// argument, a path and a line of a protocol.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RefName(String);

impl RefName {
    /// Longest ref name that is accepted, in bytes: a file name's limit on Linux.
    pub const BYTES_MAX: usize = 255;

    /// The full name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The branch name, if this is a branch.
    pub fn branch(&self) -> Option<&str> {
        self.0.strip_prefix("refs/heads/")
    }

    /// The branch name of a branch, else the full name.
    pub fn short(&self) -> &str {
        self.branch().unwrap_or(&self.0)
    }

    /// The tag name, if this is a tag.
    pub fn tag(&self) -> Option<&str> {
        self.0.strip_prefix("refs/tags/")
    }

    /// The full name of a branch.
    pub fn of_branch(branch: &str) -> Result<Self, Invalid> {
        format!("refs/heads/{branch}").parse()
    }
}

impl FromStr for RefName {
    type Err = Invalid;

    fn from_str(given: &str) -> Result<Self, Invalid> {
        let refuse = |why: &str| Err(Invalid::new("ref name", given, why));
        if !given.starts_with("refs/") || given.len() > Self::BYTES_MAX {
            return refuse("expected refs/… of 255 bytes at most");
        }
        if given.bytes().any(|b| b <= b' ' || b == 0x7f || b"~^:?*[\\".contains(&b)) {
            return refuse("it holds a character that git does not allow in a ref");
        }
        if given.contains("..") || given.contains("@{") || given.ends_with('.') {
            return refuse("it holds a sequence that git does not allow in a ref");
        }
        let parts_fit = given
            .split('/')
            .all(|part| !part.is_empty() && !part.starts_with(['.', '-']) && !part.ends_with(".lock"));
        if parts_fit { Ok(Self(given.to_owned())) } else { refuse("one of its parts is not allowed by git") }
    }
}

impl TryFrom<String> for RefName {
    type Error = Invalid;

    fn try_from(given: String) -> Result<Self, Invalid> {
        given.parse()
    }
}

impl From<RefName> for String {
    fn from(name: RefName) -> String {
        name.0
    }
}

impl fmt::Display for RefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One ref that the push wants to move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefUpdate {
    /// What the ref names now; null for a new ref.
    pub old: CommitId,
    /// What it shall name; null to delete it.
    pub new: CommitId,
    /// Which ref.
    pub name: RefName,
}

impl FromStr for RefUpdate {
    type Err = Invalid;

    /// Reads one line of a receive hook's standard input: `OLD NEW REF`.
    fn from_str(line: &str) -> Result<Self, Invalid> {
        let mut words = line.splitn(3, ' ');
        match (words.next(), words.next(), words.next()) {
            (Some(old), Some(new), Some(name)) => {
                Ok(Self { old: old.parse()?, new: new.parse()?, name: name.parse()? })
            }
            _ => Err(Invalid::new("ref update", line, "expected OLD NEW REF")),
        }
    }
}

/// What becomes of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushPlan {
    /// The update whose new commit is deployed, if any.
    pub deploy: Option<RefUpdate>,
    /// One plain sentence for each other ref: what was done with it, and why it is not deployed.
    pub notes: Vec<String>,
}

/// The branches that an app deploys from until one of them was pushed and is kept as its own.
pub const DEFAULT_DEPLOY_BRANCHES: [&str; 2] = ["main", "master"];

/// Decides which update goes live. `deploy_branch` is the app's own branch, `None` before its first
/// deployment. `Err` refuses the whole push with a sentence.
pub fn plan(updates: &[RefUpdate], deploy_branch: Option<&str>) -> Result<PushPlan, String> {
    let wanted = deploy_branch.or_else(|| first_default(updates));
    let mut plan = PushPlan { deploy: None, notes: Vec::new() };
    for update in updates {
        let is_wanted = wanted.is_some() && update.name.branch() == wanted;
        match (is_wanted, update.new.is_null()) {
            (true, true) if deploy_branch.is_some() => {
                let branch = wanted.unwrap_or_default();
                return Err(format!(
                    "{branch} is the branch that this app deploys, so it cannot be deleted; \
                     to remove the app run apps:destroy"
                ));
            }
            (true, false) => plan.deploy = Some(update.clone()),
            (_, true) => plan.notes.push(format!("{} is deleted.", spoken(&update.name))),
            (false, false) => plan.notes.push(stored_not_deployed(&update.name, deploy_branch)),
        }
    }
    Ok(plan)
}

fn first_default(updates: &[RefUpdate]) -> Option<&'static str> {
    DEFAULT_DEPLOY_BRANCHES.into_iter().find(|branch| updates.iter().any(|u| u.name.branch() == Some(branch)))
}

fn spoken(name: &RefName) -> String {
    match (name.branch(), name.tag()) {
        (Some(branch), _) => format!("Branch {branch}"),
        (_, Some(tag)) => format!("Tag {tag}"),
        _ => name.to_string(),
    }
}

fn stored_not_deployed(name: &RefName, deploy_branch: Option<&str>) -> String {
    let target = deploy_branch.unwrap_or(DEFAULT_DEPLOY_BRANCHES[0]);
    let what = spoken(name);
    match name.branch() {
        Some(branch) => format!(
            "{what} is stored, not deployed: this app deploys {target} \
             (to deploy it: git push REMOTE {branch}:{target})."
        ),
        None => format!("{what} is stored, not deployed: only the branch {target} is."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZERO: &str = "0000000000000000000000000000000000000000";
    const ONE: &str = "1111111111111111111111111111111111111111";

    fn update(old: &str, new: &str, name: &str) -> RefUpdate {
        format!("{old} {new} {name}").parse().unwrap()
    }

    #[test]
    fn the_first_default_branch_is_deployed() {
        let plan = plan(&[update(ZERO, ONE, "refs/heads/main")], None).unwrap();
        assert_eq!(plan.deploy.unwrap().name.branch(), Some("main"));
        assert!(plan.notes.is_empty());
    }

    #[test]
    fn of_two_refs_only_the_deploy_branch_goes_live() {
        let updates = [update(ZERO, ONE, "refs/heads/feature"), update(ZERO, ONE, "refs/heads/main")];
        let plan = plan(&updates, Some("main")).unwrap();
        assert_eq!(plan.deploy.unwrap().name.branch(), Some("main"));
        assert_eq!(plan.notes.len(), 1);
        assert!(plan.notes[0].contains("git push REMOTE feature:main"), "{:?}", plan.notes);
    }

    #[test]
    fn master_is_only_stored_once_main_is_the_apps_branch() {
        let plan = plan(&[update(ZERO, ONE, "refs/heads/master")], Some("main")).unwrap();
        assert!(plan.deploy.is_none());
    }

    #[test]
    fn tags_are_stored_and_branches_may_be_deleted() {
        let updates = [update(ZERO, ONE, "refs/tags/v1"), update(ONE, ZERO, "refs/heads/old")];
        let plan = plan(&updates, Some("main")).unwrap();
        assert!(plan.deploy.is_none());
        assert_eq!(plan.notes[1], "Branch old is deleted.");
    }

    #[test]
    fn the_deploy_branch_cannot_be_deleted() {
        assert!(plan(&[update(ONE, ZERO, "refs/heads/main")], Some("main")).is_err());
    }

    #[test]
    fn c4_ref_names_that_git_or_a_shell_would_misread_are_refused() {
        let hostile = [
            "main",
            "refs/heads/-x",
            "refs/heads/a..b",
            "refs/heads/a b",
            "refs/heads/a\n",
            "refs/heads/.a",
            "refs/heads/a.lock",
            "refs/heads//a",
            "refs/heads/a~1",
            "refs/heads/a^",
            "refs/heads/a:b",
            "refs/heads/@{",
        ];
        for name in hostile {
            assert!(name.parse::<RefName>().is_err(), "{name:?}");
        }
    }
}
