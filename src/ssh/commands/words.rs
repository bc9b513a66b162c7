//! A command line, cut into words as a shell would cut it, and evaluated in no way: `$`, `;`, backticks
//! and all the rest are letters like any other.

use std::{iter::Peekable, str::Chars};

use autostack_domain::Invalid;

/// Words of one command line at most.
const WORDS_MAX: usize = 1_024;

/// Cuts a command line into words. Quotes hold words together; a backslash takes the next character as it
/// is, in double quotes only before `"`, `\`, `$` and a backtick.
pub(crate) fn split(line: &str) -> Result<Vec<String>, Invalid> {
    let refuse = |why: &str| Invalid::new("command line", line, why);
    if line.contains('\0') {
        return Err(refuse("it holds a zero byte"));
    }
    let mut words = Vec::new();
    let mut rest = line.chars().peekable();
    loop {
        while rest.next_if(|c| c.is_whitespace()).is_some() {}
        if rest.peek().is_none() {
            return Ok(words);
        }
        if words.len() == WORDS_MAX {
            return Err(refuse("it has too many words"));
        }
        words.push(word(&mut rest).map_err(refuse)?);
    }
}

/// Where in the line each of its words begins. The line can be cut.
pub(crate) fn starts(line: &str) -> Vec<usize> {
    let mut starts = Vec::new();
    let (mut quote, mut escaped, mut in_word) = (None, false, false);
    for (at, c) in line.char_indices() {
        if !in_word && !c.is_whitespace() {
            starts.push(at);
            in_word = true;
        }
        match (quote, c) {
            _ if escaped => escaped = false,
            (None | Some('"'), '\\') => escaped = true,
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            (None, _) if c.is_whitespace() => in_word = false,
            _ => {}
        }
    }
    starts
}

fn word(rest: &mut Peekable<Chars<'_>>) -> Result<String, &'static str> {
    let mut word = String::new();
    while let Some(c) = rest.next_if(|c| !c.is_whitespace()) {
        match c {
            '\'' => single_quoted(rest, &mut word)?,
            '"' => double_quoted(rest, &mut word)?,
            '\\' => word.push(rest.next().ok_or("it ends with a backslash")?),
            plain => word.push(plain),
        }
    }
    Ok(word)
}

fn single_quoted(rest: &mut Peekable<Chars<'_>>, word: &mut String) -> Result<(), &'static str> {
    loop {
        match rest.next().ok_or("a ' is not closed")? {
            '\'' => return Ok(()),
            plain => word.push(plain),
        }
    }
}

fn double_quoted(rest: &mut Peekable<Chars<'_>>, word: &mut String) -> Result<(), &'static str> {
    let open = "a \" is not closed";
    loop {
        match rest.next().ok_or(open)? {
            '"' => return Ok(()),
            '\\' => match rest.next().ok_or(open)? {
                taken @ ('"' | '\\' | '$' | '`') => word.push(taken),
                other => word.extend(['\\', other]),
            },
            plain => word.push(plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_cut_as_a_shell_cuts_them() {
        let cases: [(&str, &[&str]); 9] = [
            ("", &[]),
            ("  logs   shop\t-t ", &["logs", "shop", "-t"]),
            ("a 'b c' d", &["a", "b c", "d"]),
            ("a\"b c\"d", &["ab cd"]),
            ("'' \"\"", &["", ""]),
            (r"a\ b \'c", &["a b", "'c"]),
            (r#""a\"b\\c\nd""#, &[r#"a"b\c\nd"#]),
            ("'a\\b'", &["a\\b"]),
            ("KEY='it'\\''s'", &["KEY=it's"]),
        ];
        for (line, expected) in cases {
            assert_eq!(split(line).unwrap(), expected, "{line}");
        }
    }

    #[test]
    fn every_word_begins_somewhere() {
        let line = r#"  run  shop 'a b' "c\"d" e\ f "" g"#;
        let words: Vec<&str> = starts(line).iter().map(|at| &line[*at..]).collect();
        assert_eq!(words.len(), split(line).unwrap().len());
        assert_eq!(words[2], r#"'a b' "c\"d" e\ f "" g"#);
        assert_eq!(words[5], "\"\" g");
    }

    proptest::proptest! {
        #[test]
        fn as_many_words_begin_as_are_cut(line in "[ a'\"\\\\$;|é-]{0,40}") {
            if let Ok(words) = split(&line) {
                proptest::prop_assert_eq!(starts(&line).len(), words.len());
            }
        }
    }

    #[test]
    fn nothing_is_evaluated() {
        let line = "a $(id) `id` $HOME ; b | c && d > e * ~ {1,2} #f";
        let expected: Vec<&str> = line.split(' ').collect();
        assert_eq!(split(line).unwrap(), expected);
        assert_eq!(split("\"$(id) `id`\"").unwrap(), ["$(id) `id`"]);
    }

    #[test]
    fn what_cannot_be_cut_is_refused() {
        for line in ["a 'b", "a \"b", "a\\", "a\0b", "\"a\\"] {
            assert!(split(line).is_err(), "{line:?}");
        }
        assert!(split(&"a ".repeat(WORDS_MAX)).is_ok());
        assert!(split(&"a ".repeat(WORDS_MAX + 1)).is_err());
    }
}
