//! Which version a tag is asked for: what apps write (`20.x`, `>=18 <21`, `^8.2 || ^9`, `lts/iron`) → one version.

/// Names of Node.js's releases, which `.nvmrc` takes.
const NODE_NAMES: [(&str, &str); 5] =
    [("gallium", "16"), ("hydrogen", "18"), ("iron", "20"), ("jod", "22"), ("krypton", "24")];
/// What `.nvmrc` and others take for the newest.
const ANY: [&str; 8] = ["", "*", "x", "latest", "current", "lts/*", "lts", "stable"];
/// Characters of a version that is looked at; more is no version.
const CHARS_MAX: usize = 200;

type Number = Vec<u32>;

/// The version for a tag of so many parts: `default` where what is asked for allows it, else the lowest that it
/// allows. `None` where it is not understood.
pub(crate) fn choose(asked: &str, default: &str, parts: usize) -> Option<String> {
    let asked = asked.trim().to_ascii_lowercase();
    if asked.len() > CHARS_MAX {
        return None;
    }
    if ANY.contains(&asked.as_str()) || asked == "node" || asked == "system" {
        return Some(default.to_owned());
    }
    if let Some(name) = asked.strip_prefix("lts/") {
        return NODE_NAMES.iter().find(|(known, _)| *known == name).map(|(_, version)| (*version).to_owned());
    }
    let default_number = number(default)?.0;
    let mut chosen = None;
    for alternative in asked.split('|').filter(|part| !part.trim().is_empty()) {
        let range = Range::parse(alternative)?;
        if range.holds(&default_number) {
            return Some(default.to_owned());
        }
        // The last one is most often the newest.
        chosen = range.lowest().or(chosen);
    }
    chosen.map(|version| shown(&version, parts))
}

/// Versions from one, included, up to another, excluded.
#[derive(Debug, Default)]
struct Range {
    from: Option<Number>,
    below: Option<Number>,
}

impl Range {
    /// Comparisons that all hold, with blanks or commas between.
    fn parse(text: &str) -> Option<Self> {
        let text = text.replace(" - ", " <=").replace(',', " ");
        let mut range = Range::default();
        let mut operator = String::new();
        for word in text.split_ascii_whitespace() {
            let end = word.find(|c: char| !"<>=^~!".contains(c)).unwrap_or(word.len());
            operator.push_str(&word[..end]);
            // A blank may stand between the two.
            if end == word.len() {
                continue;
            }
            range.narrow(&std::mem::take(&mut operator), &word[end..])?;
        }
        operator.is_empty().then_some(range)
    }

    fn narrow(&mut self, operator: &str, version: &str) -> Option<()> {
        let (version, is_whole) = number(version)?;
        if version.is_empty() {
            return Some(());
        }
        let next = |at: usize| {
            let mut next: Number = version[..=at.min(version.len() - 1)].to_vec();
            if let Some(last) = next.last_mut() {
                *last += 1;
            }
            next
        };
        match operator {
            "" | "=" | "==" | "===" => {
                let last = if is_whole { version.len() - 1 } else { version.len().saturating_sub(1) };
                self.at_least(version.clone());
                self.at_most(next(last));
            }
            "^" => {
                // The first part that is not zero stays.
                let at = version.iter().position(|part| *part != 0).unwrap_or(0);
                self.at_least(version.clone());
                self.at_most(next(at));
            }
            // Composer, Bundler and Python: the last part but one stays; npm's `~1.2` agrees for two parts more.
            "~" | "~>" | "~=" => {
                let at = version.len().saturating_sub(2);
                self.at_least(version.clone());
                self.at_most(next(at));
            }
            ">=" | ">" => self.at_least(version),
            "<" => self.at_most(version),
            "<=" => {
                let last = version.len() - 1;
                self.at_most(next(last));
            }
            "!=" => {}
            _ => return None,
        }
        Some(())
    }

    fn at_least(&mut self, version: Number) {
        if self.from.as_ref().is_none_or(|from| *from < version) {
            self.from = Some(version);
        }
    }

    fn at_most(&mut self, version: Number) {
        if self.below.as_ref().is_none_or(|below| *below > version) {
            self.below = Some(version);
        }
    }

    /// Whether a version whose last parts are left open can be meant.
    fn holds(&self, version: &Number) -> bool {
        let above = |from: &Number| {
            let length = from.len().min(version.len());
            version[..length] >= from[..length]
        };
        self.from.as_ref().is_none_or(above) && self.below.as_ref().is_none_or(|below| version < below)
    }

    /// The lowest, or where only the end is known the last before it.
    fn lowest(&self) -> Option<Number> {
        let before = || {
            let mut before = self.below.clone()?;
            while before.last() == Some(&0) {
                before.pop();
            }
            let last = before.last_mut()?;
            *last -= 1;
            Some(before)
        };
        self.from.clone().or_else(before)
    }
}

/// `v20.11.x` → its numbers, and whether all of its parts were numbers. What follows a `-` or `+` is left out.
fn number(text: &str) -> Option<(Number, bool)> {
    let text = text.trim_start_matches(['v', '=']);
    let text = text.split(['-', '+', '@']).next().unwrap_or_default();
    let mut parts = Vec::new();
    for part in text.split('.') {
        if matches!(part, "x" | "*") {
            return Some((parts, false));
        }
        parts.push(part.parse().ok()?);
    }
    Some((parts, true))
}

fn shown(version: &Number, parts: usize) -> String {
    version.iter().take(parts).map(u32::to_string).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_apps_write_becomes_one_version() {
        for (asked, expected) in [
            ("20", "20"),
            ("v20.11.1", "20"),
            ("20.x", "20"),
            ("^20.1", "20"),
            ("~18.2.0", "18"),
            (">=18", "24"),
            (">= 18", "24"),
            (">=18 <21", "18"),
            ("18 || 20 || 22", "22"),
            ("18.x||24.x", "24"),
            ("^26", "26"),
            ("<20", "19"),
            ("18 - 22", "18"),
            ("*", "24"),
            ("lts/*", "24"),
            ("lts/Iron", "20"),
            (" 22 ", "22"),
        ] {
            assert_eq!(choose(asked, "24", 1).as_deref(), Some(expected), "{asked}");
        }
        for (asked, expected) in [
            ("^8.2", "8.4"),
            ("~8.2.0", "8.2"),
            ("~8.2", "8.4"),
            (">=7.4,<8.1", "7.4"),
            ("8.3.*", "8.3"),
            ("8", "8.4"),
            ("8.1.2", "8.1"),
            ("==8.0", "8.0"),
            ("9", "9"),
            ("!=8.1", "8.4"),
        ] {
            assert_eq!(choose(asked, "8.4", 2).as_deref(), Some(expected), "{asked}");
        }
    }

    #[test]
    fn what_is_no_version_is_not_guessed() {
        for asked in ["nightly", "lts/none", "a.b", "1;id", "$(id)", ">=", "><1", &"1.".repeat(300)] {
            assert_eq!(choose(asked, "24", 1), None, "{asked}");
        }
    }
}
