//! Deno: `deno.json` says what starts, else the usual file does.
//!
//! Differences from nixpacks, each for a reason:
//! - what the sources import is kept in the artifact (`DENO_DIR`), so that starting an instance fetches
//!   nothing;
//! - `PORT` is told by `DENO_SERVE_ADDRESS`, which `Deno.serve` obeys whatever the source says.

use autostack_domain::{Failure, ProcessType};
use serde_json::Value;

use crate::{
    draft::{Context, Draft, bad_app_file, no_start, shell_word},
    plan::{CacheFolder, Recipe, Step},
};

/// Files that start an app, the more telling first.
const MAIN_FILES: [&str; 14] = [
    "main.ts",
    "main.tsx",
    "main.js",
    "main.mjs",
    "main.mts",
    "server.ts",
    "server.js",
    "mod.ts",
    "index.ts",
    "index.js",
    "src/main.ts",
    "src/index.ts",
    "src/server.ts",
    "src/index.js",
];
/// Where the dependencies are kept in the artifact.
const DENO_DIR: &str = ".autostack/deno";
/// Addresses that only Deno imports from.
const IMPORTS: [&str; 3] = ["from \"https://deno.land/", "from 'https://deno.land/", "from \"jsr:"];

/// Whether the tree is of Deno.
pub(crate) fn fits(context: &Context) -> bool {
    let imports = |file: &&str| {
        let text = context.source.words(file);
        IMPORTS.iter().any(|import| text.contains(import))
    };
    config_file(context).is_some() || MAIN_FILES.iter().any(imports)
}

fn config_file(context: &Context) -> Option<&'static str> {
    ["deno.json", "deno.jsonc"].into_iter().find(|file| context.source.has_file(file))
}

/// Drafts a plan for a Deno app.
pub(crate) fn draft(context: &Context) -> Result<Draft, Failure> {
    let mut draft = Draft::new(Recipe::Deno);
    let file = config_file(context);
    let marker = file.unwrap_or("an import from deno.land");
    draft.because(format!("{marker} found: Deno"));
    draft.needs(context, "deno", file.unwrap_or("the app"))?;
    let config = match file {
        Some(file) => read(context, file)?,
        None => Value::Null,
    };
    draft.launch_var("DENO_DIR", DENO_DIR);
    draft.launch_var("DENO_NO_UPDATE_CHECK", "1");
    draft.launch_var("DENO_NO_PROMPT", "1");
    let task = |name: &str| config["tasks"][name].as_str().or(config["tasks"][name]["command"].as_str());
    let usual = MAIN_FILES.into_iter().find(|file| context.source.has_file(file));
    let is_source = |word: &&str| {
        [".ts", ".tsx", ".js", ".mjs", ".mts"].iter().any(|end| word.ends_with(end))
            && context.source.has_file(word)
    };
    let started = task("start").and_then(|line| line.split_ascii_whitespace().find(is_source));
    let main = started.or(usual);
    add_steps(context, main, &mut draft);
    if let Some(build) = task("build") {
        draft.because(format!("build task found: deno task build ({build})"));
        draft.steps.push(Step::new("Building", "deno task build"));
    }
    guess(context, task("start"), main, marker, &mut draft)?;
    Ok(draft)
}

/// What starts the app; the Procfile's own `web` is not second-guessed.
fn guess(
    context: &Context,
    start: Option<&str>,
    main: Option<&str>,
    marker: &str,
    draft: &mut Draft,
) -> Result<(), Failure> {
    if context.procfile_web().is_some() {
        return Ok(());
    }
    if let Some(start) = start {
        // Other lines are of Deno's own shell, which knows more than `sh` does, or less.
        let is_plain = start.starts_with("deno ") && !start.contains(['&', '|', ';', '"', '\'', '$', '*']);
        let line = if is_plain { start } else { "deno task start" };
        let because = format!("start task of {marker}");
        draft.guess(ProcessType::web(), format!("DENO_SERVE_ADDRESS=tcp:0.0.0.0:$PORT {line}"), &because);
        return Ok(());
    }
    let Some(main) = main else {
        if !context.procfile.0.is_empty() {
            return Ok(());
        }
        return Err(no_start(
            "Deno found, but nothing says how to start the app",
            &format!("web in the Procfile, tasks.start in deno.json, {}", MAIN_FILES.join(", ")),
            "add a start task to deno.json, commit, and push again",
        ));
    };
    let line = match serves_by_export(&context.source.words(main)) {
        true => format!("deno serve --allow-all --host 0.0.0.0 --port $PORT {main}"),
        false => format!("DENO_SERVE_ADDRESS=tcp:0.0.0.0:$PORT deno run --allow-all {main}"),
    };
    draft.guess(ProcessType::web(), line, "the usual name");
    Ok(())
}

/// Fetches what the main file imports: into the app's cache, so that the next build finds it there, and from it
/// into the artifact.
fn add_steps(context: &Context, main: Option<&str>, draft: &mut Draft) {
    let into_the_cache = "DENO_DIR=\"$AUTOSTACK_DENO\"";
    draft.cache(CacheFolder::new("deno", "AUTOSTACK_DENO"));
    if context.source.has_file("package.json") {
        let line = "deno install";
        draft.because(format!("package.json found: {line}"));
        let step = Step::new("Installing dependencies", format!("{into_the_cache} {line}"));
        draft.steps.push(step.known_as(line));
    }
    let Some(main) = main else { return };
    let has_lock = context.source.has_file("deno.lock");
    let line = if has_lock { "deno cache --frozen" } else { "deno cache" };
    let line = format!("{line} {}", shell_word(main));
    draft.because(format!("Fetching what {main} imports: {line}"));
    let command =
        format!("{into_the_cache} {line} &&\nmkdir -p .autostack &&\ncp -a \"$AUTOSTACK_DENO\" {DENO_DIR}");
    draft.steps.push(Step::new("Fetching dependencies", command).known_as(line));
}

/// `export default { fetch() … }`, which `deno serve` calls.
fn serves_by_export(text: &str) -> bool {
    text.split_once("export default").is_some_and(|(_, rest)| rest.contains("fetch"))
        && !text.contains("Deno.serve(")
}

fn read(context: &Context, file: &str) -> Result<Value, Failure> {
    let text = context.source.read(file).map_err(|error| bad_app_file(file, error))?.unwrap_or_default();
    let text = String::from_utf8(text).map_err(|_| bad_app_file(file, "it is not UTF-8 text"))?;
    // Deno reads comments in both of its files.
    serde_json::from_str(&without_comments(&text)).map_err(|error| bad_app_file(file, error))
}

/// JSON with comments and commas before closing brackets → JSON, on the same lines.
fn without_comments(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    let mut in_string = false;
    while let Some(c) = rest.next() {
        match (in_string, c, rest.peek().copied()) {
            (true, '\\', Some(escaped)) => {
                plain.extend([c, escaped]);
                rest.next();
                continue;
            }
            (_, '"', _) => in_string = !in_string,
            (false, '/', Some('/')) => {
                while rest.peek().is_some_and(|c| *c != '\n') {
                    rest.next();
                }
                continue;
            }
            (false, '/', Some('*')) => {
                rest.next();
                let mut last = ' ';
                for c in rest.by_ref() {
                    if c == '\n' {
                        plain.push(c);
                    }
                    if last == '*' && c == '/' {
                        break;
                    }
                    last = c;
                }
                continue;
            }
            (false, ']' | '}', _) => {
                let kept = plain.trim_end().len();
                if plain[..kept].ends_with(',') {
                    plain.replace_range(kept - 1..kept, " ");
                }
            }
            _ => {}
        }
        plain.push(c);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_last_commas_are_left_out() {
        let text = "{ // tasks\n \"a\": \"http://x/*\", /* b\n */ \"c\": [1, 2,\n], \"q\": \"\\\"//\",\n}";
        let value: Value = serde_json::from_str(&without_comments(text)).unwrap();
        assert_eq!(value, serde_json::json!({"a": "http://x/*", "c": [1, 2], "q": "\"//"}));
        assert_eq!(without_comments(text).lines().count(), text.lines().count());
    }

    #[test]
    fn an_exported_handler_is_served() {
        assert!(serves_by_export("export default {\n  fetch(r) { return new Response() },\n};"));
        assert!(!serves_by_export("Deno.serve(h); export default { fetch: h }"));
        assert!(!serves_by_export("Deno.serve(() => fetch('x'))"));
    }
}
