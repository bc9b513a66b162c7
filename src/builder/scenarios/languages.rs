//! Real builds of each language: the toolchain builds the sample app, its `web` process answers on `PORT`.
//!
//! The sample apps ask for nothing that is not in the toolchain, beside them, or in npm's registry; where a
//! test needs another registry, it makes one.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use autostack_domain::{EnvMap, FailureKind, ProcessType, env_map::SYSTEM_PATH};
use tempfile::TempDir;

use super::{Workshop, fixtures, serving::Serving};
use crate::{BuildPlan, Toolchains};

/// Builds a sample app and starts it.
async fn serve(workshop: &Workshop, app: &str, config: &EnvMap) -> (PathBuf, BuildPlan, Serving) {
    let artifact = workshop.artifact_of(app);
    let plan = workshop.make_with(&artifact, config).await;
    let serving = Serving::start(&artifact, &plan, &Toolchains::of(config));
    (artifact, plan, serving)
}

/// Builds a sample app, starts it, and holds it to its answer and to a signal.
async fn assert_answers(workshop: &Workshop, app: &str, config: &EnvMap, expected: &str) {
    let (_, _, serving) = serve(workshop, app, config).await;
    assert_eq!(serving.get("/"), (200, expected.to_owned()), "{app}");
    serving.ends_by_a_signal();
}

/// A config whose `PATH` has these programs beside the system's.
fn with_programs(dir: &TempDir, programs: &[(&str, PathBuf)]) -> EnvMap {
    for (name, file) in programs {
        assert!(file.is_file(), "{}", file.display());
        symlink(file, dir.path().join(name)).unwrap();
    }
    let mut config = EnvMap::new();
    config.set("PATH", format!("{}:{SYSTEM_PATH}", dir.path().display())).unwrap();
    config
}

/// A config with the toolchain that builds this test: Debian's own is older than most apps ask for.
fn with_rust(dir: &TempDir) -> EnvMap {
    let cargo = Path::new(env!("CARGO"));
    with_programs(dir, &[("cargo", cargo.to_owned()), ("rustc", cargo.with_file_name("rustc"))])
}

/// A program that npm's registry has as a package for each machine, fetched into a folder.
fn from_npm(dir: &TempDir, package: &str, inside: &str) -> PathBuf {
    let fetched = Command::new("npm")
        .args(["install", "--silent", "--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"])
        .arg(dir.path())
        .arg(package)
        .output()
        .unwrap();
    assert!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));
    let name = package.rsplit_once('@').unwrap().0;
    dir.path().join("node_modules").join(name).join(inside)
}

/// How npm's packages call this machine.
fn machine(x86: &'static str, arm: &'static str) -> &'static str {
    if cfg!(target_arch = "aarch64") { arm } else { x86 }
}

#[tokio::test(flavor = "multi_thread")]
async fn go_is_built_from_a_module_from_commands_and_from_a_workspace() {
    let (workshop, config) = (Workshop::new(), EnvMap::new());
    assert_answers(&workshop, "go-plain", &config, "Hello from Go\n").await;
    assert_answers(&workshop, "go-workspace", &config, "Hello from a workspace\n").await;
    let mut api = EnvMap::new();
    api.set("AUTOSTACK_BUILD_DIR", "api").unwrap();
    assert_answers(&workshop, "go-workspace", &api, "Hello from a workspace\n").await;

    let (artifact, plan, serving) = serve(&workshop, "go-commands", &config).await;
    assert_eq!(serving.get("/").1, "Hello from cmd/server\n");
    assert_eq!(workshop.run(&artifact, &plan, "bin/worker"), "worked\n");
    // Whoever removes the cache need not be root: nothing in it is read-only.
    workshop.builder.remove_cache(&workshop.app).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn rust_is_built_from_a_package_and_from_a_workspace() {
    let dir = tempfile::tempdir().unwrap();
    let config = with_rust(&dir);
    assert_answers(&Workshop::new(), "rust-plain", &config, "Hello from Rust\n").await;

    let workshop = Workshop::new();
    let (artifact, plan, serving) = serve(&workshop, "rust-workspace", &config).await;
    assert_eq!(serving.get("/").1, "Hello from a workspace\n");
    assert_eq!(workshop.run(&artifact, &plan, "bin/tidy"), "tidied\n");

    // A member alone: its binaries are the app's, whatever else the workspace has.
    let mut member = config.clone();
    member.set("AUTOSTACK_BUILD_DIR", "crates/shop").unwrap();
    let (artifact, plan, serving) = serve(&workshop, "rust-workspace", &member).await;
    assert_eq!(plan.root, "crates/shop");
    assert_eq!(serving.get("/").1, "Hello from a workspace\n");
    assert!(artifact.join("crates/shop/bin/serve").is_file());
}

#[tokio::test(flavor = "multi_thread")]
async fn ruby_finds_its_gems_with_and_without_bundle_exec() {
    assert_answers(&Workshop::new(), "ruby-plain", &EnvMap::new(), "Hello from Ruby\n").await;

    let workshop = Workshop::new();
    let registry = gem_registry("hello");
    let app = |artifact: &Path| {
        fs::write(
            artifact.join("Gemfile"),
            format!("source \"file://{}\"\ngem \"hello\"\n", registry.path().display()),
        )
        .unwrap();
        fs::write(artifact.join("Procfile"), "web: ruby app.rb\n").unwrap();
    };
    let first = workshop.empty_artifact();
    app(&first);
    let plan = workshop.make(&first).await;
    assert!(plan.warnings[0].contains("no Gemfile.lock"), "{:?}", plan.warnings);
    let probe = "hello && ruby -e 'require \"hello\"; puts Hello::TEXT' && bundle exec hello";
    assert_eq!(workshop.run(&first, &plan, probe), "hello\nhello\nhello\n");

    // With the lock file that this wrote, the gems of the last build are as good as new ones.
    let lock = fs::read_to_string(first.join("Gemfile.lock")).unwrap();
    let mut printed = String::new();
    for _ in 0..2 {
        let next = workshop.empty_artifact();
        app(&next);
        fs::write(next.join("Gemfile.lock"), &lock).unwrap();
        let plan = workshop.make(&next).await;
        assert_eq!(workshop.run(&next, &plan, probe), "hello\nhello\nhello\n");
        printed = workshop.printed();
    }
    assert!(printed.contains("reused from the last build"), "{printed}");
}

/// A registry with one gem, which brings a program of its own name.
fn gem_registry(name: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    for folder in ["gems", "source/lib", "source/exe"] {
        fs::create_dir_all(dir.path().join(folder)).unwrap();
    }
    let spec = format!(
        "Gem::Specification.new do |gem|\n  gem.name = \"{name}\"\n  gem.version = \"1.0.0\"\n  gem.summary = \"-\"\n  \
         gem.authors = [\"-\"]\n  gem.files = [\"lib/{name}.rb\"]\n  gem.bindir = \"exe\"\n  gem.executables = [\"{name}\"]\nend\n"
    );
    fs::write(source.join("it.gemspec"), spec).unwrap();
    fs::write(source.join(format!("lib/{name}.rb")), format!("module Hello\n  TEXT = \"{name}\"\nend\n"))
        .unwrap();
    fs::write(source.join(format!("exe/{name}")), format!("require \"{name}\"\nputs Hello::TEXT\n")).unwrap();
    let script = format!(
        "cd source && gem build -q -o ../gems/{name}-1.0.0.gem it.gemspec && gem generate_index -q -d .."
    );
    let made = Command::new("sh").args(["-c", &script]).current_dir(dir.path()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    dir
}

#[tokio::test(flavor = "multi_thread")]
async fn php_serves_files_and_pages_and_keeps_hidden_ones() {
    let workshop = Workshop::new();
    let (_, _, serving) = serve(&workshop, "php-plain", &EnvMap::new()).await;
    assert_eq!(serving.get("/"), (200, "Hello from PHP at /\n".into()));
    assert_eq!(serving.get("/about.php"), (200, "About PHP\n".into()));
    assert_eq!(serving.get("/style.css"), (200, "body { color: green }\n".into()));
    assert_eq!(serving.get("/shop/1.json?x=1"), (200, "Hello from PHP at /shop/1.json\n".into()));
    for hidden in ["/.env.sample", "/.autostack/router.php", "/%2eenv.sample"] {
        assert_eq!(serving.get(hidden).0, 404, "{hidden}");
    }
    drop(serving);

    let (_, _, serving) = serve(&workshop, "php-composer", &EnvMap::new()).await;
    assert_eq!(serving.get("/visitors/7"), (200, "Hello from Composer at /visitors/7\n".into()));
    assert_eq!(serving.get("/composer.json").1, "Hello from Composer at /composer.json\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn java_starts_the_jar_that_the_wrapper_builds() {
    assert_answers(&Workshop::new(), "java-gradle", &EnvMap::new(), "Hello from Java\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deno_is_told_of_its_port_however_it_is_started() {
    let dir = tempfile::tempdir().unwrap();
    let package = machine("@deno/linux-x64-glibc@^2", "@deno/linux-arm64-glibc@^2");
    let config = with_programs(&dir, &[("deno", from_npm(&dir, package, "deno"))]);
    assert_answers(&Workshop::new(), "deno-plain", &config, "Hello from Deno\n").await;
    assert_answers(&Workshop::new(), "deno-export", &config, "Hello from an exported handler\n").await;

    let workshop = Workshop::new();
    let (artifact, _, serving) = serve(&workshop, "deno-tasks", &config).await;
    assert_eq!(serving.get("/").1, "Hello from a task in 1m\n");
    assert!(artifact.join("built.ts").is_file() && artifact.join(".autostack/deno").is_dir());
}

#[tokio::test(flavor = "multi_thread")]
async fn bun_installs_and_runs_where_the_host_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let package = machine("@oven/bun-linux-x64@^1", "@oven/bun-linux-aarch64@^1");
    let config = with_programs(&dir, &[("bun", from_npm(&dir, package, "bin/bun"))]);
    assert_answers(&Workshop::new(), "bun-server", &config, "Hello from Bun in 1m\n").await;

    // Without it npm installs, and the app says itself that it needs Bun.
    let failure = crate::plan(&fixtures("apps/bun-server"), &Toolchains::default()).unwrap_err();
    assert_eq!(failure.kind, FailureKind::MissingTool);
    assert!(failure.hint.contains("npm install --global bun"), "{failure:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_in_a_folder_and_one_in_a_workspace_are_found_built_and_started_there() {
    assert_answers(&Workshop::new(), "monorepo-folder", &EnvMap::new(), "Hello from 1m\n").await;
    let workshop = Workshop::new();
    let (artifact, plan, serving) = serve(&workshop, "monorepo-npm", &EnvMap::new()).await;
    assert_eq!(serving.get("/").1, "Hello from a workspace in 1m\n");
    assert_eq!(plan.root, "apps/web");
    assert!(artifact.join("node_modules/greet").is_symlink() && artifact.join("apps/web/built.js").is_file());
    assert_eq!(plan.processes[&ProcessType::web()].as_deref(), Some("cd apps/web && node built.js"));

    // What is in the folder of an app is kept for its next build.
    let workshop = Workshop::new();
    for _ in 0..2 {
        let artifact = workshop.artifact_of("monorepo-folder");
        workshop.make(&artifact).await;
        assert!(artifact.join("server/node_modules/ms").is_dir());
    }
    assert!(workshop.printed().contains("reused from the last build"), "{}", workshop.printed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_fails_for_a_known_reason_names_its_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let rust = with_rust(&dir);
    let plain = EnvMap::new();
    let go = "package main\n\nimport \"example.com/absent\"\n\nfunc main() { absent.Run() }\n";
    let gemfile = "gem \"greet\", path: \"greet\"\ngem \"rake\"\n";
    let composer =
        r#"{"repositories": [{"packagist.org": false}], "require": {"ext-absent": "*"}, "autoload": {}}"#;
    let cargo = "[package]\nname = \"rust-plain\"\nversion = \"0.2.0\"\n\n[workspace]\n";
    for (app, file, content, config, remedy) in [
        ("go-plain", "main.go", go, &plain, "run `go mod tidy`"),
        ("ruby-plain", "Gemfile", gemfile, &plain, "run `bundle install`, commit Gemfile.lock"),
        ("ruby-plain", "Gemfile", "ruby \"9.0\"\n", &plain, "for that Ruby"),
        ("php-composer", "composer.json", composer, &plain, "apt-get install php-NAME"),
        ("rust-plain", "Cargo.toml", cargo, &rust, "run `cargo build`, commit Cargo.lock"),
    ] {
        let workshop = Workshop::new();
        let artifact = workshop.artifact_of(app);
        fs::write(artifact.join(file), content).unwrap();
        let plan = crate::plan_with(&artifact, config, &Toolchains::of(config)).unwrap();
        let failure = workshop.build(&artifact, &plan, config).await.unwrap_err();
        assert!(failure.hint.contains(remedy), "{app}: {failure:#?}\n{}", workshop.printed());
    }
}
