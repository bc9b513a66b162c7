//! What somebody says with `git push -o`: `no-deploy` stores without deploying, `env=NAME=VALUE` sets config with the
//! release that goes live.

use autostack_domain::{EnvMap, push::PushPlan};

use crate::error::{ErrorKind, PlatformError};

/// The push option that stores without deploying.
const NO_DEPLOY: &str = "no-deploy";
/// What the push option begins with that sets config.
const ENV: &str = "env=";

/// What was obeyed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Obeyed {
    /// A sentence for each option that needs one.
    pub(crate) notes: Vec<String>,
    /// The config that the deployment sets when it goes live; empty where nothing is deployed.
    pub(crate) env: EnvMap,
}

/// Does what the push options ask for.
///
/// # Errors
/// One sets a variable that cannot be; its value is not repeated.
pub(crate) fn obey(options: &[String], plan: &mut PushPlan) -> Result<Obeyed, PlatformError> {
    let mut obeyed = Obeyed::default();
    for option in options {
        if let Some(pair) = option.strip_prefix(ENV) {
            set(pair, &mut obeyed.env)?;
        } else if option == NO_DEPLOY {
            let Some(update) = plan.deploy.take() else { continue };
            let what = update.name.short();
            obeyed.notes.push(format!(
                "Branch {what} is stored, not deployed, as you asked with {NO_DEPLOY}; \
                 its next commit is deployed (git commit --allow-empty makes one)."
            ));
        } else {
            obeyed.notes.push(format!(
                "The push option {option:?} is not known and was ignored; {NO_DEPLOY} and {ENV}NAME=VALUE are."
            ));
        }
    }
    if plan.deploy.is_none() && !obeyed.env.is_empty() {
        let env = std::mem::take(&mut obeyed.env);
        let names: Vec<_> = env.iter().map(|(name, _)| name).collect();
        obeyed.notes.push(format!("Not set, as nothing of this push is deployed: {}.", names.join(", ")));
    }
    Ok(obeyed)
}

fn set(pair: &str, env: &mut EnvMap) -> Result<(), PlatformError> {
    let refused = |why: String| {
        PlatformError::new(ErrorKind::Invalid, why)
            .hint("git push -o env=NAME=VALUE, an -o for each variable")
    };
    let Some((name, value)) = pair.split_once('=') else {
        return Err(refused(format!("the push option {ENV} needs a name and a value")));
    };
    env.set(name, value).map_err(|invalid| refused(format!("the push option {ENV}: {invalid}")))
}

#[cfg(test)]
mod tests {
    use autostack_domain::{RefUpdate, push};

    use super::*;

    fn plan() -> PushPlan {
        let update = RefUpdate {
            old: "0".repeat(40).parse().unwrap(),
            new: "1".repeat(40).parse().unwrap(),
            name: "refs/heads/main".parse().unwrap(),
        };
        push::plan(&[update], None).unwrap()
    }

    fn obey_all(options: &[&str], plan: &mut PushPlan) -> Result<Obeyed, PlatformError> {
        let options: Vec<String> = options.iter().map(ToString::to_string).collect();
        obey(&options, plan)
    }

    #[test]
    fn variables_are_taken_byte_for_byte_and_the_last_wins() {
        let mut plan = plan();
        let obeyed = obey_all(&["env=A=1", "env=B=x=\"$y\" ", "env=A=", "colour"], &mut plan).unwrap();
        assert_eq!(obeyed.env.get("A"), Some(b"".as_slice()));
        assert_eq!(obeyed.env.get("B"), Some(b"x=\"$y\" ".as_slice()));
        assert!(plan.deploy.is_some());
        assert!(matches!(&obeyed.notes[..], [note] if note.contains("\"colour\" is not known")));
    }

    #[test]
    fn nothing_is_set_where_nothing_is_deployed() {
        let mut plan = plan();
        let obeyed = obey_all(&["env=A=1", "no-deploy"], &mut plan).unwrap();
        assert!(plan.deploy.is_none() && obeyed.env.is_empty());
        assert_eq!(obeyed.notes[1], "Not set, as nothing of this push is deployed: A.");
    }

    #[test]
    fn what_cannot_be_set_is_refused() {
        for option in ["env=", "env=A", "env=1A=x", "env==x", "env=A B=x", "env=A-B=secret"] {
            let refusal = obey_all(&[option], &mut plan()).unwrap_err();
            assert_eq!(refusal.kind, ErrorKind::Invalid, "{option}");
            assert!(!refusal.message.contains("secret"), "{}", refusal.message);
        }
    }
}
