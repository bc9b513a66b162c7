//! What apps wrote: by time, pattern, process and release, coloured, followed and resumed.

use serde_json::Value;

use crate::world::{Developer, World, apps, soon};

/// An app with a worker. It writes the words that it is asked for.
fn talkative() -> apps::Files {
    let mut files = apps::node_with(
        r#"if (url.searchParams.has("word")) console.log(url.searchParams.get("word"));
  response.end("heard");"#,
    );
    files.push(("Procfile", "web: node server.js\nworker: echo worker is up; exec sleep 1000\n".into()));
    files
}

fn say(world: &World, word: &str) {
    assert_eq!(world.get("shop", &format!("/?word={word}")).body, "heard");
}

/// Waits until the log holds a word.
fn written(ada: &Developer<'_>, word: &str) {
    soon(word, || ada.ssh(&["logs", "shop", "-n", "1000"]).ok().contains(word).then_some(()));
}

fn texts(lines: &str) -> Vec<&str> {
    lines.lines().map(|line| line.split_once(": ").map_or(line, |(_, text)| text)).collect()
}

#[test]
fn lines_are_found_by_what_who_and_when() {
    let world = World::new();
    let ada = world.developer("ada");
    let repo = ada.app_of(talkative());
    repo.push("shop").accepted();
    // Each in a moment of its own: lines that are read at once have one time.
    for word in ["apple-1", "Apple-2", "pear-3"] {
        say(&world, word);
        written(&ada, word);
    }
    written(&ada, "worker is up");
    let grep = |pattern: &str| ada.ssh(&["logs", "shop", "--grep", pattern]).ok();
    assert_eq!(texts(&grep("'^apple-\\d$'")), ["apple-1"]);
    assert_eq!(texts(&grep("'(?i)apple'")), ["apple-1", "Apple-2"]);
    assert_eq!(texts(&ada.ssh(&["logs", "shop", "-p", "worker"]).ok()), ["worker is up"]);
    assert_eq!(texts(&ada.ssh(&["logs", "shop", "-p", "web.1", "-n", "2"]).ok()), ["Apple-2", "pear-3"]);
    assert_eq!(ada.ssh(&["logs", "shop", "-q", "-p", "web", "-n", "1"]).ok(), "pear-3\n");
    assert_eq!(ada.ssh(&["logs", "shop", "--quiet", "--grep", "pear"]).ok(), "pear-3\n");

    let everything = ada.ssh(&["logs", "shop", "--since", "1h"]).ok();
    assert!(everything.contains("pear-3") && everything.contains("autostack: "), "{everything}");
    assert_eq!(ada.ssh(&["logs", "shop", "--since", "1h", "--until", "59m"]).ok(), "");
    assert_eq!(ada.ssh(&["logs", "shop", "--since", "2126-01-01"]).ok(), "");
    let json = ada.ssh(&["logs", "shop", "--format", "json", "--grep", "pear"]).ok();
    let line: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((line["process"].as_str(), line["release"].as_str()), (Some("web.1"), Some("v1")));
    let at = line["at"].as_str().unwrap();
    assert_eq!(texts(&ada.ssh(&["logs", "shop", "--since", at, "-p", "web"]).ok()), ["pear-3"]);
    assert!(!ada.ssh(&["logs", "shop", "--until", at]).ok().contains("pear-3"));

    repo.commit();
    repo.push("shop").accepted();
    say(&world, "second-release");
    written(&ada, "second-release");
    let second = ada.ssh(&["logs", "shop", "--release", "v2", "-p", "web"]).ok();
    assert_eq!(texts(&second), ["second-release"]);
    assert!(ada.ssh(&["logs", "shop", "--release", "v1"]).ok().contains("pear-3"));
}

#[test]
fn a_log_is_resumed_where_it_was_cut_off() {
    let world = World::new();
    let ada = world.developer("ada");
    ada.app_of(talkative()).push("shop").accepted();
    say(&world, "first-word");
    written(&ada, "first-word");
    let following = ada.ssh_live(&["logs", "shop", "-t", "-n", "1", "-p", "web", "--offsets"]);
    following.wait_for("first-word");
    say(&world, "second-word");
    following.wait_for("second-word");
    let seen = following.stdout();
    drop(following);
    say(&world, "missed-1");
    say(&world, "missed-2");
    written(&ada, "missed-2");
    let offset = seen.lines().last().unwrap().split(' ').next().unwrap();
    let rest = ada.ssh(&["logs", "shop", "--from", offset, "-p", "web"]).ok();
    assert_eq!(texts(&rest), ["missed-1", "missed-2"], "{rest}");

    // An agent that stops says how to go on.
    let following = ada.ssh_live(&["logs", "shop", "-t", "-n", "1", "-p", "web"]);
    following.wait_for("missed-2");
    world.stop();
    world.start();
    let end = following.end();
    assert_eq!(end.code, Some(1), "{end}");
    let next = end.stderr.lines().find_map(|line| line.split_once("Next: ")).unwrap().1;
    say(&world, "after-the-restart");
    written(&ada, "after-the-restart");
    let words: Vec<&str> = next.split(" goes on").next().unwrap().split(' ').collect();
    let resumed = ada.ssh_live(&words);
    resumed.wait_for("after-the-restart");
    assert!(!resumed.seen().contains("missed-2"), "{}", resumed.seen());
}

#[test]
fn a_terminal_has_colours_and_nobody_else() {
    let world = World::new();
    let ada = world.developer("ada");
    ada.app_of(talkative()).push("shop").accepted();
    say(&world, "%1b%5D0;title%07and%1b%5B2J");
    written(&ada, "and");
    let plain = ada.ssh(&["logs", "shop"]).ok();
    assert!(!plain.contains('\u{1b}') && plain.contains("\\u{1b}]0;title\\u{7}and\\u{1b}[2J"), "{plain:?}");
    let terminal = ada.ssh_with(&["-tt"], &["logs", "shop"]).ok();
    assert!(terminal.contains("\u{1b}[36m20") && terminal.contains("\u{1b}[2m20"), "{terminal:?}");
    assert!(terminal.contains("\\u{1b}]0;title\\u{7}and") && !terminal.contains('\u{7}'), "{terminal:?}");
    let never = ada.ssh_with(&["-tt"], &["logs", "shop", "--color", "never"]).ok();
    assert!(!never.contains('\u{1b}'), "{never:?}");
    assert!(ada.ssh(&["logs", "shop", "--color", "always"]).ok().contains("\u{1b}[36m20"));
    let web = ada.ssh(&["logs", "shop", "--color", "always", "-p", "worker"]).ok();
    assert!(web.starts_with("\u{1b}[") && !web.starts_with("\u{1b}[36m"), "{web:?}");
}

#[test]
fn what_is_not_understood_is_refused_and_strangers_see_nothing() {
    let world = World::new();
    let (ada, eve) = (world.developer("ada"), world.person("eve"));
    let (vic, dee) = (world.person("vic"), world.person("dee"));
    ada.app_of(talkative()).push("shop").accepted();
    ada.ssh(&["access:add", "shop", "vic", "viewer"]).ok();
    ada.ssh(&["access:add", "shop", "dee", "deployer"]).ok();
    for member in [&vic, &dee] {
        assert!(member.ssh(&["logs", "shop"]).ok().contains("autostack: "), "members read along");
    }
    let long = "a".repeat(2_000);
    for words in [
        &["--since", "yesterday"][..],
        &["--until", "10"],
        &["--grep", "'('"],
        &["--grep", &long],
        &["--release", "latest"],
        &["--from", "-1"],
        &["--from", "5", "-n", "5"],
        &["-n", "many"],
        &["-p", "../x"],
        &["--color", "blue"],
        &["--format", "yaml"],
        &["-t", "--until", "1h"],
    ] {
        let output = ada.ssh(&[&["logs", "shop"], words].concat());
        assert_eq!(output.code, Some(2), "{words:?}: {output}");
        assert!(output.stdout.is_empty() && output.stderr.starts_with(" !     "), "{words:?}: {output}");
    }
    for words in [&["logs", "shop"][..], &["logs", "shop", "-t"], &["logs", "--app", "shop", "--from", "0"]] {
        assert_eq!(eve.ssh(words).code, Some(20), "{words:?}");
    }
}
