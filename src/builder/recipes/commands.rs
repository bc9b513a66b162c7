//! What the app's own command lines tell about it: which language they prefer, which programs they need.

use autostack_domain::Failure;

use crate::{
    draft::{Context, Draft},
    plan::{Recipe, Step},
};

/// The folder of small helpers that a build may put into the artifact.
const HELPERS: &str = ".autostack/bin";

/// Programs that tell which language a command line is of. What the compiled ones build has any name.
const WORDS: [(Recipe, &[&str]); 9] = [
    (Recipe::Bun, &["bun", "bunx"]),
    (Recipe::Deno, &["deno"]),
    (Recipe::Go, &["go"]),
    (Recipe::Java, &["java"]),
    (Recipe::Node, &["node", "npm", "npx", "pnpm", "tsx", "ts-node", "yarn"]),
    (Recipe::Php, &["php", "vendor/bin/heroku-php-apache2", "vendor/bin/heroku-php-nginx"]),
    (
        Recipe::Python,
        &[
            "celery",
            "daphne",
            "fastapi",
            "flask",
            "gunicorn",
            "hypercorn",
            "poetry",
            "python",
            "python3",
            "streamlit",
            "uv",
            "uvicorn",
        ],
    ),
    (
        Recipe::Ruby,
        &[
            "bin/rails",
            "bundle",
            "falcon",
            "puma",
            "rackup",
            "rails",
            "rake",
            "ruby",
            "sidekiq",
            "thin",
            "unicorn",
        ],
    ),
    (Recipe::Rust, &["cargo"]),
];

/// Programs that no recipe brings: if a command line starts with one, the host must have it.
const RUNTIMES: [&str; 14] = [
    "bun", "bundle", "cargo", "deno", "dotnet", "go", "java", "node", "npm", "npx", "perl", "php", "python3",
    "ruby",
];

/// Whether the Procfile's commands are of a language: those of `web`, where it has that.
pub(crate) fn prefers(context: &Context, recipe: Recipe) -> bool {
    let commands: Vec<&str> = match context.procfile_web() {
        Some(web) => vec![web],
        None => context.procfile.0.values().map(String::as_str).collect(),
    };
    let words = WORDS.into_iter().find(|(of, _)| *of == recipe).map_or(&[][..], |(_, words)| words);
    commands
        .iter()
        .filter_map(|line| program(line))
        .any(|word| words.contains(&word.trim_start_matches("./")))
}

/// The file that the Procfile's `web` starts, where it is one of the app's own that is not there yet: the build
/// is to make it.
pub(crate) fn missing_program(context: &Context) -> Option<String> {
    let program = program(context.procfile_web()?)?;
    let is_path = program.starts_with("./") || program.contains('/');
    let path = program.trim_start_matches("./");
    let is_plain = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte));
    let is_inside = !path.starts_with('/') && !path.split('/').any(|part| part == ".." || part.is_empty());
    (is_path && is_plain && is_inside && !context.source.has_file(path)).then(|| path.to_owned())
}

/// The program that a command line starts, past assignments, `exec` and `env`.
pub(crate) fn program(command: &str) -> Option<&str> {
    command.split_ascii_whitespace().find(|word| !is_prefix(word))
}

fn is_prefix(word: &str) -> bool {
    let is_assignment = word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    });
    is_assignment || matches!(word, "exec" | "env")
}

/// Whether a word stands in the command line, alone or as the program of a pipeline.
pub(crate) fn mentions(command: &str, word: &str) -> bool {
    command.split(|c: char| c.is_whitespace() || ";|&()'\"".contains(c)).any(|part| part == word)
}

/// Asks the host for the programs that the final command lines start.
pub(crate) fn check(context: &Context, draft: &mut Draft) -> Result<(), Failure> {
    let commands: Vec<(String, String)> =
        draft.processes.iter().map(|(process, line)| (process.to_string(), line.clone())).collect();
    for (process, command) in &commands {
        let Some(program) = program(command) else { continue };
        if RUNTIMES.contains(&program) {
            draft.needs(context, program, &format!("the {process} process (`{command}`)"))?;
        }
    }
    let says_python = commands.iter().any(|(_, command)| mentions(command, "python"));
    let has_venv = draft.launch.path.iter().any(|folder| folder.ends_with(".venv/bin"));
    if says_python && !has_venv && !context.tools.has("python") {
        add_python_link(context, draft)?;
    }
    Ok(())
}

/// Debian has `python3` but no `python`; the app's commands say `python`.
fn add_python_link(context: &Context, draft: &mut Draft) -> Result<(), Failure> {
    let needed_for = if draft.recipe == Recipe::Python { "the app" } else { "the Procfile" };
    draft.needs(context, "python3", needed_for)?;
    let command = format!("mkdir -p {HELPERS} && ln -sf \"$(command -v python3)\" {HELPERS}/python");
    draft.steps.push(Step::new("Linking python to python3", command).known_as("ln -s python3 python"));
    draft.launch_path(HELPERS);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_stands_behind_assignments() {
        assert_eq!(program("NODE_ENV=x exec node a.js"), Some("node"));
        assert_eq!(program("env A=b python3 -m x"), Some("python3"));
        assert_eq!(program("./start.sh a=b"), Some("./start.sh"));
        assert_eq!(program(""), None);
    }

    #[test]
    fn words_are_found_whole() {
        assert!(mentions("a && pnpm start", "pnpm"));
        assert!(mentions("sh -c 'python x.py'", "python"));
        assert!(!mentions("python3 x.py", "python"));
    }
}
