//! `autostack demo`: the main job in one command.

use std::{collections::BTreeSet, fs, process::Command};

use nix::sys::signal::Signal;

use crate::world::{
    Docker,
    agent::{AUTOSTACK, PATH, autostack},
    live, processes, soon,
};

#[test]
fn the_demo_shows_a_push_that_goes_live() {
    let folder = tempfile::tempdir().unwrap();
    let output = autostack(&["demo", "--once"], folder.path()).end();
    assert_eq!(output.code, Some(0), "{output}");
    let text = output.all();
    assert!(text.contains("=====> Application deployed:"), "{text}");
    assert!(text.contains("http://hello.localhost:"), "{text}");
    assert!(processes::inside(folder.path()).is_empty(), "nothing runs on");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing lies about");
}

#[test]
fn the_demo_stays_up_until_ctrl_c() {
    let folder = tempfile::tempdir().unwrap();
    let demo = autostack(&["demo"], folder.path());
    demo.wait_for("=====> Application deployed:");
    demo.wait_for("Ctrl-C");
    demo.signal(Signal::SIGINT);
    let output = demo.end();
    assert_eq!(output.code, Some(0), "{output}");
    soon("nothing to run on", || processes::inside(folder.path()).is_empty().then_some(()));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing lies about");
}

/// What engines show of apps that are called as the one of the demo.
fn in_the_engine(docker: &Docker) -> BTreeSet<String> {
    let ours = "label=autostack.app=hello";
    let kinds = [
        &["ps", "--all", "--quiet", "--filter", ours][..],
        &["network", "ls", "--quiet", "--filter", ours],
        &["images", "--all", "--quiet", "--filter", ours],
    ];
    kinds.iter().flat_map(|words| docker.ok(words).lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn the_demo_with_containers_leaves_nothing_in_the_engine() {
    let docker = Docker::of_this_host();
    let before = in_the_engine(&docker);
    let folder = tempfile::tempdir().unwrap();
    let demo = autostack(&["demo", "--docker"], folder.path());
    demo.wait_for("Ctrl-C");
    assert_ne!(in_the_engine(&docker), before, "it runs in a container");
    demo.signal(Signal::SIGINT);
    let output = demo.end();
    assert_eq!(output.code, Some(0), "{output}");
    let text = output.all();
    for said in
        ["This line comes from a RUN of the Dockerfile", "=====> Application deployed:", "“hello is live.”"]
    {
        assert!(text.contains(said), "{said:?} is not said:\n{text}");
    }
    soon("nothing to be left in the engine", || (in_the_engine(&docker) == before).then_some(()));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing lies about");

    let once = autostack(&["demo", "--docker", "--once"], folder.path()).end();
    assert_eq!(once.code, Some(0), "{once}");
    soon("nothing to be left in the engine", || (in_the_engine(&docker) == before).then_some(()));
}

#[test]
fn the_demo_says_where_it_looked_for_an_engine() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(AUTOSTACK);
    let nowhere = format!("unix://{}/none.sock", folder.path().display());
    command.args(["demo", "--docker", "--once"]);
    command
        .env_clear()
        .env("PATH", PATH)
        .env("TMPDIR", folder.path())
        .env("AUTOSTACK_DOCKER__HOST", &nowhere);
    let output = live::run(command, b"");
    assert_eq!(output.code, Some(1), "{output}");
    assert!(output.stderr.contains(&nowhere) && output.stderr.contains(" !     Next: "), "{output}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing lies about");
}
