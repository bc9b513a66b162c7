//! The pen of a build.

use std::sync::Arc;

use autostack_domain::LineKind;

use super::{World, all, app, deployment, kind, said, texts};
use crate::{BuildLog, LogError};

fn pen(world: &World) -> BuildLog {
    world.open().build_log(&deployment()).unwrap()
}

#[test]
fn lines_come_with_their_shape_and_in_order() {
    let world = World::new();
    let log = pen(&world);
    log.step("Build");
    log.raw(b"half a line");
    log.detail("of us\nin two");
    log.trouble("slow");
    log.result("done");
    log.seal().unwrap();
    let found = all(log.stream());
    assert_eq!(texts(&found), ["Build", "half a line", "of us", "in two", "slow", "done"]);
    let kinds: Vec<_> = found.iter().filter_map(kind).collect();
    use LineKind::{Detail, Result, Step, Trouble};
    assert_eq!(kinds, [Step, Detail, Detail, Detail, Trouble, Result]);
    assert!(log.stream().is_sealed());
}

#[test]
fn two_outputs_never_mix_within_a_line() {
    let world = World::new();
    let log = pen(&world);
    let (out, err) = (log.clone(), log.clone());
    out.raw(b"from ");
    err.raw(b"trou");
    out.raw(b"out\n");
    err.raw(b"ble\nun");
    drop((out, err));
    assert_eq!(texts(&all(log.stream())), ["from out", "trouble", "un"]);
}

#[test]
fn output_over_the_limit_is_dropped_and_what_the_platform_says_is_not() {
    let mut world = World::new();
    world.limits.build_bytes_max = 2_048;
    let log = pen(&world);
    let other = log.clone();
    for _ in 0..1_000 {
        log.raw(b"0123456789\n");
        other.raw(b"0123456789\n");
    }
    log.trouble("failed");
    let found = texts(&all(log.stream()));
    assert_eq!(found.len(), 2_048 / 11 + 2);
    assert_eq!(found[found.len() - 2..], ["output of more than 2 KiB is dropped from here on", "failed"]);
    assert_eq!(log.lost(), 0);
}

#[test]
fn a_pen_outlives_its_log() {
    let world = World::new();
    let logs = world.open();
    let log = logs.build_log(&deployment()).unwrap();
    log.raw(b"one\n");
    logs.remove_deployment(&deployment()).unwrap();
    log.raw(b"two\nthree\n");
    log.step("four");
    assert_eq!(log.lost(), 3);
    assert!(log.seal().is_ok(), "it is over already");
}

#[test]
fn missing_lines_are_counted_where_they_are_missing() {
    let world = World::new();
    let logs = world.open();
    let stream = logs.app(&app()).unwrap();
    let log = BuildLog::new(Arc::clone(&stream), 1_000);
    // A file where the folder should be: nothing can be written until it is gone.
    std::fs::create_dir_all(world.app_dir().parent().unwrap()).unwrap();
    std::fs::write(world.app_dir(), "in the way").unwrap();
    log.raw(b"one\ntwo\n");
    assert!(matches!(stream.append(&[said("three")]), Err(LogError::OpenFolder { .. })));
    std::fs::remove_file(world.app_dir()).unwrap();
    log.raw(b"four\n");
    assert_eq!(texts(&all(&stream)), ["2 lines are missing here: the log could not be written", "four"]);
    assert_eq!(log.lost(), 2);
}
