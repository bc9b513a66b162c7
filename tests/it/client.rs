//! A client of three lines of shell drives a whole app life: what people's scripts have been all along.

use std::{fs, process::Command};

use crate::world::{Developer, Output, World, apps, live};

/// The whole client.
fn client(ada: &Developer<'_>) -> String {
    format!(
        "dokku() {{\n  ssh -F {} -p {} dokku@127.0.0.1 -- \"$@\"\n}}\n",
        ada.ssh_config().display(),
        ada.world.ssh().port()
    )
}

/// Runs a script that has the client.
fn script(ada: &Developer<'_>, text: &str) -> Output {
    let path = ada.home().join("script.sh");
    fs::write(&path, format!("set -eu\n{}{text}", client(ada))).unwrap();
    let mut sh: Command = ada.command("/bin/sh");
    sh.arg(&path);
    live::run(sh, b"")
}

#[test]
fn three_lines_of_shell_drive_a_whole_app_life() {
    let world = World::new();
    let ada = world.person("ada");
    assert_eq!(client(&ada).lines().count(), 3);
    let made = script(
        &ada,
        r#"
dokku apps:create shop
dokku config:set --no-restart shop GREETING="hello" TWO="'two words'"
test "$(dokku config:get shop TWO)" = "two words"
test "$(dokku --quiet apps:list)" = shop
dokku apps:exists shop
! dokku apps:exists nowhere
"#,
    );
    made.ok();

    let repo = ada.app_of(apps::node_with("response.end(process.env.GREETING);"));
    repo.push("shop").accepted();
    assert_eq!(world.get("shop", "/").body, "hello");

    let lived = script(
        &ada,
        r#"
dokku config:set shop GREETING=again
dokku logs shop -n 5 | grep -q .
dokku ps:scale shop web=2
dokku ps:scale shop | grep -q 'web.*2'
test "$(dokku ps:report shop --ps-running)" = true
dokku releases:list shop | grep -q v2
dokku rollback shop
test "$(dokku url shop)" = "$(dokku urls shop | head -n 1)"
dokku config:export shop --format json
"#,
    );
    assert!(lived.clone().ok().contains("\"GREETING\":\"hello\""), "the config is what it was: {lived}");
    assert_eq!(world.get("shop", "/").body, "hello");

    script(&ada, "dokku apps:lock shop\ndokku apps:locked shop\ndokku apps:unlock shop\n").ok();
    script(&ada, "dokku apps:destroy shop --force\n! dokku apps:exists shop\n").ok();
    assert_eq!(world.get("shop", "/").status, 404);
}
