//! Variables in the arguments of a Dockerfile: `$NAME`, `${NAME}`, `${NAME:-default}`, `${NAME:+other}`.

use std::collections::BTreeMap;

/// Variables that are known; `None` for one that is declared without a value.
pub(crate) type Variables = BTreeMap<String, Option<String>>;

/// The text with its variables replaced and its quotes removed; `None` where that depends on something that is
/// not known here: a variable without a value, a pattern.
pub(crate) fn expand(text: &str, variables: &Variables, escape: char) -> Option<String> {
    let mut expander = Expander { rest: text, variables, escape };
    expander.until(None)
}

/// Words of the text, quotes kept together and not removed.
pub(crate) fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let (mut start, mut quote, mut is_escaped) = (None, None, false);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            _ if is_escaped => is_escaped = false,
            (_, '\\') => is_escaped = true,
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None, c) if c.is_whitespace() => {
                words.extend(start.take().map(|start| &text[start..at]));
                continue;
            }
            _ => {}
        }
        start.get_or_insert(at);
    }
    words.extend(start.map(|start| &text[start..]));
    words
}

struct Expander<'a> {
    rest: &'a str,
    variables: &'a Variables,
    escape: char,
}

impl Expander<'_> {
    /// Reads up to a closing brace, or to the end.
    fn until(&mut self, end: Option<char>) -> Option<String> {
        let mut text = String::new();
        let mut quote = None;
        while let Some(c) = self.next() {
            match (quote, c) {
                (Some('\''), '\'') => quote = None,
                (Some('\''), c) => text.push(c),
                (None, '\'' | '"') => quote = Some(c),
                (Some('"'), '"') => quote = None,
                (_, c) if c == self.escape => text.extend(self.next()),
                (_, '$') => text.push_str(&self.variable()?),
                (None, c) if Some(c) == end => return Some(text),
                (_, c) => text.push(c),
            }
        }
        // A brace that is never closed is for the builder to refuse.
        (end.is_none() && quote.is_none()).then_some(text)
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn variable(&mut self) -> Option<String> {
        if let Some(rest) = self.rest.strip_prefix('{') {
            self.rest = rest;
            return self.braced();
        }
        let name = self.name();
        if name.is_empty() { Some("$".to_owned()) } else { self.look(&name).value() }
    }

    fn name(&mut self) -> String {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let end = self.rest.find(|c: char| !is_name(c)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        name.to_owned()
    }

    fn look(&self, name: &str) -> Known {
        match self.variables.get(name) {
            Some(Some(value)) => Known::Value(value.clone()),
            Some(None) => Known::Later,
            None => Known::Unset,
        }
    }

    /// What stands behind `${`.
    fn braced(&mut self) -> Option<String> {
        let name = self.name();
        let known = self.look(&name);
        let takes_empty_as_unset = self.rest.starts_with(':');
        if takes_empty_as_unset {
            self.next();
        }
        let operator = self.next()?;
        if operator == '}' {
            return known.value().filter(|_| !takes_empty_as_unset);
        }
        let word = self.until(Some('}'))?;
        let known = match known {
            Known::Value(value) if value.is_empty() && takes_empty_as_unset => Known::Unset,
            known => known,
        };
        match (operator, known) {
            ('-', Known::Value(value)) => Some(value),
            // Without an argument of the build it will be the default.
            ('-', Known::Unset | Known::Later) => Some(word),
            ('+', Known::Value(_)) => Some(word),
            ('+', Known::Unset | Known::Later) => Some(String::new()),
            _ => None,
        }
    }
}

/// What is known of a variable.
enum Known {
    Value(String),
    /// Declared nowhere.
    Unset,
    /// Declared without a value: an argument of the build may give it one.
    Later,
}

impl Known {
    /// Docker takes what is declared nowhere as empty.
    fn value(self) -> Option<String> {
        match self {
            Known::Value(value) => Some(value),
            Known::Unset => Some(String::new()),
            Known::Later => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_as_docker_does() {
        let variables: Variables = [("A", Some("a")), ("EMPTY", Some("")), ("LATER", None)]
            .map(|(name, value)| (name.to_owned(), value.map(str::to_owned)))
            .into();
        let expanded = |text: &str| expand(text, &variables, '\\');
        for (text, expected) in [
            ("x:$A-y", "x:a-y"),
            ("x:${A}y", "x:ay"),
            ("${NONE}x", "x"),
            ("${A:-b}${NONE:-b}${EMPTY:-c}${EMPTY-c}", "abc"),
            ("${LATER:-node:${A}}", "node:a"),
            ("${A:+yes}${NONE:+no}", "yes"),
            ("\\$A '$A' \"$A\"", "$A $A a"),
            ("a$", "a$"),
        ] {
            assert_eq!(expanded(text).as_deref(), Some(expected), "{text}");
        }
        for unknown in ["$LATER", "${LATER}", "${A", "${A#x}", "${A:?x}", "${A:}", "'x"] {
            assert_eq!(expanded(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn words_keep_their_quotes() {
        assert_eq!(words(r#" a="b c"  d\ e 'f g'"#), ["a=\"b c\"", "d\\ e", "'f g'"]);
        assert!(words("  ").is_empty());
    }
}
