//! `autostack demo`: the main job in one command.

use std::fs;

use nix::sys::signal::Signal;

use crate::world::{agent::autostack, processes, soon};

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
