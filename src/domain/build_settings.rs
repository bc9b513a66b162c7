//! What an operator says about how an app is built; it wins over what its tree shows.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{names::Invalid, tree_path::TreePath};

/// Who builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SelectedBuilder {
    /// The app's Dockerfile; it must be there.
    Dockerfile,
    /// The recipes, also where there is a Dockerfile.
    Recipe,
}

impl SelectedBuilder {
    /// Builders of others that do what the recipes do: somebody who asks for one gets those.
    const LIKE_RECIPES: [&str; 5] = ["herokuish", "nixpacks", "pack", "railpack", "recipe"];

    /// As it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            SelectedBuilder::Dockerfile => "dockerfile",
            SelectedBuilder::Recipe => "recipe",
        }
    }
}

impl FromStr for SelectedBuilder {
    type Err = Invalid;

    fn from_str(given: &str) -> Result<Self, Invalid> {
        match given {
            "dockerfile" => Ok(Self::Dockerfile),
            name if Self::LIKE_RECIPES.contains(&name) => Ok(Self::Recipe),
            _ => Err(Invalid::new(
                "builder",
                given,
                "there are dockerfile and recipe (herokuish, nixpacks, pack and railpack mean that, too)",
            )),
        }
    }
}

impl fmt::Display for SelectedBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Settings of `builder:set`, `builder-dockerfile:set` and `buildpacks:*`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BuildSettings {
    /// Who builds; `None` where the tree decides.
    pub selected: Option<SelectedBuilder>,
    /// The folder of the tree that is the app.
    pub build_dir: Option<TreePath>,
    /// The app's Dockerfile, in its folder; `Dockerfile` where none is named.
    pub dockerfile_path: Option<TreePath>,
    /// Languages in the order in which they were asked for; the last one starts the app.
    pub buildpacks: Vec<Buildpack>,
}

impl BuildSettings {
    /// What holds for an app that says this, where those hold for all. Buildpacks are each app's own.
    #[must_use]
    pub fn over(&self, defaults: &Self) -> Self {
        Self {
            selected: self.selected.or(defaults.selected),
            build_dir: self.build_dir.clone().or_else(|| defaults.build_dir.clone()),
            dockerfile_path: self.dockerfile_path.clone().or_else(|| defaults.dockerfile_path.clone()),
            buildpacks: self.buildpacks.clone(),
        }
    }
}

/// The language of a recipe, as buildpacks name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Buildpack {
    /// Deno.
    Deno,
    /// Go.
    Go,
    /// Java with Maven.
    Java,
    /// Java with Gradle.
    Gradle,
    /// Node.js, also with pnpm, yarn or Bun.
    Nodejs,
    /// PHP.
    Php,
    /// Commands of a Procfile alone.
    Procfile,
    /// Python.
    Python,
    /// Ruby.
    Ruby,
    /// Rust.
    Rust,
    /// Files that are served as they are.
    Static,
}

impl Buildpack {
    /// Every one, with the name that is shown and other names that are understood.
    const NAMES: [(Buildpack, &str, &[&str]); 11] = [
        (Buildpack::Deno, "deno", &[]),
        (Buildpack::Go, "go", &[]),
        (Buildpack::Java, "java", &["maven", "jvm"]),
        (Buildpack::Gradle, "gradle", &[]),
        (Buildpack::Nodejs, "nodejs", &["node", "nodejs-engine", "npm", "yarn", "bun"]),
        (Buildpack::Php, "php", &[]),
        (Buildpack::Procfile, "procfile", &["null"]),
        (Buildpack::Python, "python", &["pip", "poetry", "uv"]),
        (Buildpack::Ruby, "ruby", &[]),
        (Buildpack::Rust, "rust", &["emk-rust"]),
        (Buildpack::Static, "static", &["nginx", "web-servers"]),
    ];

    /// As it is shown: `heroku/nodejs`.
    pub fn name(self) -> String {
        let short = Self::NAMES.iter().find(|(pack, ..)| *pack == self).map_or("", |(_, short, _)| short);
        format!("heroku/{short}")
    }
}

impl FromStr for Buildpack {
    type Err = Invalid;

    /// Takes `heroku/nodejs`, `nodejs`, `paketo-buildpacks/nodejs` and the URLs of the usual repositories of
    /// buildpacks, such as `https://github.com/heroku/heroku-buildpack-nodejs.git#v200`.
    fn from_str(given: &str) -> Result<Self, Invalid> {
        let refuse = || {
            let why = "no recipe does what it does; there are nodejs, python, ruby, go, java, gradle, php, rust, deno, \
                       static and procfile, and everything else can be said in a Dockerfile";
            Invalid::new("buildpack", given, why)
        };
        let plain = given.split(['#', '?']).next().unwrap_or_default();
        let plain = plain.trim_end_matches('/').trim_end_matches(".git").trim_end_matches(".tgz");
        let plain =
            plain.strip_prefix("urn:cnb:registry:").unwrap_or(plain).split('@').next().unwrap_or_default();
        let last = plain.rsplit('/').next().unwrap_or_default();
        let short = last
            .strip_prefix("heroku-buildpack-")
            .or_else(|| last.strip_prefix("buildpack-"))
            .unwrap_or(last);
        let known =
            |(_, name, others): &&(Buildpack, &str, &[&str])| *name == short || others.contains(&short);
        Self::NAMES.iter().find(known).map(|(pack, ..)| *pack).ok_or_else(refuse)
    }
}

impl fmt::Display for Buildpack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buildpacks_are_known_by_all_their_names() {
        for (given, pack) in [
            ("heroku/nodejs", Buildpack::Nodejs),
            ("nodejs", Buildpack::Nodejs),
            ("https://github.com/heroku/heroku-buildpack-nodejs.git#v200", Buildpack::Nodejs),
            ("https://github.com/heroku/heroku-buildpack-python", Buildpack::Python),
            ("https://buildpack-registry.s3.amazonaws.com/buildpacks/heroku/go.tgz", Buildpack::Go),
            ("paketo-buildpacks/ruby@1.2.3", Buildpack::Ruby),
            ("https://github.com/emk/heroku-buildpack-rust", Buildpack::Rust),
        ] {
            assert_eq!(given.parse::<Buildpack>().unwrap(), pack, "{given}");
        }
        for unknown in [
            "",
            "heroku/erlang",
            "https://github.com/a/heroku-buildpack-apt",
            "$(id)",
            "../nodejs/..",
            "nodejs;id",
        ] {
            assert!(unknown.parse::<Buildpack>().is_err(), "{unknown:?}");
        }
        for (pack, ..) in Buildpack::NAMES {
            assert_eq!(pack.name().parse::<Buildpack>().unwrap(), pack);
        }
    }

    #[test]
    fn builders_of_others_that_do_the_same_mean_the_recipes() {
        assert_eq!("herokuish".parse::<SelectedBuilder>().unwrap(), SelectedBuilder::Recipe);
        assert_eq!("dockerfile".parse::<SelectedBuilder>().unwrap(), SelectedBuilder::Dockerfile);
        for unknown in ["null", "lambda", "", "Dockerfile"] {
            assert!(unknown.parse::<SelectedBuilder>().is_err(), "{unknown:?}");
        }
    }
}
