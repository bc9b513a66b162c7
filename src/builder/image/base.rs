//! Which images an app is built on and runs in: the language of the plan, the version that the app asks for,
//! the template of the operator.

use autostack_base::settings::ImageSettings;
use autostack_domain::{Failure, FailureKind, ImageTemplate, Stage, image::ImageReference};

use super::version;
use crate::plan::{BuildPlan, Recipe, Tool};

/// What a program of a plan comes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    Node,
    Python,
    Go,
    Rust,
    Ruby,
    Php,
    Deno,
    Bun,
    Java,
}

/// A language's programs, what apps get that ask for no version, and how many parts of one the tag has.
struct Known {
    language: Language,
    programs: &'static [&'static str],
    default: &'static str,
    parts: usize,
}

/// The one table of versions that apps get without asking.
const LANGUAGES: [Known; 9] = [
    Known { language: Language::Node, programs: &["node", "npm", "npx"], default: "24", parts: 1 },
    Known { language: Language::Python, programs: &["python3", "python"], default: "3.14", parts: 2 },
    Known { language: Language::Go, programs: &["go"], default: "1.26", parts: 2 },
    Known { language: Language::Rust, programs: &["cargo", "rustc"], default: "1.95", parts: 2 },
    Known { language: Language::Ruby, programs: &["ruby", "bundle"], default: "3.4", parts: 3 },
    Known { language: Language::Php, programs: &["php"], default: "8.4", parts: 2 },
    Known { language: Language::Deno, programs: &["deno"], default: "2.5.6", parts: 3 },
    Known { language: Language::Bun, programs: &["bun"], default: "1.3", parts: 2 },
    Known { language: Language::Java, programs: &["java", "javac", "mvn"], default: "21", parts: 1 },
];

/// The images of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bases {
    /// What the steps run in.
    pub(crate) build: ImageReference,
    /// What the app runs in.
    pub(crate) run: ImageReference,
    /// Where Node.js and npm are copied from: an app of another language whose assets they build.
    pub(crate) node: Option<ImageReference>,
    /// Where Composer is copied from.
    pub(crate) composer: Option<ImageReference>,
    /// What the app should be told.
    pub(crate) warnings: Vec<String>,
}

impl Language {
    fn known(self) -> &'static Known {
        // Every language stands in the table, as a test shows.
        LANGUAGES.iter().find(|known| known.language == self).unwrap_or(&LANGUAGES[0])
    }

    fn of_program(program: &str) -> Option<Self> {
        let is_of = |known: &&Known| {
            known.programs.iter().any(|name| {
                // Debian calls one of several versions `python3.13`.
                let rest = program.strip_prefix(name);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
        };
        LANGUAGES.iter().find(is_of).map(|known| known.language)
    }

    fn template(self, images: &ImageSettings) -> &ImageTemplate {
        match self {
            Language::Node => &images.node,
            Language::Python => &images.python,
            Language::Go => &images.go,
            Language::Rust => &images.rust,
            Language::Ruby => &images.ruby,
            Language::Php => &images.php,
            Language::Deno => &images.deno,
            Language::Bun => &images.bun,
            Language::Java => &images.java,
        }
    }

    /// Whether what is built runs without the language.
    fn compiles(self) -> bool {
        matches!(self, Language::Go | Language::Rust)
    }
}

/// The language of a plan; `None` where its commands need no more than a shell.
pub(crate) fn language(plan: &BuildPlan) -> Option<Language> {
    match plan.recipe {
        Recipe::Node => Some(Language::Node),
        Recipe::Python => Some(Language::Python),
        Recipe::Bun => Some(Language::Bun),
        Recipe::Deno => Some(Language::Deno),
        Recipe::Go => Some(Language::Go),
        Recipe::Java => Some(Language::Java),
        Recipe::Php => Some(Language::Php),
        Recipe::Ruby => Some(Language::Ruby),
        Recipe::Rust => Some(Language::Rust),
        Recipe::Procfile | Recipe::Shell | Recipe::Static | Recipe::Dockerfile => {
            plan.tools.iter().find_map(|tool| Language::of_program(&tool.name))
        }
    }
}

impl Bases {
    /// Chooses the images of a plan.
    ///
    /// # Errors
    /// The version that the app asks for fits into no name of an image.
    pub(crate) fn choose(plan: &BuildPlan, images: &ImageSettings) -> Result<Self, Failure> {
        let mut warnings = Vec::new();
        let language = language(plan);
        let run = || named(&images.run, "");
        let build = match language {
            Some(language) => image_of(language, plan, images, &mut warnings)?,
            None => run()?,
        };
        let run = match language {
            Some(language) if language.compiles() => run()?,
            Some(_) | None => build.clone(),
        };
        let needs = |program: &str| plan.tools.iter().any(|tool| tool.name == program);
        let node = match language {
            Some(Language::Node) => None,
            _ if needs("npm") || needs("node") => {
                Some(image_of(Language::Node, plan, images, &mut warnings)?).filter(|image| *image != build)
            }
            Some(_) | None => None,
        };
        let composer = match needs("composer") {
            true => Some(named(&images.composer, "2")?).filter(|image| *image != build),
            false => None,
        };
        let is_brought = |tool: &&Tool| match Language::of_program(&tool.name) {
            Some(other) => Some(other) == language || other == Language::Node,
            // Debian's images have the one, and the other is copied.
            None => matches!(tool.name.as_str(), "perl" | "composer"),
        };
        let others = plan.tools.iter().filter(|tool| !is_brought(tool));
        warnings.extend(others.map(|tool| {
            format!(
                "{} needs {}, which {build} may lack; a Dockerfile can bring it",
                tool.needed_for, tool.name
            )
        }));
        Ok(Self { build, run, node, composer, warnings })
    }
}

/// The image of a language in the version that the plan asks for.
fn image_of(
    language: Language,
    plan: &BuildPlan,
    images: &ImageSettings,
    warnings: &mut Vec<String>,
) -> Result<ImageReference, Failure> {
    let known = language.known();
    let template = language.template(images);
    let of_language = || plan.tools.iter().filter(|tool| Language::of_program(&tool.name) == Some(language));
    let asked = of_language().find_map(|tool| {
        let in_name = || known.programs.iter().find_map(|name| suffix(&tool.name, name));
        tool.version.clone().or_else(in_name)
    });
    let Some(asked) = asked else { return named(template, known.default) };
    if !template.takes_version() {
        warnings.push(format!(
            "{} {asked} is asked for; {template} is used, whatever version it has",
            known.programs[0]
        ));
        return named(template, known.default);
    }
    match version::choose(&asked, known.default, known.parts) {
        Some(version) => named(template, &version),
        None => {
            let (program, default) = (known.programs[0], known.default);
            warnings.push(format!("{program} {asked} is not understood: {program} {default} is used"));
            named(template, default)
        }
    }
}

/// `python3.13` for `python` → `3.13`.
fn suffix(program: &str, name: &str) -> Option<String> {
    let rest = program.strip_prefix(name.trim_end_matches(|c: char| c.is_ascii_digit()))?;
    (rest.contains('.') && rest.starts_with(|c: char| c.is_ascii_digit())).then(|| rest.to_owned())
}

fn named(template: &ImageTemplate, version: &str) -> Result<ImageReference, Failure> {
    template.with_version(version).map_err(|invalid| {
        Failure::new(Stage::Build, FailureKind::BadAppFile, format!("there is no image for it: {invalid}"))
            .hint("ask for a version such as 3.1 or 20, commit, and push again")
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use autostack_base::settings::Settings;

    use super::*;
    use crate::Toolchains;

    fn bases(files: &[(&str, &str)], settings: &str) -> Bases {
        let tree = tempfile::tempdir().unwrap();
        for (path, text) in files {
            fs::write(tree.path().join(path), text).unwrap();
        }
        let plan = crate::plan(tree.path(), &Toolchains::of_an_image()).unwrap();
        Bases::choose(&plan, &Settings::from_text("test", settings).unwrap().images).unwrap()
    }

    fn names(bases: &Bases) -> (String, String) {
        (bases.build.to_string(), bases.run.to_string())
    }

    #[test]
    fn every_language_is_in_the_table() {
        for known in &LANGUAGES {
            assert_eq!(known.language.known().language, known.language);
            for program in known.programs {
                assert_eq!(Language::of_program(program), Some(known.language), "{program}");
            }
        }
        assert_eq!(Language::of_program("python3.13"), Some(Language::Python));
        assert_eq!(Language::of_program("nodejs-thing"), None);
    }

    #[test]
    fn the_version_that_an_app_asks_for_decides_the_tag() {
        let package = |engines: &str| format!(r#"{{"engines": {{"node": "{engines}"}}, "main": "a.js"}}"#);
        let node =
            |engines: &str| bases(&[("package.json", &package(engines)), ("a.js", "")], "").build.to_string();
        assert_eq!(node("20.x"), "node:20-bookworm-slim");
        assert_eq!(node(">=18"), "node:24-bookworm-slim");
        let python = bases(&[("main.py", ""), ("runtime.txt", "python-3.12.4\n")], "");
        assert_eq!(names(&python), ("python:3.12-slim-bookworm".into(), "python:3.12-slim-bookworm".into()));
        let go = bases(&[("go.mod", "module a\n\ngo 1.24.1\n"), ("main.go", "package main\n")], "");
        assert_eq!(names(&go), ("golang:1.24-bookworm".into(), "debian:bookworm-slim".into()));
    }

    #[test]
    fn an_image_without_a_place_for_the_version_is_used_and_said() {
        let files = [("main.py", ""), ("runtime.txt", "python-3.12.4\n")];
        let chosen = bases(&files, "[images]\npython = \"r.example.com/python:ours\"\n");
        assert_eq!(chosen.build.to_string(), "r.example.com/python:ours");
        assert!(chosen.warnings[0].contains("3.12 is asked for"), "{:?}", chosen.warnings);
    }

    #[test]
    fn commands_of_a_procfile_get_what_they_start_with() {
        let python = bases(&[("Procfile", "web: python3 a.py\nworker: ./x\n")], "");
        assert_eq!(python.run.to_string(), "python:3.14-slim-bookworm");
        assert_eq!(bases(&[("Procfile", "web: ./x\n")], "").run.to_string(), "debian:bookworm-slim");
        let two = bases(&[("Procfile", "web: ruby a.rb\nworker: php b.php\n")], "");
        assert_eq!(two.warnings.len(), 1, "{two:?}");
    }
}
