//! Shapes of source trees that are too many for a sample app each: what is started, what is installed.

use std::fs;

use autostack_domain::ProcessType;

use super::fake_tools;
use crate::{BuildPlan, plan};

fn plan_of_tree(files: &[(&str, &str)]) -> BuildPlan {
    let tree = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let file = tree.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    let (_dir, tools) = fake_tools(&["node", "npm", "python3", "python3.13"]);
    plan(tree.path(), &tools).unwrap_or_else(|failure| panic!("{files:?}: {failure:#?}"))
}

fn web(files: &[(&str, &str)]) -> String {
    plan_of_tree(files).processes.get(&ProcessType::web()).cloned().flatten().unwrap_or_default()
}

#[test]
fn node_apps_are_started_by_what_says_it_best() {
    let package = |text: &'static str| ("package.json", text);
    let start = package(r#"{"main": "main.js", "scripts": {"start": "node a.js"}}"#);
    assert_eq!(web(&[start, ("main.js", "")]), "node a.js");
    assert_eq!(web(&[start, ("Procfile", "web: node p.js\n")]), "node p.js");
    assert_eq!(web(&[package(r#"{"scripts": {"prestart": "x", "start": "y"}}"#)]), "npm run start");
    assert_eq!(web(&[package(r#"{"main": "./src/app"}"#), ("src/app.js", "")]), "node src/app.js");
    assert_eq!(web(&[package(r#"{"main": "gone.js"}"#), ("index.js", "")]), "node index.js");
    let built = package(r#"{"main": "dist/a.js", "scripts": {"build": "tsc"}}"#);
    assert_eq!(web(&[built]), "node dist/a.js");
    assert_eq!(web(&[package(r#"{"main": "a b.js"}"#), ("a b.js", "")]), "node 'a b.js'");
    let kit = r#"{"scripts": {"build": "vite build"}, "devDependencies": {"vite": "7", "@sveltejs/adapter-node": "5"}}"#;
    assert_eq!(web(&[package(kit)]), "node build");
    let tool_only = package(r#"{"devDependencies": {"prettier": "3"}}"#);
    let site = plan_of_tree(&[tool_only, ("index.html", "")]);
    assert!(site.static_site.is_some() && site.steps.is_empty(), "{site:#?}");
}

#[test]
fn development_dependencies_stay_where_something_that_runs_names_one() {
    let lock = ("package-lock.json", r#"{"lockfileVersion": 3, "packages": {}}"#);
    let install = |package: &'static str| {
        let plan = plan_of_tree(&[("package.json", package), lock]);
        plan.steps.iter().map(|step| step.command.clone()).collect::<Vec<_>>().join("; ")
    };
    let dev = r#""dependencies": {"a": "1"}, "devDependencies": {"tsx": "4"}"#;
    let leak = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
    assert_eq!(install(leak(format!(r#"{{"scripts": {{"start": "node a"}}, {dev}}}"#))), "npm ci --omit=dev");
    assert_eq!(
        install(leak(format!(r#"{{"scripts": {{"start": "tsx a"}}, {dev}}}"#))),
        "npm ci --include=dev"
    );
    let through = format!(r#"{{"scripts": {{"start": "npm run serve", "serve": "tsx a"}}, {dev}}}"#);
    assert_eq!(install(leak(through)), "npm ci --include=dev");
    let only_dev = r#"{"scripts": {"start": "node a"}, "devDependencies": {"nodemon": "3"}}"#;
    assert_eq!(install(only_dev), "", "nothing that runs needs any of it");
}

#[test]
fn python_apps_are_started_by_their_server() {
    let requirements = |text: &'static str| ("requirements.txt", text);
    let flask = "import flask\napp = flask.Flask(__name__)\n";
    let fast = "app: FastAPI = FastAPI()\n";
    assert_eq!(
        web(&[requirements("flask\ngunicorn\n"), ("src/main.py", flask)]),
        "gunicorn --chdir src --bind 0.0.0.0:$PORT main:app"
    );
    assert_eq!(
        web(&[requirements("flask\nwaitress\n"), ("app.py", flask)]),
        "waitress-serve --listen=0.0.0.0:$PORT app:app"
    );
    assert_eq!(
        web(&[requirements("flask\ngunicorn\n"), ("app/__init__.py", "def create_app():\n    pass\n")]),
        "gunicorn --bind 0.0.0.0:$PORT 'app:create_app()'"
    );
    assert_eq!(
        web(&[requirements("fastapi[standard]\n"), ("app/main.py", fast)]),
        "uvicorn app.main:app --host 0.0.0.0 --port $PORT"
    );
    let bare = plan_of_tree(&[requirements("fastapi\n"), ("main.py", fast)]);
    assert!(bare.steps.iter().any(|step| step.command.ends_with("install -r requirements.txt uvicorn")));
    assert!(bare.warnings[0].contains("uvicorn is not in the dependencies"), "{:?}", bare.warnings);
    assert_eq!(
        web(&[requirements("fastapi\nhypercorn\n"), ("main.py", fast)]),
        "hypercorn --bind 0.0.0.0:$PORT main:app"
    );
    let project = "[project]\nname = \"my-shop\"\n[build-system]\nrequires = []\n";
    assert_eq!(web(&[("pyproject.toml", project), ("src/my_shop/__main__.py", "")]), "python -m my_shop");
    assert_eq!(web(&[("main.py", ""), (".python-version", "3.13.1\n")]), "python3.13 main.py");
    assert_eq!(web(&[requirements("# nothing yet\n"), ("main.py", "")]), "python3 main.py");
}

#[test]
fn a_tree_of_both_languages_follows_its_procfile_then_what_starts() {
    let both = [("package.json", r#"{"scripts": {"build": "x"}}"#), ("requirements.txt", "flask==3.0.0\n")];
    let with = |more: &[(&'static str, &'static str)]| plan_of_tree(&[&both[..], more].concat());
    assert_eq!(with(&[("app.py", "app = Flask(__name__)\n")]).recipe.to_string(), "Python");
    assert_eq!(with(&[("Procfile", "web: node x.js\n")]).recipe.to_string(), "Node.js");
    assert_eq!(with(&[("Procfile", "web: gunicorn x\n")]).recipe.to_string(), "Python");
    assert_eq!(with(&[("index.js", "")]).recipe.to_string(), "Node.js");
}

#[test]
fn python_is_linked_where_the_host_has_only_python3() {
    let plan = plan_of_tree(&[("Procfile", "web: python serve.py\n"), ("serve.py", "")]);
    assert_eq!(plan.launch.path, [".autostack/bin"]);
    assert_eq!(plan.steps.len(), 1);
}

#[test]
fn sites_are_found_where_generators_and_hosts_put_them() {
    let site = |files: &[(&str, &str)]| plan_of_tree(files).static_site.unwrap();
    assert_eq!(site(&[("public/index.html", "")]).root, "public");
    assert_eq!(site(&[("Staticfile", "root: out\n"), ("out/index.html", "")]).root, "out");
    assert!(site(&[("index.html", ""), ("_redirects", "/* /index.html 200\n")]).single_page);
    assert!(!site(&[("index.html", ""), ("_redirects", "/a /b 301\n")]).single_page);
    assert!(site(&[("index.html", ""), ("200.html", "")]).single_page);
    assert_eq!(site(&[("index.html", ""), ("404.html", "")]).not_found.unwrap(), "404.html");
    let tree = tempfile::tempdir().unwrap();
    fs::write(tree.path().join("static.json"), r#"{"root": "../../etc"}"#).unwrap();
    let refused = plan(tree.path(), &crate::Toolchains::default()).unwrap_err();
    assert!(refused.cause.contains("leads out of the app"), "{}", refused.cause);
}

#[test]
fn what_is_not_used_is_said() {
    let app_json = r#"{"addons": [], "healthchecks": {"worker": [{"listening": true}]}}"#;
    let plan = plan_of_tree(&[("Procfile", "web: ./x\n"), ("app.json", app_json), ("mix.exs", "")]);
    assert_eq!(
        plan.warnings,
        [
            "mix.exs found, but there is no recipe for Elixir: nothing is installed from it",
            "app.json: not used by this version: addons",
            "app.json: no such process type: healthchecks.worker",
        ]
    );
}
