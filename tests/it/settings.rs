//! Settings: checked, read again when they change, and never lost to a bad file.

use std::fs;

use crate::world::{Options, World, agent::autostack, apps, soon};

#[test]
fn a_bad_file_keeps_the_last_good_settings() {
    let world = Options::default().file("domain = \"first.test\"\n").start();
    let ada = world.developer("ada");
    ada.app_of(apps::node("web")).push("shop").accepted();
    let url = || ada.ssh(&["url", "shop"]).ok();
    assert!(url().contains("http://shop.first.test:"), "{}", url());
    assert_eq!(world.health()["status"], "ok", "{}", world.health());

    fs::write(world.settings_file(), "domain = \"second.test\"\n").unwrap();
    soon("the new domain", || url().contains("shop.second.test").then_some(()));
    let answer = crate::world::http_get(world.http(), "shop.second.test", "/", &[]).unwrap();
    assert_eq!(answer.body, "web", "the route follows");

    fs::write(world.settings_file(), "domain = \"third.test\"\ndomian = 3\n").unwrap();
    let health = soon("the problem in /health", || {
        Some(world.health()).filter(|health| health["status"] == "degraded")
    });
    let text = health.to_string();
    assert!(text.contains("domian") && text.contains('2'), "key and line: {text}");
    assert!(url().contains("shop.second.test"), "the last good settings count");
    assert!(world.log().contains("domian"), "{}", world.log());

    fs::write(world.settings_file(), "domain = \"fourth.test\"\n").unwrap();
    soon("the good file", || url().contains("shop.fourth.test").then_some(()));
    soon("health again", || (world.health()["status"] == "ok").then_some(()));
}

#[test]
fn check_config_says_what_is_wrong_with_line_and_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("autostack.toml");
    let check = |text: &str| {
        fs::write(&file, text).unwrap();
        autostack(&["check-config", file.to_str().unwrap()], folder.path()).end()
    };
    let good = check("domain = \"apps.example.test\"\n[ssh]\nlisten = \"127.0.0.1:2222\"\n");
    assert_eq!(good.code, Some(0), "{good}");
    let bad = check(
        "domain = \"apps.example.test\"\n[ssh]\nlisen = \"127.0.0.1:2222\"\n[deploy]\nstart_timeout = \"soon\"\n",
    );
    assert_eq!(bad.code, Some(2), "{bad}");
    for word in ["autostack.toml", "3", "ssh.lisen", "ssh.listen", "5", "deploy.start_timeout", "soon"] {
        assert!(bad.stderr.contains(word), "{word}: {bad}");
    }
    let syntax = check("domain = \n");
    assert_eq!(syntax.code, Some(2), "{syntax}");
    assert!(syntax.stderr.contains('1'), "{syntax}");
    let missing = autostack(&["check-config", "/no/such/file"], folder.path()).end();
    assert_eq!(missing.code, Some(2), "{missing}");

    let usage = autostack(&["serve", "--nonsense"], folder.path()).end();
    assert_eq!(usage.code, Some(2), "{usage}");
    fs::write(&file, "nonsense = 1\n").unwrap();
    let refused = autostack(&["serve", "--config", file.to_str().unwrap()], folder.path()).end();
    assert_eq!(refused.code, Some(2), "{refused}");
    let alone = autostack(&["admin", "status"], folder.path()).end();
    assert_eq!(alone.code, Some(1), "no agent runs there: {alone}");
}

#[test]
fn a_second_agent_on_the_same_data_is_refused() {
    let world = World::new();
    let data = world.data_dir().to_str().unwrap();
    let mut command = std::process::Command::new(crate::world::agent::AUTOSTACK);
    command.env_clear().env("PATH", crate::world::agent::PATH).arg("serve");
    for door in ["SSH", "HTTP", "API"] {
        command.env(format!("AUTOSTACK_{door}__LISTEN"), "127.0.0.1:0");
    }
    command.env("AUTOSTACK_DATA_DIR", data);
    let second = crate::world::Live::start(command).end();
    assert_eq!(second.code, Some(1), "{second}");
    assert_eq!(world.admin(&["status"], b"").code, Some(0), "the first one is not disturbed");
}
