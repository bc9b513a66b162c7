//! The house rules that no compiler checks, held as tests: rows, words that must not stand in the code, what
//! may lie in which folder. Each message says what to do about it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test program, helpers and all")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use toml::Table;

/// Past this a file has more than one subject.
const FILE_LINES_MAX: usize = 600;

/// A file is found where nothing is hidden from a reader: these are made by tools.
const NOT_OURS: [&str; 3] = [".git", "target", "node_modules"];

/// What the doors may not know of, because `platform` stands between. The words of `git` (services, hook
/// messages) and of `logs` (readers) pass through it as they are.
const BEHIND_PLATFORM: [&str; 5] =
    ["autostack-store", "autostack-builder", "autostack-runtime", "autostack-proxy", "autostack-deploy"];

#[test]
fn a_crate_uses_lower_rows_only() {
    let workspace = Workspace::read();
    let mut wrong = Vec::new();
    for member in &workspace.members {
        for used in member.dependencies.keys() {
            let Some(&row) = workspace.rows.get(used) else { continue };
            if row >= member.row {
                wrong.push(format!("{} (row {}) uses {used} (row {row})", member.name, member.row));
            }
        }
    }
    let advice = "rows stand in the root Cargo.toml: move what is shared to a lower row, or let a higher one join the two";
    assert_none(&wrong, advice);
}

#[test]
fn doors_never_reach_past_platform() {
    let workspace = Workspace::read();
    let top = workspace.members.iter().map(|member| member.row).max().unwrap();
    let doors: Vec<&Member> = workspace.members.iter().filter(|member| member.row == top).collect();
    assert!(doors.len() >= 3, "the doors are the last row of the root Cargo.toml");
    let mut wrong = Vec::new();
    for door in doors {
        for used in door.dependencies.keys().filter(|used| BEHIND_PLATFORM.contains(&used.as_str())) {
            wrong.push(format!("{} uses {used}", door.name));
        }
    }
    assert_none(
        &wrong,
        "add the operation to autostack-platform, which authorises and records it, and call that",
    );
}

#[test]
fn every_folder_of_a_crate_is_a_member_with_a_row() {
    let workspace = Workspace::read();
    let named: BTreeSet<&Path> = workspace.members.iter().map(|member| member.folder.as_path()).collect();
    let mut wrong = Vec::new();
    for entry in fs::read_dir(root().join("src")).unwrap() {
        let folder = entry.unwrap().path();
        if folder.join("Cargo.toml").exists() && !named.contains(folder.as_path()) {
            wrong.push(shown(&folder));
        }
    }
    assert_none(
        &wrong,
        "name the folder in [workspace] members of the root Cargo.toml, below the comment of its row",
    );
}

#[test]
fn versions_stand_in_one_place() {
    let workspace = Workspace::read();
    let mut wrong = Vec::new();
    for member in workspace.all() {
        for (name, value) in &member.dependencies {
            let inherits = value.get("workspace").and_then(toml::Value::as_bool) == Some(true);
            if !inherits {
                wrong.push(format!("{}: {name}", member.name));
            }
        }
    }
    let advice =
        "put version and features in [workspace.dependencies] and write `NAME.workspace = true` in the crate";
    assert_none(&wrong, advice);
}

#[test]
fn every_dependency_is_used() {
    let workspace = Workspace::read();
    let named: BTreeSet<&String> = workspace.all().flat_map(|member| member.dependencies.keys()).collect();
    let mut wrong: Vec<String> = workspace
        .dependencies
        .iter()
        .filter(|name| !named.contains(name))
        .map(|name| format!("[workspace.dependencies] {name}: no crate names it"))
        .collect();
    for member in workspace.all() {
        let sources: Vec<String> = member.sources().iter().map(|file| read(file)).collect();
        for name in member.dependencies.keys() {
            let word = name.replace('-', "_");
            if !sources.iter().any(|source| source.contains(&word)) {
                wrong.push(format!(
                    "{}: {name} stands in its Cargo.toml, but in none of its sources",
                    member.name
                ));
            }
        }
    }
    assert_none(&wrong, "remove the line from the Cargo.toml, or move it to the crate that uses it");
}

#[test]
fn one_crypto_provider() {
    // Cargo.lock also names what no feature that is on brings in; the tree is what is compiled.
    let users_of = |package: &str| {
        let mut tree = Command::new(env!("CARGO"));
        tree.current_dir(root()).args(["tree", "--locked", "--edges", "all", "--invert", package]);
        let tree = tree.output().unwrap();
        String::from_utf8(tree.stdout).unwrap()
    };
    assert!(users_of("aws-lc-rs").contains("autostack"), "cargo tree says who uses a package");
    let ring = users_of("ring");
    assert!(
        ring.is_empty(),
        "two crypto providers make rustls panic at run time; switch off the default features of what brings ring, \
         and choose its aws-lc-rs feature\n{ring}"
    );
}

#[test]
fn every_file_says_what_it_holds() {
    let silent: Vec<String> =
        rust_files().iter().filter(|file| !read(file).starts_with("//!")).map(|file| shown(file)).collect();
    assert_none(&silent, "open the file with a `//!` line that says what it holds");
}

#[test]
fn no_file_is_too_long() {
    let long: Vec<String> = rust_files()
        .iter()
        .map(|file| (file, read(file).lines().count()))
        .filter(|(_, lines)| *lines > FILE_LINES_MAX)
        .map(|(file, lines)| format!("{}: {lines} lines", shown(file)))
        .collect();
    assert_none(
        &long,
        &format!("split it: over {FILE_LINES_MAX} lines there is more than one noun in a file"),
    );
}

#[test]
fn nothing_is_left_for_later() {
    // Put together here, so that this file does not find itself.
    let words = [("to", "do!("), ("unimpl", "emented!("), ("TO", "DO"), ("FIX", "ME")]
        .map(|(a, b)| format!("{a}{b}"));
    let found = lines_with(&rust_files(), |line| words.iter().any(|word| is_word(line, word)));
    assert_none(&found, "write it now, or take it out: what is not there is not half there");
}

#[test]
fn no_test_is_skipped() {
    let attribute = format!("#[{}", "ignore");
    let mut wrong = Vec::new();
    for file in rust_files() {
        let text = read(&file);
        for (number, line) in
            text.lines().enumerate().filter(|(_, line)| line.trim_start().starts_with(&attribute))
        {
            // The body of a child process, which another test of the same file starts by name, is a test itself.
            let name = text.lines().skip(number).find_map(|line| Some(line.split_once("fn ")?.1));
            let name = name.and_then(|rest| rest.split('(').next()).unwrap_or_default();
            let is_started =
                line.contains('=') && text.contains("\"--ignored\"") && text.contains(&format!("::{name}\""));
            if !is_started {
                wrong.push(format!("{}:{}: {name}", shown(&file), number + 1));
            }
        }
    }
    assert_none(
        &wrong,
        "make the test pass or remove it; only a child that another test of the file starts may wait",
    );
}

#[test]
fn tasks_are_spawned_in_one_place() {
    // The store waits for its own blocking verbs and hands on their panics.
    let exceptions = ["src/base/tasks/", "src/store/store.rs"];
    let spawn = ["tokio::spawn(", "task::spawn(", "task::spawn_blocking(", "tokio::spawn;", "JoinSet"];
    let files: Vec<PathBuf> = rust_files()
        .into_iter()
        .filter(|file| {
            shown(file).starts_with("src/") && !exceptions.iter().any(|start| shown(file).starts_with(start))
        })
        .collect();
    let found = lines_with(&files, |line| spawn.iter().any(|word| line.contains(word)));
    assert_none(
        &found,
        "spawn through autostack_base::tasks::Tasks: its panic is reported and its end awaited",
    );
}

#[test]
fn nothing_names_a_machine() {
    // Folders of whoever wrote it, and hosts of registries, are nobody else's business. Split, so that this
    // file does not find itself.
    let places = [("/ro", "ot/"), ("/wo", "rk/"), ("/home/", "runner")].map(|(a, b)| format!("{a}{b}"));
    let hosts = [
        ("registry.npm", "js.org"),
        ("registry.yarn", "pkg.com"),
        ("py", "pi.org"),
        ("python", "hosted.org"),
        ("index.cra", "tes.io"),
        ("static.cra", "tes.io"),
        ("deb.deb", "ian.org"),
    ]
    .map(|(a, b)| format!("{a}{b}"));
    // It names the public registry by its format; the lock files of npm need not.
    let is_lock = |file: &PathBuf| file.ends_with("Cargo.lock");
    let files: Vec<PathBuf> = every_file().into_iter().filter(|file| !is_lock(file)).collect();
    let found = lines_with(&files, |line| {
        places.iter().any(|place| names_place(line, place)) || hosts.iter().any(|host| line.contains(host))
    });
    let advice = "use a path made at run time; for a lock file of npm, `npm install --omit-lockfile-registry-resolved`";
    assert_none(&found, advice);
}

#[test]
fn folders_hold_what_the_architecture_page_names() {
    let rooms: [(&str, &[&str]); 3] = [
        ("config", &["autostack.toml", "grafana-dashboard.json", "prometheus-alerts.yml"]),
        ("hooks", &["post-receive", "pre-receive"]),
        ("systemd", &["autostack-ssh.socket", "autostack.service", "autostack.socket", "autostack.sysusers"]),
    ];
    for (room, expected) in rooms {
        let mut found: Vec<String> = fs::read_dir(root().join(room))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        found.sort();
        assert_eq!(
            found, expected,
            "{room}/ holds these files alone: put others where they belong, or name them here"
        );
    }
}

#[test]
fn hooks_stay_dumb() {
    for name in ["pre-receive", "post-receive"] {
        let text = read(&root().join("hooks").join(name));
        assert!(text.lines().count() <= 3, "hooks/{name} has three lines: sense belongs into the agent");
        assert!(
            text.starts_with("#!/bin/sh\n") && text.contains(&format!("hook {name}")),
            "hooks/{name}: {text}"
        );
    }
}

// --- the workspace as data

struct Workspace {
    /// Row of each crate of ours, by name.
    rows: BTreeMap<String, usize>,
    members: Vec<Member>,
    package: Member,
    /// Names in `[workspace.dependencies]`.
    dependencies: BTreeSet<String>,
}

struct Member {
    name: String,
    row: usize,
    folder: PathBuf,
    dependencies: BTreeMap<String, toml::Value>,
}

impl Workspace {
    fn read() -> Self {
        let text = read(&root().join("Cargo.toml"));
        let manifest: Table = toml::from_str(&text).unwrap();
        let members = members(&text);
        let listed = manifest["workspace"]["members"].as_array().unwrap();
        assert_eq!(
            members.len(),
            listed.len(),
            "each member of the workspace stands below a `# row N:` comment"
        );
        Self {
            rows: members.iter().map(|member| (member.name.clone(), member.row)).collect(),
            members,
            package: Member::read(root(), usize::MAX),
            dependencies: manifest["workspace"]["dependencies"].as_table().unwrap().keys().cloned().collect(),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().chain([&self.package])
    }
}

/// The members, with the row that the comment above them states.
fn members(manifest: &str) -> Vec<Member> {
    let list = manifest.split_once("members = [").unwrap().1.split_once("\n]").unwrap().0;
    let mut row = None;
    let mut members = Vec::new();
    for line in list.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(comment) = line.strip_prefix("# row ") {
            row = comment.split(':').next().and_then(|number| number.parse().ok());
        } else if line.starts_with('"') {
            let row = row.unwrap_or_else(|| {
                panic!("{line} of the root Cargo.toml stands below no `# row N:` comment")
            });
            members.push(Member::read(root().join(line.trim_matches(['"', ','])), row));
        }
    }
    members
}

impl Member {
    fn read(folder: PathBuf, row: usize) -> Self {
        let manifest: Table = toml::from_str(&read(&folder.join("Cargo.toml"))).unwrap();
        let mut dependencies = BTreeMap::new();
        let targets =
            manifest.get("target").and_then(|it| it.as_table()).into_iter().flat_map(|it| it.values());
        for table in targets.filter_map(|target| target.as_table()).chain([&manifest]) {
            for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
                let found = table.get(kind).and_then(|it| it.as_table()).into_iter().flatten();
                dependencies.extend(found.map(|(name, value)| (name.clone(), value.clone())));
            }
        }
        let name = manifest["package"]["name"].as_str().unwrap().to_owned();
        Self { name, row, folder, dependencies }
    }

    /// Its own `.rs` files; those of the root package lie beside the members' folders.
    fn sources(&self) -> Vec<PathBuf> {
        let is_root = self.folder == root();
        let is_own = |file: &PathBuf| {
            let inside_member = |file: &Path| {
                let top =
                    file.strip_prefix(root().join("src")).ok().and_then(|rest| rest.components().next());
                top.is_some_and(|top| root().join("src").join(top).join("Cargo.toml").exists())
            };
            if is_root { !inside_member(file) } else { file.starts_with(&self.folder) }
        };
        rust_files().into_iter().filter(is_own).collect()
    }
}

// --- files

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files() -> Vec<PathBuf> {
    let mut files = every_file();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "rs"));
    assert!(files.len() > 50, "the sources were found");
    files
}

/// Every file of the project, links not followed.
fn every_file() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if NOT_OURS.iter().any(|name| entry.file_name() == *name) {
                continue;
            }
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    files
}

fn read(file: &Path) -> String {
    let bytes = fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    String::from_utf8_lossy(&bytes).into_owned()
}

fn shown(file: &Path) -> String {
    file.strip_prefix(root()).unwrap_or(file).display().to_string()
}

fn lines_with(files: &[PathBuf], is_wrong: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        for (number, line) in read(file).lines().enumerate().filter(|(_, line)| is_wrong(line)) {
            found.push(format!("{}:{}: {}", shown(file), number + 1, line.trim()));
        }
    }
    found
}

/// Whether the word stands in the line by itself.
fn is_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(is_part) && !line[at + word.len()..].starts_with(is_part))
}

/// Whether the absolute path stands in the line by itself; `src/work/` and `$HOME/work/` are others.
fn names_place(line: &str, place: &str) -> bool {
    line.match_indices(place)
        .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "_-./}$~*".contains(c)))
}

#[track_caller]
fn assert_none(wrong: &[String], advice: &str) {
    assert!(wrong.is_empty(), "{advice}:\n  {}\n", wrong.join("\n  "));
}
