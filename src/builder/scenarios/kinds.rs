//! Shapes of trees of the languages beside Node.js and Python, and of trees whose app is in a folder: what is
//! started, what is installed, what is refused.

use std::{fs, os::unix::fs::symlink};

use autostack_domain::{EnvMap, Failure, FailureKind, ProcessType};
use tempfile::TempDir;

use super::{fake_tools, fixtures};
use crate::{BuildPlan, Toolchains, folder, plan, plan_with};

fn tree_of(files: &[(&str, &str)]) -> TempDir {
    let tree = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let file = tree.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    tree
}

fn plan_in(build_dir: &str, files: &[(&str, &str)]) -> Result<BuildPlan, Failure> {
    let mut config = EnvMap::new();
    if !build_dir.is_empty() {
        config.set(folder::VARIABLE, build_dir).unwrap();
    }
    plan_with(tree_of(files).path(), &config, &Toolchains::of_an_image())
}

fn plan_of(files: &[(&str, &str)]) -> BuildPlan {
    plan_in("", files).unwrap_or_else(|failure| panic!("{files:?}: {failure:#?}"))
}

fn web(files: &[(&str, &str)]) -> String {
    plan_of(files).processes.get(&ProcessType::web()).cloned().flatten().unwrap_or_default()
}

fn steps(plan: &BuildPlan) -> String {
    plan.steps.iter().map(|step| step.command.as_str()).collect::<Vec<_>>().join("; ")
}

const MAIN: (&str, &str) = ("main.go", "package main\n");
const MODULE: (&str, &str) = ("go.mod", "module example.com/shop\n");

#[test]
fn a_program_is_built_where_the_procfile_looks_for_it() {
    let go = plan_of(&[MODULE, MAIN, ("Procfile", "web: ./bin/shop --quick\n")]);
    assert!(steps(&go).ends_with("go build -o bin/shop"), "{}", steps(&go));
    let cargo = ("Cargo.toml", "[package]\nname = \"shop\"\n");
    let rust = plan_of(&[cargo, ("src/main.rs", ""), ("Procfile", "web: ./target/release/shop\n")]);
    assert!(steps(&rust).ends_with("\"$CARGO_TARGET_DIR/release\"/shop target/release/"), "{}", steps(&rust));
    for outside in ["web: ../out\n", "web: /usr/bin/out\n", "web: a/$X\n"] {
        let plan = plan_of(&[MODULE, MAIN, ("Procfile", outside)]);
        assert!(steps(&plan).ends_with("go build -o out"), "{outside}{}", steps(&plan));
    }
}

#[test]
fn of_several_programs_the_one_that_says_server_is_started() {
    let main = "package main\n";
    let commands = [MODULE, ("cmd/import/main.go", main), ("cmd/shop/main.go", main)];
    assert_eq!(web(&commands), "./bin/shop", "the module's own name");
    assert_eq!(web(&[MODULE, ("cmd/a/main.go", main), ("cmd/web/main.go", main)]), "./bin/web");
    assert_eq!(web(&[MODULE, ("cmd/a/main.go", main), ("cmd/b/b.go", "package b\n")]), "./out");
    let two =
        "[package]\nname = \"shop\"\ndefault-run = \"b\"\n\n[[bin]]\nname = \"a\"\n\n[[bin]]\nname = \"b\"\n";
    assert_eq!(web(&[("Cargo.toml", two)]), "./bin/b");
    let renamed = "[package]\nname = \"shop\"\n\n[[bin]]\nname = \"serve-it\"\npath = \"src/main.rs\"\n";
    assert_eq!(web(&[("Cargo.toml", renamed), ("src/main.rs", "")]), "./bin/serve-it");
    let featured = "[package]\nname = \"shop\"\n\n[[bin]]\nname = \"x\"\nrequired-features = [\"x\"]\n";
    assert_eq!(web(&[("Cargo.toml", featured), ("src/main.rs", "")]), "./bin/shop");
}

#[test]
fn each_framework_is_told_of_its_port() {
    let gradle = |text: &'static str| [("gradlew", ""), ("build.gradle", text)];
    for (files, told) in [
        (gradle("id 'org.springframework.boot'"), "-Dserver.port=$PORT"),
        (
            gradle("id 'io.quarkus'"),
            "-Dquarkus.http.port=$PORT $JAVA_OPTS -jar build/quarkus-app/quarkus-run.jar",
        ),
        (gradle("id 'io.micronaut.application'"), "-Dmicronaut.server.port=$PORT"),
    ] {
        assert!(web(&files).contains(told), "{}", web(&files));
    }
    assert_eq!(
        web(&[("Gemfile", "gem 'rack'\n"), ("config.ru", "")]),
        "bundle exec rackup config.ru -o 0.0.0.0 -p $PORT"
    );
    assert_eq!(
        web(&[("composer.json", "{}"), ("web/index.php", "")]),
        "php -S 0.0.0.0:$PORT -t web .autostack/router.php"
    );
    let next = r#"{"scripts": {"build": "next build"}, "dependencies": {"next": "15"}}"#;
    assert_eq!(web(&[("package.json", next), ("bun.lock", "")]), "bun run next start");
    let task = r#"{"tasks": {"start": {"command": "deno run -A x.ts && echo done"}}}"#;
    assert_eq!(web(&[("deno.json", task)]), "DENO_SERVE_ADDRESS=tcp:0.0.0.0:$PORT deno task start");
}

#[test]
fn a_tree_of_several_languages_follows_its_procfile_then_what_starts() {
    let package = (
        "package.json",
        r#"{"scripts": {"start": "node a.js", "build": "x"}, "devDependencies": {"x": "1"}}"#,
    );
    let recipe = |files: &[(&str, &str)]| plan_of(files).recipe.to_string();
    assert_eq!(recipe(&[MODULE, MAIN, package]), "Go");
    assert!(
        steps(&plan_of(&[MODULE, MAIN, package]))
            .starts_with("npm install --include=dev; npm run build; go ")
    );
    assert_eq!(recipe(&[MODULE, MAIN, package, ("Procfile", "web: node a.js\n")]), "Node.js");
    // Neither can be started: tools, not apps.
    assert_eq!(recipe(&[("Gemfile", "gem 'fastlane'\n"), package]), "Node.js");
    assert_eq!(
        recipe(&[("composer.json", "{}"), ("requirements.txt", "flask\n"), ("main.py", "")]),
        "Python"
    );
    assert_eq!(recipe(&[("Gemfile", "gem 'html-proofer'\n"), ("index.html", "")]), "Static site");
    // Rust as a part of a package for another language, and as a server with files.
    let cargo = [("Cargo.toml", "[package]\nname = \"shop\"\n"), ("src/main.rs", "")];
    assert_eq!(
        recipe(&[&cargo[..], &[("pyproject.toml", "[project]\nname = \"x\"\n"), ("main.py", "")]].concat()),
        "Python"
    );
    assert_eq!(recipe(&[&cargo[..], &[("public/index.html", "")]].concat()), "Rust");
    let site = plan_of(&[("Gemfile", "gem 'jekyll'\n"), ("_config.yml", ""), ("index.html", "")]);
    assert_eq!(site.static_site.unwrap().root, "_site");
}

#[test]
fn the_folder_that_the_config_names_is_the_app() {
    let node = ("api/package.json", r#"{"scripts": {"start": "node a.js & wait"}}"#);
    let plan = plan_in("./api/", &[node, MAIN, ("Procfile", "web: ./top\n")]).unwrap();
    assert_eq!((plan.root.as_str(), plan.recipe.to_string()), ("api", "Node.js".into()));
    assert_eq!(plan.reasons[0], "AUTOSTACK_BUILD_DIR=api: that folder is the app");
    assert_eq!(plan.warnings, ["Procfile at the top is not used: that of api counts"]);
    assert_eq!(plan.processes[&ProcessType::web()].as_deref(), Some("cd api || exit\nnode a.js & wait"));
    let site = plan_in("web", &[("web/public/index.html", ""), MAIN]).unwrap();
    assert_eq!(site.static_site.unwrap().root, "web/public");
    // A package of the module at the top.
    let package = plan_in("tools/serve", &[MODULE, ("tools/serve/main.go", "package main\n")]).unwrap();
    assert!(steps(&package).ends_with("cd tools/serve && go build -o out"), "{}", steps(&package));
    assert_eq!(plan_in(".", &[MODULE, MAIN]).unwrap().root, "");
}

#[test]
fn c10_a_folder_outside_of_the_tree_is_refused() {
    let outside = tree_of(&[("index.html", "")]);
    let tree = tree_of(&[("api/main.go", "package main\n"), ("file", "")]);
    symlink(outside.path(), tree.path().join("link")).unwrap();
    symlink("api", tree.path().join("inner")).unwrap();
    for folder in ["link", "inner", "absent", "file", "..", "api/../..", "/etc", "api/link"] {
        let mut config = EnvMap::new();
        config.set(folder::VARIABLE, folder).unwrap();
        let refused = plan_with(tree.path(), &config, &Toolchains::of_an_image()).unwrap_err();
        assert_eq!(refused.kind, FailureKind::NoRecipe, "{folder}");
        assert!(refused.cause.starts_with("AUTOSTACK_BUILD_DIR: "), "{folder}: {}", refused.cause);
    }
}

#[test]
fn a_member_of_a_workspace_is_installed_at_the_top_and_built_with_what_it_needs() {
    let web = (
        "apps/web/package.json",
        r#"{"name": "@shop/web", "scripts": {"build": "b", "start": "node a.js"}}"#,
    );
    let ui = ("packages/ui/package.json", r#"{"name": "ui", "main": "index.js"}"#);
    let ui_file = ("packages/ui/index.js", "");
    let commands = |more: &[(&'static str, &'static str)]| {
        let plan = plan_of(&[&[web, ui, ui_file][..], more].concat());
        assert_eq!(plan.root, "apps/web", "the library is no app");
        assert!(plan.launch.path.contains(&"node_modules/.bin".to_owned()), "{:?}", plan.launch.path);
        plan.steps
            .iter()
            .map(|step| step.command.clone())
            .filter(|line| !line.contains("--prefix"))
            .collect::<Vec<_>>()
    };
    let top = r#"{"workspaces": ["apps/*", "packages/*"]}"#;
    assert_eq!(
        commands(&[("package.json", top), ("yarn.lock", "")]),
        ["yarn install --frozen-lockfile --production=false", "cd apps/web && yarn run build"]
    );
    let pnpm = [
        ("package.json", "{}"),
        ("pnpm-workspace.yaml", "packages:\n  - 'apps/*'\n"),
        ("pnpm-lock.yaml", ""),
    ];
    assert_eq!(
        commands(&pnpm),
        ["pnpm install --frozen-lockfile --prod=false", "pnpm --filter @shop/web... run build"]
    );
    let turbo = r#"{"workspaces": ["apps/*"], "devDependencies": {"turbo": "2"}}"#;
    assert_eq!(
        commands(&[("package.json", turbo), ("turbo.json", "{}"), ("package-lock.json", "{}")]),
        ["npm ci --include=dev", "npx turbo run build --filter=@shop/web"]
    );
    // Not of the workspace: it has a lock file of its own.
    let alone = [("package.json", r#"{"workspaces": ["packages/*"]}"#), ("apps/web/bun.lock", "")];
    assert_eq!(
        commands_of_folder("apps/web", &[&[web][..], &alone].concat()),
        "cd apps/web && bun run build"
    );
}

fn commands_of_folder(folder: &str, files: &[(&str, &str)]) -> String {
    steps(&plan_in(folder, files).unwrap())
}

#[test]
fn a_missing_toolchain_is_named_with_its_package() {
    let (_dir, none) = fake_tools(&["node", "npm"]);
    for (app, tool, remedy) in [
        ("go-plain", "go", "apt-get install golang-go"),
        ("rust-plain", "cargo", "apt-get install cargo"),
        ("ruby-plain", "ruby", "apt-get install ruby-full bundler"),
        ("php-plain", "php", "apt-get install php-cli"),
        ("java-maven", "java", "apt-get install default-jdk-headless"),
        ("deno-plain", "deno", "npm install --global deno"),
        ("bun-server", "bun", "npm install --global bun"),
    ] {
        let failure = plan(&fixtures("apps").join(app), &none).unwrap_err();
        assert_eq!(failure.kind, FailureKind::MissingTool, "{app}");
        assert!(
            failure.cause.starts_with(&format!("{tool} is not installed on the host")),
            "{}",
            failure.cause
        );
        assert!(failure.hint.contains(remedy), "{app}: {}", failure.hint);
    }
    let (_dir, jre) = fake_tools(&["java"]);
    let failure = plan(&fixtures("apps/java-gradle"), &jre).unwrap_err();
    assert!(failure.hint.contains("default-jdk-headless"), "{failure:#?}");
    let (_dir, no_composer) = fake_tools(&["php"]);
    let failure = plan(&fixtures("apps/php-composer"), &no_composer).unwrap_err();
    assert!(failure.hint.contains("apt-get install composer"), "{failure:#?}");
}

#[test]
fn the_version_that_an_app_asks_for_goes_with_the_tool() {
    let version = |files: &[(&str, &str)]| plan_of(files).tools[0].version.clone().unwrap_or_default();
    assert_eq!(version(&[("go.mod", "module x\n\ngo 1.24.1\n"), MAIN]), "1.24.1");
    let cargo = ("Cargo.toml", "[package]\nname = \"shop\"\n");
    let toolchain = ("rust-toolchain.toml", "[toolchain]\nchannel = \"1.90\"\n");
    assert_eq!(version(&[cargo, ("src/main.rs", ""), toolchain]), "1.90");
    assert_eq!(version(&[("Gemfile", "ruby '3.4.1'\n"), ("app.rb", "")]), "3.4.1");
    assert_eq!(version(&[("Gemfile", ""), (".ruby-version", "ruby-3.3.0\n"), ("app.rb", "")]), "3.3.0");
    assert_eq!(version(&[("composer.json", r#"{"require": {"php": "^8.3"}}"#), ("index.php", "")]), "^8.3");
    assert_eq!(version(&[("pom.xml", "<maven.compiler.release>21</maven.compiler.release>")]), "21");
    assert_eq!(version(&[("gradlew", ""), ("system.properties", "java.runtime.version=17\n")]), "17");
    assert_eq!(
        version(&[("main.py", ""), ("requirements.txt", "x\n"), ("runtime.txt", "python-3.12.4\n")]),
        "3.12"
    );
    let node = plan_of(&[("package.json", "{}"), ("index.js", ""), (".nvmrc", "v22\n")]);
    assert_eq!(node.tools[0].version.as_deref(), Some("22"));
}
