//! Pushes of every shape that git knows, and clones and fetches back.

use crate::world::{World, apps};

#[test]
fn a_shallow_clone_can_be_pushed_to_a_fresh_app() {
    let world = World::new();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::node("web"));
    repo.commit();
    repo.commit();
    let shallow = tempfile::tempdir_in(ada.home()).unwrap();
    let origin = format!("file://{}", repo.path().display());
    repo.git(&["clone", "--quiet", "--depth", "1", &origin, shallow.path().to_str().unwrap()]);
    let shallow = crate::world::Repo::at(&ada, shallow.path());
    assert_eq!(shallow.git(&["rev-parse", "--is-shallow-repository"]).trim(), "true");
    shallow.push("shop").accepted();
    assert_eq!(world.get("shop", "/").body, "web");
    shallow.write("server.js", &shallow.read("server.js").replace("\"web\"", "\"deeper\"")).commit();
    shallow.push("shop").accepted();
    assert_eq!(world.get("shop", "/").body, "deeper");
    let copy = ada.clone_of("shop", &[]);
    assert_eq!(copy.head(), shallow.head());
}

#[test]
fn branches_tags_and_deletions() {
    let world = World::new();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::node("web"));
    let first = repo.head();

    let aside = repo.push_with("shop", &[], &["HEAD:refs/heads/topic"]).accepted();
    assert!(aside.screen.contains("topic"), "a sentence says that it is not deployed: {}", aside.screen);
    assert!(!aside.screen.contains("Application deployed"), "{}", aside.screen);
    assert_eq!(world.get("shop", "/").status, 404, "only main or master goes live by itself");

    repo.push("shop").accepted();
    assert_eq!(world.get("shop", "/").body, "web");
    repo.write("server.js", &repo.read("server.js").replace("\"web\"", "\"topic\"")).commit();
    let topic = repo.push_with("shop", &[], &["HEAD:refs/heads/topic"]).accepted();
    assert!(
        topic.said().iter().any(|line| line.contains("topic") && line.contains("main")),
        "{}",
        topic.screen
    );
    repo.git(&["tag", "v1"]);
    let tag = repo.push_with("shop", &[], &["v1"]).accepted();
    assert!(tag.said().iter().any(|line| line.contains("v1")), "{}", tag.screen);
    assert_eq!(world.get("shop", "/").body, "web", "neither of them is deployed");
    assert_eq!(world.head("shop"), first);

    let nothing = repo.push_with("shop", &[], &["v1"]).accepted();
    assert!(nothing.screen.contains("Everything up-to-date"), "{}", nothing.screen);

    let deleted = repo.push_with("shop", &[], &[":refs/heads/topic", ":refs/tags/v1"]).accepted();
    assert!(deleted.said().iter().any(|line| line.contains("deleted")), "{}", deleted.screen);
    let before = world.settled("shop");
    assert_eq!(before.refs.len(), 1, "{:?}", before.refs);
    repo.push_with("shop", &[], &[":refs/heads/main"]).rejected(&[
        "main",
        "cannot be deleted",
        "apps:destroy",
    ]);
    world.assert_nothing_left("shop", &before);
    assert_eq!(world.get("shop", "/").body, "web");
}

#[test]
fn annotated_tags_are_stored_and_follow_a_deployed_branch() {
    let world = World::new();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::node("web"));
    repo.git(&["tag", "--annotate", "v1", "--message", "The first"]);
    let push = repo.push_with("shop", &["--follow-tags"], &["HEAD:refs/heads/main"]).accepted();
    assert!(push.said().iter().any(|line| line.contains("Tag v1 is stored")), "{}", push.screen);
    assert_eq!(world.get("shop", "/").body, "web");
    let live = repo.head();
    repo.write("server.js", &repo.read("server.js").replace("\"web\"", "\"tagged\"")).commit();
    repo.git(&["tag", "--annotate", "v2", "--message", "The second"]);
    let push = repo.push_with("shop", &[], &["v2"]).accepted();
    assert!(push.said().iter().any(|line| line.contains("Tag v2 is stored")), "{}", push.screen);
    assert_eq!((world.get("shop", "/").body.as_str(), world.head("shop")), ("web", live));
}

#[test]
fn force_pushes_two_refs_at_once_and_push_options() {
    let world = World::new();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::node("web"));
    repo.push("shop").accepted();

    repo.write("server.js", &repo.read("server.js").replace("\"web\"", "\"rewritten\""));
    repo.git(&["commit", "--quiet", "--all", "--amend", "--message", "Another beginning"]);
    let before = world.settled("shop");
    let plain = repo.push("shop");
    assert!(!plain.ok && plain.screen.contains("non-fast-forward"), "{}", plain.screen);
    world.assert_nothing_left("shop", &before);
    repo.push_with("shop", &["--force"], &["HEAD:refs/heads/main"]).accepted();
    assert_eq!(world.get("shop", "/").body, "rewritten");

    repo.write("server.js", &repo.read("server.js").replace("rewritten", "one of two")).commit();
    let both =
        repo.push_with("shop", &["--atomic"], &["HEAD:refs/heads/aside", "HEAD:refs/heads/main"]).accepted();
    assert!(both.screen.contains("aside"), "{}", both.screen);
    assert_eq!(world.get("shop", "/").body, "one of two");
    assert_eq!(world.state("shop").refs.len(), 2);

    repo.write("server.js", &repo.read("server.js").replace("one of two", "stored")).commit();
    let stored = repo.push_with("shop", &["--push-option=no-deploy"], &["HEAD:refs/heads/main"]).accepted();
    assert!(stored.screen.contains("not deployed, as you asked"), "{}", stored.screen);
    assert_eq!(world.get("shop", "/").body, "one of two");
    assert_eq!(world.head("shop"), repo.head(), "it is stored");
    repo.write("server.js", &repo.read("server.js").replace("stored", "optional")).commit();
    let unknown =
        repo.push_with("shop", &["--push-option=colour=blue"], &["HEAD:refs/heads/main"]).accepted();
    assert!(
        unknown.screen.contains("colour=blue") && unknown.screen.contains("not known"),
        "{}",
        unknown.screen
    );
    assert_eq!(world.get("shop", "/").body, "optional");
}

#[test]
fn an_empty_push_and_a_fetch_back() {
    let world = World::new();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::node("web"));
    repo.push("shop").accepted();
    let before = world.settled("shop");
    let again = repo.push("shop").accepted();
    assert!(again.screen.contains("Everything up-to-date"), "{}", again.screen);
    world.assert_nothing_left("shop", &before);

    let copy = ada.clone_of("shop", &["--depth", "1"]);
    repo.commit();
    repo.push("shop").accepted();
    copy.git(&["pull", "--quiet"]);
    assert_eq!(copy.head(), repo.head());
    let missing = repo.try_git(&["ls-remote", &ada.remote("nowhere")]);
    assert_ne!(missing.code, Some(0));
    assert!(missing.stderr.to_lowercase().contains("there is no app nowhere"), "{missing}");
    assert!(!world.data_dir().join("repos/nowhere.git").exists(), "reading creates nothing");
}

#[test]
fn a_push_in_the_short_form_of_the_address_and_by_any_user_name() {
    let world = World::new();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::node("web"));
    // `git@host:APP` has no place for a port, so the config of ssh names it.
    let port = world.ssh().port();
    let config = format!(
        "{}Host platform\n  HostName 127.0.0.1\n  Port {port}\n",
        std::fs::read_to_string(ada.ssh_config()).unwrap()
    );
    std::fs::write(ada.ssh_config(), config).unwrap();
    for remote in ["git@platform:shop", "dokku@platform:shop.git", "anybody@platform:/shop"] {
        repo.commit();
        repo.git(&["push", "--quiet", remote, "main"]);
        assert_eq!(world.head("shop"), repo.head(), "{remote}");
    }
    assert_eq!(world.get("shop", "/").body, "web");
}

#[test]
fn git_lfs_is_refused_with_what_to_do_instead_and_that_works() {
    let world = World::new();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::node_with("response.end(String(fs.statSync('big.bin').size))"));
    repo.write("server.js", &format!("const fs = require('fs');\n{}", repo.read("server.js")));
    repo.git(&["lfs", "install", "--local"]);
    repo.git(&["lfs", "track", "*.bin"]);
    repo.write("big.bin", &"x".repeat(100_000)).commit();
    let next = "git lfs migrate export --everything --include='*'";
    repo.push("shop").rejected(&["Git LFS is not kept here", next]);
    // Without the hook of LFS only the pointer comes, and the pusher is told so.
    let bare = repo.push_with("shop", &["--no-verify"], &["HEAD:refs/heads/main"]).accepted();
    bare.says(&["big.bin is a pointer, not the file itself", next]);
    assert_ne!(world.get("shop", "/").body, "100000");

    repo.git(&["lfs", "migrate", "export", "--everything", "--include=*"]);
    repo.push_with("shop", &["--force"], &["HEAD:refs/heads/main"]).accepted();
    assert_eq!(world.get("shop", "/").body, "100000");
}
