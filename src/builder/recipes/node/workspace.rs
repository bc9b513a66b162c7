//! The workspace of npm, pnpm, Yarn or Bun that an app's folder is a member of: its lock file is at the top of
//! the tree, so everything is installed there.

use autostack_domain::Failure;

use super::{
    manager::{Kind, Manager},
    package::{Package, read},
};
use crate::draft::{Context, shell_word};

/// The package at the top whose workspace holds the app's folder.
pub(crate) struct Workspace<'a> {
    /// The top of the tree.
    pub(crate) context: Context<'a>,
    /// The package there.
    pub(crate) package: Package,
}

impl<'a> Workspace<'a> {
    /// The workspace around the app; `None` where it is no member of one.
    pub(crate) fn around(context: &Context<'a>) -> Result<Option<Self>, Failure> {
        let Some(around) = context.around else { return Ok(None) };
        let top = Context { source: around.top, around: None, ..*context };
        let Some(package) = read(&top)? else { return Ok(None) };
        let listed = pnpm_patterns(&top.source.words("pnpm-workspace.yaml"));
        let mut patterns = package.workspaces.iter().chain(&listed).map(String::as_str);
        let is_member = patterns.any(|pattern| fits(pattern, around.folder));
        Ok(is_member.then_some(Self { context: top, package }))
    }

    /// Builds a member with what it needs of the others, where a tool of the workspace knows that; run at the
    /// top. `None` where only the member's own script is known.
    pub(crate) fn build(&self, manager: &Manager, member: &Package, script: &str) -> Option<String> {
        let name = shell_word(member.name.as_deref()?);
        if self.context.source.has_file("turbo.json") && self.package.depends_on("turbo") {
            let run = if manager.kind == Kind::Bun { "bunx" } else { "npx" };
            return Some(format!("{run} turbo run {script} --filter={name}"));
        }
        // The dots: and the packages of the workspace that it depends on, those first.
        (manager.kind == Kind::Pnpm).then(|| format!("pnpm --filter {name}... run {script}"))
    }
}

/// The entries of `packages:` in `pnpm-workspace.yaml`.
fn pnpm_patterns(text: &str) -> Vec<String> {
    let lines = text.lines().skip_while(|line| line.trim_end() != "packages:").skip(1);
    let entries = lines.take_while(|line| line.trim().is_empty() || line.starts_with([' ', '-', '#']));
    let entries = entries.filter_map(|line| line.trim().strip_prefix('-'));
    entries.map(|entry| entry.trim().trim_matches(['"', '\'']).to_owned()).collect()
}

/// Whether a pattern of folders (`apps/*`, `packages/**`, `web`) fits a folder.
fn fits(pattern: &str, folder: &str) -> bool {
    let pattern: Vec<&str> = pattern.trim_start_matches("./").trim_end_matches('/').split('/').collect();
    let folder: Vec<&str> = folder.split('/').collect();
    fits_parts(&pattern, &folder)
}

fn fits_parts(pattern: &[&str], folder: &[&str]) -> bool {
    match (pattern, folder) {
        ([], []) => true,
        (["**", rest @ ..], _) => (0..=folder.len()).any(|skipped| fits_parts(rest, &folder[skipped..])),
        ([first, pattern @ ..], [name, folder @ ..]) => {
            let is_same = match first.split_once('*') {
                Some((start, end)) => {
                    name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end)
                }
                None => first == name,
            };
            is_same && fits_parts(pattern, folder)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_named_by_patterns() {
        for (pattern, folder) in
            [("apps/*", "apps/web"), ("./web/", "web"), ("packages/**", "packages/a/b"), ("app-*", "app-x")]
        {
            assert!(fits(pattern, folder), "{pattern} {folder}");
        }
        for (pattern, folder) in [("apps/*", "apps/a/b"), ("apps/*", "apps"), ("!web", "web"), ("a", "ab")] {
            assert!(!fits(pattern, folder), "{pattern} {folder}");
        }
        let text = "# x\npackages:\n  - 'apps/*'\n  - web\n\ncatalog:\n  - no\n";
        assert_eq!(pnpm_patterns(text), ["apps/*", "web"]);
    }
}
