//! Who may use an app, and who may come at all.

use std::time::{Duration, Instant};

use crate::world::{Developer, Live, World, apps, soon};

/// How long what somebody has open may stay open when they lose the right to it.
const REVOKED_WITHIN: Duration = Duration::from_secs(5);

/// Waits until it has ended, which must be soon.
#[track_caller]
fn assert_ends(mut live: Live) -> String {
    let begun = Instant::now();
    soon("the end of what was open", || live.has_ended().then_some(()));
    assert!(begun.elapsed() < REVOKED_WITHIN, "it took {:?}", begun.elapsed());
    live.end().all()
}

/// What is answered about an app is what is answered about one that is not there.
#[track_caller]
fn assert_sees_nothing(somebody: &Developer<'_>, app: &str) {
    for words in [
        &["url", app][..],
        &["config:show", app],
        &["config:set", app, "A=1"],
        &["config:get", app, "A"],
        &["logs", app],
        &["apps:report", app],
        &["apps:exists", app],
        &["apps:lock", app],
        &["access:list", app],
        &["access:add", app, "eve", "admin"],
        &["access:remove", app, "ada"],
        &["apps:destroy", app, "--force"],
    ] {
        let (found, nothing) = (somebody.ssh(words), words.join(" ").replace(app, "none"));
        let none = somebody.ssh(&[&nothing]);
        assert_eq!((found.code, none.code), (Some(20), Some(20)), "{words:?}: {found}");
        assert_eq!(found.all().replace(app, "none"), none.all(), "{words:?}");
    }
}

#[test]
fn an_app_of_somebody_else_is_not_there() {
    let world = World::new();
    let (ada, eve) = (world.developer("ada"), world.person("eve"));
    ada.ssh(&["apps:create", "shop"]).ok();
    assert_sees_nothing(&eve, "shop");
    assert_eq!(ada.ssh(&["apps:list", "--quiet"]).ok(), "shop\n");
    assert_eq!(eve.ssh(&["apps:list", "--quiet"]).ok(), "");
    assert_eq!(eve.ssh(&["apps:report", "--format", "json"]).ok(), "[]\n");
}

#[test]
fn a_role_lets_in_as_far_as_it_goes_and_no_further() {
    let world = World::new();
    let (ada, bob, eve) = (world.person("ada"), world.person("bob"), world.person("eve"));
    ada.app_of(apps::node("web")).push("shop").accepted();
    assert_sees_nothing(&bob, "shop");

    ada.ssh(&["access:add", "shop", "bob", "viewer"]).ok();
    assert_eq!(bob.ssh(&["apps:exists", "shop"]).code, Some(0));
    assert_eq!(bob.ssh(&["logs", "shop"]).code, Some(0));
    for words in [
        &["config:show", "shop"][..],
        &["config:set", "shop", "A=1"],
        &["apps:lock", "shop"],
        &["access:add", "shop", "eve", "viewer"],
        &["access:remove", "shop", "ada"],
        &["apps:destroy", "shop", "--force"],
    ] {
        let refused = bob.ssh(words);
        assert_eq!(refused.code, Some(1), "{words:?}: {refused}");
        assert!(refused.stderr.contains("may not"), "{words:?}: {refused}");
    }
    bob.app_of(apps::node("evil")).push("shop").rejected(&["may not push"]);

    ada.ssh(&["access:add", "shop", "bob@localhost", "deployer"]).ok();
    let listed = ada.ssh(&["access:list", "shop", "--format", "json"]).ok();
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let expected = serde_json::json!([
        {"user": "ada", "role": "owner"}, {"user": "bob", "role": "deployer"}
    ]);
    assert_eq!(listed, expected);
    bob.ssh(&["config:set", "--no-restart", "shop", "A=1"]).ok();
    assert_eq!(bob.ssh(&["access:add", "shop", "eve", "viewer"]).code, Some(1));
    assert_sees_nothing(&eve, "shop");

    ada.ssh(&["access:add", "shop", "bob", "admin"]).ok();
    bob.ssh(&["access:add", "shop", "eve", "viewer"]).ok();
    assert_eq!(eve.ssh(&["apps:list", "--quiet"]).ok(), "shop\n");
    // Everybody may go; nobody can take an app from its owner.
    eve.ssh(&["access:remove", "shop", "eve"]).ok();
    assert_sees_nothing(&eve, "shop");
    assert_eq!(bob.ssh(&["access:remove", "shop", "ada"]).code, Some(1));
    for (words, code) in [
        (&["access:add", "shop", "nobody", "viewer"][..], 1),
        (&["access:add", "shop", "bob", "root"], 2),
        (&["access:add", "shop", "bob"], 2),
        (&["access:add", "shop", "'a b'", "viewer"], 2),
        (&["access:remove", "shop", "eve"], 1),
    ] {
        let refused = ada.ssh(words);
        assert_eq!(refused.code, Some(code), "{words:?}: {refused}");
        assert!(refused.stderr.starts_with(" !     "), "{words:?}: {refused}");
    }
}

#[test]
fn a5_what_somebody_has_open_ends_when_their_role_is_taken_away() {
    let world = World::new();
    let (ada, bob) = (world.person("ada"), world.person("bob"));
    ada.app_of(apps::node("web")).push("shop").accepted();
    ada.ssh(&["access:add", "shop", "bob", "viewer"]).ok();
    let following = bob.ssh_live(&["logs", "shop", "-t"]);
    let own = ada.ssh_live(&["logs", "shop", "-t"]);
    following.wait_for("is live");
    own.wait_for("is live");

    ada.ssh(&["access:remove", "shop", "bob"]).ok();
    let said = assert_ends(following);
    assert!(said.contains("There is no app shop for you any more"), "{said}");
    assert_sees_nothing(&bob, "shop");
    let mut own = own;
    assert!(!own.has_ended(), "nobody else is disturbed");
}

#[test]
fn a_key_is_let_in_and_taken_away_at_once() {
    let world = World::new();
    let (ada, eve) = (world.developer("ada"), world.person("eve"));
    let bob = world.stranger("bob");
    assert_eq!(bob.ssh(&["version"]).code, Some(255));
    let refused = eve.ssh_input(&["ssh-keys:add", "bob"], bob.public_key().as_bytes());
    assert_eq!(refused.code, Some(1), "{refused}");
    assert_eq!(bob.ssh(&["version"]).code, Some(255));

    let added = ada.ssh_input(&["ssh-keys:add", "bob"], bob.public_key().as_bytes());
    assert!(added.clone().ok().starts_with("SHA256:"), "{added}");
    bob.ssh(&["version"]).ok();
    assert_eq!(bob.ssh(&["ssh-keys:list"]).code, Some(1), "he is no admin");
    bob.ssh(&["apps:create", "blog"]).ok();
    ada.ssh(&["access:add", "blog", "eve", "viewer"]).ok();
    let listed = ada.ssh(&["ssh-keys:list", "bob", "--format", "json"]).ok();
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed[0]["user"], "bob@localhost", "{listed}");
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");

    // One connection for several commands: it ends with the key.
    let socket = bob.home().join("control");
    let control = format!("ControlPath={}", socket.display());
    let master = Live::start(bob.ssh_command(&["-M", "-N", "-o", &control], &[]));
    soon("the shared connection", || socket.exists().then_some(()));
    let shared = || bob.ssh_with(&["-o", &control], &["apps:list", "--quiet"]);
    assert_eq!(shared().ok(), "blog\n");
    let following = Live::start(bob.ssh_command(&["-o", &control], &["logs", "blog", "-t"]));
    soon("the session", || (!following.seen().is_empty() || following.stdout().is_empty()).then_some(()));
    ada.ssh(&["ssh-keys:remove", "bob"]).ok();
    assert_ends(following);
    assert_ends(master);
    assert_eq!(bob.ssh(&["version"]).code, Some(255));
    assert_eq!(ada.ssh(&["ssh-keys:remove", "bob"]).code, Some(1), "there is none any more");
}

#[test]
fn everybody_has_keys_of_their_own() {
    let world = World::new();
    let (ada, bob) = (world.person("ada"), world.person("bob"));
    let laptop = world.stranger("laptop");
    let garbage = ada.ssh_input(&["keys:add", "laptop"], b"not a key");
    assert_eq!(garbage.code, Some(2), "{garbage}");
    assert_eq!(ada.ssh(&["keys:add", "laptop"]).code, Some(2), "nothing was sent");
    let key = laptop.public_key();
    let words: Vec<&str> = ["keys:add", "laptop"].into_iter().chain(key.split_whitespace()).collect();
    ada.ssh(&words).ok();
    ada.ssh(&["apps:create", "shop"]).ok();
    assert_eq!(laptop.ssh(&["apps:list", "--quiet"]).ok(), "shop\n", "it is Ada's too");
    let names = |person: &Developer<'_>| person.ssh(&["keys:list", "--quiet"]).ok().lines().count();
    assert_eq!((names(&ada), names(&bob)), (2, 1));
    let taken = bob.ssh_input(&["keys:add", "mine"], key.as_bytes());
    assert_eq!(taken.code, Some(1), "{taken}");
    assert_eq!(bob.ssh(&["keys:remove", "laptop"]).code, Some(1), "it is not his");

    laptop.ssh(&["keys:remove", "laptop"]).ok();
    assert_eq!(laptop.ssh(&["version"]).code, Some(255));
    let last = ada.ssh(&["keys:remove", "ada"]);
    assert_eq!(last.code, Some(1), "{last}");
    assert!(last.stderr.contains("only key"), "{last}");
    ada.ssh(&["keys:remove", "ada", "--force"]).ok();
    assert_eq!(ada.ssh(&["version"]).code, Some(255));
}

#[test]
fn what_is_no_key_is_not_let_in_and_an_admin_does_not_lock_the_host() {
    let world = World::new();
    let root = world.developer("root");
    let (one, two) = (world.stranger("one"), world.stranger("two"));
    let private = std::fs::read_to_string(one.home().join("key")).unwrap();
    let secret = private.lines().nth(3).unwrap();
    let (key, other) = (one.public_key(), two.public_key());
    let both = format!("{key}{other}");
    let options = format!("command=\"id\",no-pty {key}");
    for (given, why) in [
        (private.as_str(), "it is a private key"),
        (&both, "there are 2 lines"),
        (&options, "options stand in front"),
        ("ssh-ed25519 AAAA", "not a public key"),
        ("", "needs the public key"),
    ] {
        for command in ["ssh-keys:add", "keys:add"] {
            let refused = root.ssh_input(&[command, "one"], given.as_bytes());
            assert_eq!(refused.code, Some(2), "{refused}");
            assert!(refused.stderr.contains(why), "{why}: {refused}");
        }
    }
    assert!(!world.log().contains(secret), "a private key is not repeated");
    assert_eq!(one.ssh(&["version"]).code, Some(255));
    assert_eq!(root.ssh(&["ssh-keys:list", "--quiet"]).ok().lines().count(), 1);

    root.ssh_input(&["ssh-keys:add", "one"], format!("\r\n{}\r\n\r\n", key.trim()).as_bytes()).ok();
    one.ssh(&["version"]).ok();
    let again = root.ssh_input(&["ssh-keys:add", "uno"], key.as_bytes());
    assert!(again.code == Some(1) && again.stderr.contains("under the name one"), "{again}");

    for command in ["ssh-keys:remove", "keys:remove"] {
        let last = root.ssh(&[command, "root"]);
        assert!(last.code == Some(1) && last.stderr.contains("your only key"), "{last}");
    }
    root.ssh_input(&["ssh-keys:add", "two", "--user", "admin"], other.as_bytes()).ok();
    root.ssh(&["ssh-keys:remove", "root"]).ok();
    assert_eq!(root.ssh(&["version"]).code, Some(255));
    let last = two.ssh(&["ssh-keys:remove", "two"]);
    assert!(last.code == Some(1) && last.stderr.contains("--force"), "{last}");
    two.ssh(&["ssh-keys:remove", "two", "--force"]).ok();
    assert_eq!(two.ssh(&["version"]).code, Some(255));
}
