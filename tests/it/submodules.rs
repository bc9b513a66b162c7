//! Submodules: the code that a commit names and does not hold.

use std::{fs, path::Path, process::Command};

use crate::world::{Developer, Repo, World, git_server::GitServer, repo::Push};

/// A host of the operator's own network with repositories.
struct Elsewhere {
    folder: tempfile::TempDir,
    server: GitServer,
}

impl Elsewhere {
    fn start(login: Option<&'static str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = GitServer::start(folder.path(), login);
        Self { folder, server }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// A repository there with one commit, and its id.
    fn repository(&self, developer: &Developer<'_>, name: &str, file: &str, text: &str) -> String {
        let repo = developer.app_of(vec![("readme", "x".to_owned())]);
        repo.write(file, text).commit();
        self.publish(&repo, name)
    }

    fn publish(&self, repo: &Repo<'_>, name: &str) -> String {
        repo.git(&["clone", "--quiet", "--bare", repo.path().to_str().unwrap(), &self.path(name)]);
        repo.head()
    }
}

/// Puts a submodule into a working copy, whatever git thinks of it.
fn add(repo: &Repo<'_>, modules: &str, places: &[(&str, &str)]) -> String {
    repo.write(".gitmodules", modules);
    repo.git(&["add", "--all"]);
    for (path, commit) in places {
        fs::create_dir_all(repo.path().join(path)).unwrap();
        repo.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},{path}")]);
    }
    repo.git(&["commit", "--quiet", "--allow-empty", "--message", "With submodules"]);
    repo.head()
}

fn module(path: &str, url: &str) -> String {
    format!("[submodule \"{path}\"]\n\tpath = {path}\n\turl = {url}\n")
}

fn site<'d>(developer: &'d Developer<'d>) -> Repo<'d> {
    developer.app_of(vec![("index.html", "site".to_owned())])
}

#[test]
fn submodules_are_fetched_at_their_commit_and_theirs_too() {
    let world = World::new();
    let (root, ada) = (world.developer("root"), world.person("ada"));
    let elsewhere = Elsewhere::start(None);
    let inner = elsewhere.repository(&ada, "inner.git", "inner.txt", "innermost");
    // One that has a submodule of its own, named from where it itself is.
    let lib = ada.app_of(vec![("lib.txt", "the lib".to_owned())]);
    add(&lib, &module("deep/inner", "../inner.git"), &[("deep/inner", &inner)]);
    let commit = elsewhere.publish(&lib, "lib.git");
    // What its branch names by now is not what the app names.
    lib.write("lib.txt", "a later lib").commit();
    lib.git(&["push", "--quiet", &elsewhere.path("lib.git"), "HEAD:refs/heads/later"]);

    let repo = site(&ada);
    let url = elsewhere.server.url("lib.git");
    add(&repo, &module("vendor/lib", &url), &[("vendor/lib", &commit)]);
    let refused = repo.push("shop");
    refused.rejected_at("source", &["submodule vendor/lib", "git:allow-host"]);
    assert!(elsewhere.server.seen().is_empty(), "{:?}", elsewhere.server.seen());
    root.ssh(&["git:allow-host", "127.0.0.1"]).ok();
    let push = repo.push("shop").accepted();
    push.says(&["Fetching submodule vendor/lib", "Fetching submodule vendor/lib/deep/inner", &url]);
    assert_eq!(world.get("shop", "/vendor/lib/lib.txt").body, "the lib");
    assert_eq!(world.get("shop", "/vendor/lib/deep/inner/inner.txt").body, "innermost");
    world.settled("shop");
    assert_eq!(incoming(&world, "shop"), 0, "what was fetched is not kept");
    // Also when it is built again.
    ada.ssh(&["ps:rebuild", "shop"]).ok();
    assert_eq!(world.get("shop", "/vendor/lib/lib.txt").body, "the lib");

    // A commit that is not there: told, and nothing has changed.
    let before = world.settled("shop");
    add(&repo, &module("vendor/lib", &url), &[("vendor/lib", &"ab".repeat(20))]);
    repo.push("shop").rejected_at("source", &["submodule vendor/lib cannot be fetched at abababa"]);
    world.assert_nothing_left("shop", &before);
    // One that nobody says where it is from, and one that is left out: their folders are empty.
    add(
        &repo,
        "[submodule \"x\"]\n\tpath = kept-out\n\turl = ../x\n\tupdate = none\n",
        &[("kept-out", &commit), ("lost", &commit), ("vendor/lib", &commit)],
    );
    let push = repo.push("shop").accepted();
    push.says(&["Submodule lost, vendor/lib is not fetched", "kept-out is left out"]);
    assert_eq!(world.get("shop", "/vendor/lib/lib.txt").status, 404);
}

/// Folders of objects that are not accepted yet.
fn incoming(world: &World, app: &str) -> usize {
    let objects = world.data_dir().join("repos").join(format!("{app}.git/objects"));
    let names = fs::read_dir(objects).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with("tmp_objdir")).count()
}

#[test]
fn a_relative_url_is_read_from_where_the_code_was_fetched() {
    let world = World::new();
    let (root, ada) = (world.developer("root"), world.person("ada"));
    root.ssh(&["git:allow-host", "127.0.0.1"]).ok();
    // ada:s3cret-canary
    let elsewhere = Elsewhere::start(Some("YWRhOnMzY3JldC1jYW5hcnk="));
    let commit = elsewhere.repository(&ada, "lib.git", "lib.txt", "the lib");
    let repo = site(&ada);
    add(&repo, &module("lib", "../lib.git"), &[("lib", &commit)]);
    elsewhere.publish(&repo, "shop.git");
    ada.ssh(&["apps:create", "shop"]).ok();
    // A push does not tell where the code comes from.
    repo.push("shop").rejected_at("source", &["submodule lib", "relative", "git:sync"]);
    // The login of the app is used for both.
    let words = ["git:auth", "--app", "shop", &elsewhere.server.authority(), "ada", "--password-stdin"];
    ada.ssh_input(&words, b"s3cret-canary").ok();
    let said = ada.ssh(&["git:sync", "--build", "shop", &elsewhere.server.url("shop.git")]).ok();
    assert!(!said.contains("s3cret-canary"), "{said}");
    assert_eq!(world.get("shop", "/lib/lib.txt").body, "the lib");
    // From now on the host knows where the code is from.
    repo.write("index.html", "two");
    add(&repo, &module("lib", "../lib.git"), &[("lib", &commit)]);
    repo.push_with("shop", &[], &["+HEAD:refs/heads/main"]).accepted();
    assert_eq!(
        (world.get("shop", "/").body, world.get("shop", "/lib/lib.txt").body),
        ("two".into(), "the lib".into())
    );
}

#[test]
fn c10_a_hostile_gitmodules_leads_nowhere() {
    let world = World::new();
    let (root, ada) = (world.developer("root"), world.person("ada"));
    root.ssh(&["git:allow-host", "127.0.0.1"]).ok();
    let elsewhere = Elsewhere::start(None);
    let commit = elsewhere.repository(&ada, "lib.git", "lib.txt", "the lib");
    let url = elsewhere.server.url("lib.git");
    let push = |modules: &str, place: &str| -> Push {
        let repo = site(&ada);
        add(&repo, modules, &[(place, &commit)]);
        repo.push("shop")
    };
    // What git itself refuses, and what it lets pass.
    push(&module("-x", &url), "x").rejected(&["gitmodulesPath"]);
    push(&module("x", "-u./x"), "x").rejected(&["gitmodulesUrl"]);
    let ends_in_cr = format!("[submodule \"x\"]\n\tpath = \"x\r\"\n\turl = {url}\n");
    push(&ends_in_cr, "x").rejected_at("source", &["control character"]);
    for bad in ["ext::sh -c id", "file:///etc", "/etc"] {
        push(&module("x", bad), "x").rejected_at("source", &["neither https"]);
    }
    for bad in ["git://127.0.0.1/x", "https://a:b@127.0.0.1/x", "ssh://git@127.0.0.1:2222/x"] {
        push(&module("x", bad), "x").rejected_at("source", &["submodule x cannot be fetched"]);
    }
    for bad in ["https://169.254.169.254/x", "https://[::1]/x", "git@10.0.0.1:x/y"] {
        push(&module("x", bad), "x").rejected_at("source", &["not an address of the public Internet"]);
    }
    push(&(module("x", &url) + &module("x", &format!("{url}2"))), "x")
        .rejected_at("source", &["given twice"]);
    // A path that the tree does not have is nobody's: not one above the app, nor one behind a link.
    let repo = site(&ada);
    std::os::unix::fs::symlink(".", repo.path().join("link")).unwrap();
    let named = |name: &str, path: &str| {
        module(name, &url).replace(&format!("path = {name}"), &format!("path = {path}"))
    };
    add(&repo, &(named("up", "../../x") + &named("behind", "link/x")), &[("x", &commit)]);
    repo.push("shop").accepted().says(&["Submodule x is not fetched"]);
    assert!(elsewhere.server.seen().is_empty(), "{:?}", elsewhere.server.seen());

    // What a submodule holds is looked at as what is pushed is.
    let evil = ada.app_of(vec![("readme", "x".to_owned())]);
    std::os::unix::fs::symlink("../../../../etc", evil.path().join("link")).unwrap();
    evil.commit();
    let commit = elsewhere.publish(&evil, "evil.git");
    let repo = site(&ada);
    add(&repo, &module("x", &elsewhere.server.url("evil.git")), &[("x", &commit)]);
    repo.push("evil").rejected_at("source", &["in submodule x: link is refused", "out of the app's folder"]);
    // One that holds itself has an end.
    let circle = ada.app_of(vec![("readme", "x".to_owned())]);
    let mut commit = circle.head();
    for _ in 0..8 {
        commit = add(&circle, &module("m", &elsewhere.server.url("circle.git")), &[("m", &commit)]);
    }
    elsewhere.publish(&circle, "circle.git");
    circle.push("circle").rejected_at("source", &["too deep within submodules"]);
    // More than anybody needs.
    let many = site(&ada);
    let commit = many_submodules(many.path(), &commit);
    let pushed = many.push_with("many", &[], &[&format!("+{commit}:refs/heads/main")]);
    pushed.rejected_at("source", &["101 submodules, and the limit is 100"]);
}

/// A commit with more submodules than are fetched.
fn many_submodules(repo: &Path, commit: &str) -> String {
    let git = |words: &[&str]| {
        let output = Command::new("git").current_dir(repo).args(words).output().unwrap();
        assert!(output.status.success(), "{words:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    for number in 0..101 {
        git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},m{number}")]);
    }
    let tree = git(&["write-tree"]);
    let author = ["-c", "user.name=Ada", "-c", "user.email=ada@shop.test"];
    git(&[&author[..], &["commit-tree", &tree, "-m", "many"]].concat())
}
