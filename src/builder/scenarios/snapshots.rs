//! The plan of each sample app and the refusal of each bad one, compared with what is kept beside it.

use super::{fake_tools, fixtures};
use crate::plan;

/// Every program that a sample app asks for.
const TOOLS: [&str; 15] = [
    "bun", "bundle", "cargo", "composer", "deno", "go", "java", "javac", "mvn", "node", "npm", "php",
    "python3", "ruby", "rustc",
];

pub(crate) fn folders(of: &str) -> Vec<String> {
    let entries = std::fs::read_dir(fixtures(of)).unwrap().map(Result::unwrap);
    let mut names: Vec<String> = entries
        .filter(|entry| entry.file_type().unwrap().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(!names.is_empty());
    names
}

pub(crate) fn beside(of: &str) -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(fixtures(of));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings
}

#[test]
fn each_sample_app_gets_the_plan_beside_it() {
    let (_dir, tools) = fake_tools(&TOOLS);
    for app in folders("apps") {
        let plan = plan(&fixtures("apps").join(&app), &tools)
            .unwrap_or_else(|failure| panic!("{app}: {failure:#?}"));
        beside("apps").bind(|| insta::assert_json_snapshot!(format!("{app}.plan"), plan));
    }
}

#[test]
fn each_bad_app_gets_the_refusal_beside_it() {
    let (_dir, tools) = fake_tools(&TOOLS);
    for case in folders("bad") {
        let failure = plan(&fixtures("bad").join(&case), &tools).expect_err(&case);
        let shown: Vec<String> = failure.lines().iter().map(ToString::to_string).collect();
        let kind = serde_json::to_string(&failure.kind).unwrap();
        let text = format!("{}\n{}", kind, shown.join("\n"));
        beside("bad").bind(|| insta::assert_snapshot!(format!("{case}.refusal"), text));
    }
}

#[test]
fn a_missing_program_is_named_with_its_remedy() {
    let (_dir, none) = fake_tools(&[]);
    let failure = plan(&fixtures("apps/node-plain"), &none).unwrap_err();
    assert_eq!(failure.kind, autostack_domain::FailureKind::MissingTool);
    assert_eq!(failure.cause, "node is not installed on the host, and package.json needs it");
    assert!(failure.hint.contains("apt-get install nodejs npm"), "{}", failure.hint);
    let failure = plan(&fixtures("apps/python-flask"), &none).unwrap_err();
    assert_eq!(failure.cause, "python3 is not installed on the host, and requirements.txt needs it");
    let failure = plan(&fixtures("apps/procfile-only"), &none).unwrap_err();
    assert!(failure.cause.starts_with("python3 is not installed on the host, and the "), "{}", failure.cause);
    let (_dir, no_npm) = fake_tools(&["node"]);
    assert!(plan(&fixtures("apps/node-plain"), &no_npm).is_ok(), "nothing to install needs no npm");
    let failure = plan(&fixtures("apps/node-express"), &no_npm).unwrap_err();
    assert_eq!(failure.cause, "npm is not installed on the host, and package.json needs it");
}
