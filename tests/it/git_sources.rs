//! Code that comes by no push: archives that are sent or fetched, repositories elsewhere.

use std::{fs, process::Command};

use crate::world::{Developer, Output, Repo, World, apps, git_server::GitServer, live};

/// An archive of what a working copy has committed.
fn archive(repo: &Repo, format: &str) -> Vec<u8> {
    let mut git = Command::new("git");
    git.current_dir(repo.path()).args(["archive", "--format", format, "--prefix=shop-1/", "HEAD"]);
    let output = git.output().unwrap();
    assert!(output.status.success());
    output.stdout
}

fn send(developer: &Developer, words: &[&str], bytes: &[u8]) -> Output {
    live::run(developer.ssh_command(&[], words), bytes)
}

#[test]
fn an_archive_that_is_sent_goes_live_as_a_commit() {
    let world = World::new();
    let ada = world.person("ada");
    let repo = ada.app_of(apps::node("one"));
    ada.ssh(&["apps:create", "shop"]).ok();
    let said = send(&ada, &["git:from-archive", "shop", "--"], &archive(&repo, "tar.gz")).ok();
    assert!(said.contains("=====> Application deployed:"), "{said}");
    assert_eq!(world.get("shop", "/").body, "one");
    let first = world.head("shop");

    repo.write("server.js", &repo.read("server.js").replace("\"one\"", "\"two\"")).commit();
    let words = ["git:from-archive", "--archive-type", "zip", "shop", "-", "Ada", "ada@example.test"];
    send(&ada, &words, &archive(&repo, "zip")).ok();
    assert_eq!(world.get("shop", "/").body, "two");
    repo.write("server.js", &repo.read("server.js").replace("\"two\"", "\"three\"")).commit();
    send(&ada, &["git:from-archive", "shop", "--archive-type=tar", "--"], &archive(&repo, "tar")).ok();
    assert_eq!(world.get("shop", "/").body, "three");

    // Each is a commit on top of the one before, and a clone has them.
    let copy = ada.clone_of("shop", &[]);
    assert_eq!(copy.git(&["rev-list", "--count", "HEAD"]).trim(), "3");
    assert_eq!(copy.git(&["log", "-1", "--format=%an <%ae>", "HEAD~1"]).trim(), "Ada <ada@example.test>");
    assert_eq!(copy.git(&["rev-parse", "HEAD~2"]).trim(), first);
    copy.git(&["fsck", "--strict"]);

    // A push goes on from there.
    copy.write("server.js", &copy.read("server.js").replace("\"three\"", "\"four\"")).commit();
    copy.push("shop").accepted();
    assert_eq!(world.get("shop", "/").body, "four");
}

#[test]
fn e3_an_archive_that_is_refused_changes_nothing() {
    let world = World::new();
    let (ada, eve) = (world.person("ada"), world.person("eve"));
    let repo = ada.app_of(apps::node("one"));
    repo.push("shop").accepted();
    let before = world.settled("shop");

    // One that does not run: the branch stays where it was.
    repo.write("server.js", "process.exit(3)").commit();
    let failed = send(&ada, &["git:from-archive", "shop", "--"], &archive(&repo, "tar.gz"));
    assert_eq!(failed.code, Some(1), "{failed}");
    assert!(failed.all().contains("Failed at health"), "{failed}");
    world.assert_nothing_left("shop", &before);

    let hostile = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/etc", hostile.path().join("link")).unwrap();
    fs::write(hostile.path().join("index.html"), "x").unwrap();
    let mut tar = Command::new("tar");
    tar.args(["-C", hostile.path().to_str().unwrap(), "-czf", "-", "link", "index.html"]);
    let refused = send(&ada, &["git:from-archive", "shop", "--"], &tar.output().unwrap().stdout);
    assert_eq!(refused.code, Some(1), "{refused}");
    assert!(refused.stderr.contains("absolute path") && refused.stderr.contains("Next: "), "{refused}");
    for (bytes, word) in
        [(&b""[..], "empty"), (b"hello", "neither tar"), (b"\x1f\x8b\x08\0broken", "cannot be used")]
    {
        let refused = send(&ada, &["git:from-archive", "shop", "--"], bytes);
        assert_eq!(refused.code, Some(1), "{refused}");
        assert!(refused.stderr.contains(word), "{word}: {refused}");
    }
    world.assert_nothing_left("shop", &before);
    assert_eq!(world.get("shop", "/").body, "one");

    for words in [
        &["git:from-archive", "shop"][..],
        &["git:from-archive", "shop", "file:///etc/passwd"],
        &["git:from-archive", "--archive-type", "rar", "shop", "--"],
        &["git:from-archive", "shop", "-", "Ada"],
        &["git:from-archive", "shop", "-", "Ada", "'a<b>c'"],
        &["git:from-archive", "../shop", "-"],
        &["git:from-archive", "shop", "https://0x7f.1/a.tar"],
    ] {
        assert_eq!(send(&ada, words, b"").code, Some(2), "{words:?}");
    }
    let stranger = send(&eve, &["git:from-archive", "shop", "--"], &archive(&repo, "tar"));
    assert_eq!(stranger.code, Some(20), "{stranger}");
    assert!(stranger.stderr.contains("There is no app shop"), "{stranger}");
}

#[test]
fn c12_nothing_is_fetched_from_this_network_unless_an_admin_allows_it() {
    let world = World::new();
    let ada = world.person("ada");
    let repo = ada.app_of(apps::node("fetched"));
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("shop.tar.gz"), archive(&repo, "tar.gz")).unwrap();
    let server = GitServer::start(folder.path(), None);
    ada.ssh(&["apps:create", "shop"]).ok();
    let url = server.url("shop.tar.gz");
    for url in [
        url.as_str(),
        "http://localhost/x",
        "https://127.0.0.1/x",
        "https://[::1]/x",
        "https://169.254.169.254/x",
    ] {
        for command in ["git:from-archive", "git:sync"] {
            let refused = ada.ssh(&[command, "shop", url]);
            assert_eq!(refused.code, Some(1), "{url}: {refused}");
            assert!(refused.stderr.contains("git:allow-host"), "{url}: {refused}");
        }
    }
    assert!(server.seen().is_empty(), "{:?}", server.seen());
    assert_eq!(ada.ssh(&["git:allow-host", "127.0.0.1"]).code, Some(1), "only an admin may");

    let root = world.developer("root");
    root.ssh(&["git:allow-host", "127.0.0.1"]).ok();
    assert!(root.ssh(&["git:report", "--global"]).ok().contains("127.0.0.1"));
    assert_eq!(root.ssh(&["git:allow-host", "'$(id)'"]).code, Some(2));
    ada.ssh(&["git:from-archive", "shop", &url]).ok();
    assert_eq!(world.get("shop", "/").body, "fetched");
    let missing = ada.ssh(&["git:from-archive", "shop", &server.url("missing")]);
    assert!(missing.code == Some(1) && missing.stderr.contains("status 404"), "{missing}");

    root.ssh(&["git:unallow-host", "127.0.0.1"]).ok();
    assert_eq!(ada.ssh(&["git:from-archive", "shop", &url]).code, Some(1));
}

#[test]
fn a_repository_elsewhere_is_fetched_and_deployed() {
    let world = World::new();
    let (root, ada, eve) = (world.developer("root"), world.person("ada"), world.person("eve"));
    root.ssh(&["git:allow-host", "127.0.0.1"]).ok();
    let repo = ada.app_of(apps::node("one"));
    let folder = tempfile::tempdir().unwrap();
    let bare = folder.path().join("shop.git");
    repo.git(&["clone", "--quiet", "--bare", repo.path().to_str().unwrap(), bare.to_str().unwrap()]);
    let server = GitServer::start(folder.path(), None);
    let url = server.url("shop.git");
    let publish = || repo.git(&["push", "--quiet", "--force", bare.to_str().unwrap(), "HEAD:main"]);

    ada.ssh(&["apps:create", "shop"]).ok();
    let stored = ada.ssh(&["git:sync", "shop", &url]).ok();
    assert!(stored.contains("Stored, not deployed"), "{stored}");
    assert_eq!(world.get("shop", "/").status, 404);
    assert_eq!(world.head("shop"), repo.head());
    ada.ssh(&["git:sync", "--build", "shop", &url]).ok();
    assert_eq!(world.get("shop", "/").body, "one");
    let same = ada.ssh(&["git:sync", "--build-if-changes", "shop", &url, "main"]).ok();
    assert!(same.contains("Nothing has changed"), "{same}");

    repo.write("server.js", &repo.read("server.js").replace("\"one\"", "\"two\"")).commit();
    repo.git(&["tag", "--annotate", "v2", "--message", "The second"]);
    publish();
    repo.git(&["push", "--quiet", bare.to_str().unwrap(), "v2"]);
    ada.ssh(&["git:sync", "--build-if-changes", "shop", &url, "v2"]).ok();
    assert_eq!(world.get("shop", "/").body, "two");
    assert_eq!(world.head("shop"), repo.head());
    assert_eq!(ada.clone_of("shop", &[]).head(), repo.head());

    // What does not run moves nothing; what is not there, neither.
    let before = world.settled("shop");
    repo.write("server.js", "process.exit(3)").commit();
    publish();
    let failed = ada.ssh(&["git:sync", "--build", "shop", &url, "main"]);
    assert!(failed.code == Some(1) && failed.all().contains("Failed at health"), "{failed}");
    let missing = ada.ssh(&["git:sync", "--build", "shop", &url, "no-such-branch"]);
    assert!(missing.code == Some(1) && missing.stderr.contains("no-such-branch"), "{missing}");
    let not_git = ada.ssh(&["git:sync", "--build", "shop", &server.url("nothing")]);
    assert_eq!(not_git.code, Some(1), "{not_git}");
    world.assert_nothing_left("shop", &before);
    assert_eq!(world.get("shop", "/").body, "two");

    for words in [
        &["git:sync", "shop"][..],
        &["git:sync", "shop", "ext::sh"],
        &["git:sync", "shop", &url, "--", "--upload-pack=id"],
        &["git:sync", "shop", &url, "a..b"],
        &["git:sync", "shop", "https://a:b@example.test/x"],
    ] {
        assert_eq!(ada.ssh(words).code, Some(2), "{words:?}");
    }
    let over_ssh = ada.ssh(&["git:sync", "shop", "git@example.test:a/b"]);
    assert!(over_ssh.code == Some(1) && over_ssh.stderr.contains("https"), "{over_ssh}");
    assert_eq!(eve.ssh(&["git:sync", "shop", &url]).code, Some(20));
}

#[test]
fn a_private_repository_is_fetched_with_the_login_of_the_app() {
    let world = World::new();
    let (root, ada) = (world.developer("root"), world.person("ada"));
    root.ssh(&["git:allow-host", "127.0.0.1"]).ok();
    let repo = ada.app_of(apps::node("private"));
    let folder = tempfile::tempdir().unwrap();
    let bare = folder.path().join("shop.git");
    repo.git(&["clone", "--quiet", "--bare", repo.path().to_str().unwrap(), bare.to_str().unwrap()]);
    // ada:s3cret-canary
    let server = GitServer::start(folder.path(), Some("YWRhOnMzY3JldC1jYW5hcnk="));
    let url = server.url("shop.git");
    ada.ssh(&["apps:create", "shop"]).ok();
    let refused = ada.ssh(&["git:sync", "--build", "shop", &url]);
    assert!(refused.code == Some(1) && refused.stderr.contains("git:auth"), "{refused}");
    let host = server.authority();
    assert_eq!(ada.ssh(&["git:auth", &host, "ada", "x"]).code, Some(1), "for the host, an admin");
    let kept =
        send(&ada, &["git:auth", "--app", "shop", &host, "ada", "--password-stdin"], b"s3cret-canary\n").ok();
    assert!(!kept.contains("canary"), "{kept}");
    let said = ada.ssh(&["git:sync", "--build", "shop", &url]).ok();
    assert_eq!(world.get("shop", "/").body, "private");
    assert!(!said.contains("canary"), "{said}");
    assert!(!world.log().contains("canary"));
    ada.ssh(&["git:auth", "--app", "shop", &host]).ok();
    assert_eq!(ada.ssh(&["git:sync", "--build", "shop", &url]).code, Some(1));
}
