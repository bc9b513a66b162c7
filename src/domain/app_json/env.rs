//! `env` of an `app.json`: the variables that an app needs, and where their first values come from.

use std::collections::BTreeMap;

use super::{EnvAsked, EnvDefault, read::Reader};
use crate::{env_map, limits};

/// Reads all variables; unused keys are added to `ignored`.
pub(super) fn read(env: &Reader, ignored: &mut Vec<String>) -> Result<BTreeMap<String, EnvAsked>, String> {
    let mut asked = BTreeMap::new();
    for (name, entry) in env.object()? {
        if !env_map::is_name(name) {
            return env.refuse(format!(
                "has a variable {name:?}; use letters, digits and _, and do not start with a digit"
            ));
        }
        let variable = match entry.text() {
            Ok(_) => EnvAsked { is_required: true, default: Some(EnvDefault::Value(value(&entry)?)) },
            Err(_) => read_variable(&entry, ignored)?,
        };
        asked.insert(name.to_owned(), variable);
    }
    Ok(asked)
}

fn read_variable(variable: &Reader, ignored: &mut Vec<String>) -> Result<EnvAsked, String> {
    let mut asked = EnvAsked { is_required: true, default: None };
    let Ok(entries) = variable.object() else {
        return variable.refuse("must be text or an object: { … }");
    };
    for (key, entry) in entries {
        match key {
            "required" => asked.is_required = entry.flag()?,
            // A secret that everybody can read in the repository is none: the generator wins.
            "generator" if entry.text()? == "secret" => asked.default = Some(EnvDefault::Secret),
            "generator" => return entry.refuse("must be \"secret\""),
            "value" => {
                let value = value(&entry)?;
                asked.default.get_or_insert(EnvDefault::Value(value));
            }
            "description" => {}
            _ => ignored.push(entry.path().to_owned()),
        }
    }
    Ok(asked)
}

fn value(entry: &Reader) -> Result<String, String> {
    let text = entry.text()?;
    if text.len() > limits::CONFIG_VALUE_BYTES_MAX {
        return entry.refuse(format!("is longer than {} bytes", limits::CONFIG_VALUE_BYTES_MAX));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app_json::parse;

    fn refusal(env: &str) -> String {
        parse(format!(r#"{{"env": {env}}}"#).as_bytes()).unwrap_err().why
    }

    #[test]
    fn herokus_variables_are_read() {
        let text = br#"{"env": {
            "LANG": "en",
            "KEY": {"description": "signs cookies", "generator": "secret", "value": "not this one"},
            "SALT": {"value": "nor this one", "generator": "secret"},
            "DATABASE_URL": {"description": "where the data is"},
            "PLAN": {"required": true, "value": ""},
            "SENTRY": {"required": false, "sync": true},
        }}"#;
        let app = parse(text).unwrap();
        let asked = |is_required, default| EnvAsked { is_required, default };
        assert_eq!(app.env["LANG"], asked(true, Some(EnvDefault::Value("en".into()))));
        assert_eq!(app.env["KEY"], asked(true, Some(EnvDefault::Secret)));
        assert_eq!(app.env["SALT"], asked(true, Some(EnvDefault::Secret)));
        assert_eq!(app.env["DATABASE_URL"], asked(true, None));
        assert_eq!(app.env["PLAN"], asked(true, Some(EnvDefault::Value(String::new()))));
        assert_eq!(app.env["SENTRY"], asked(false, None));
        assert_eq!(app.ignored, ["env.SENTRY.sync"]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_key() {
        assert_eq!(refusal("[]"), "env must be an object: { … }");
        assert_eq!(refusal(r#"{"A": 1}"#), "env.A must be text or an object: { … }");
        assert_eq!(refusal(r#"{"A": {"value": 1}}"#), "env.A.value must be text");
        assert_eq!(refusal(r#"{"A": {"required": "no"}}"#), "env.A.required must be true or false");
        assert_eq!(refusal(r#"{"A": {"generator": "dice"}}"#), "env.A.generator must be \"secret\"");
        assert!(refusal(r#"{"1A": "x"}"#).starts_with("env has a variable \"1A\""));
        let long = "x".repeat(limits::CONFIG_VALUE_BYTES_MAX + 1);
        assert!(refusal(&format!(r#"{{"A": "{long}"}}"#)).contains("is longer than"));
    }
}
