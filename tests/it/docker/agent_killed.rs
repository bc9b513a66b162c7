//! `kill -9` of the agent: containers run on and are adopted, a build that was cut off leaves nothing, no line of a log
//! is lost or repeated.

use std::{thread, time::Duration};

use crate::world::{World, apps, engine::BUSYBOX, soon};

#[test]
fn a_container_outlives_the_agent_and_is_adopted() {
    let world = World::with_docker();
    let ada = world.developer("ada");
    ada.app_of(apps::dockerfile("web")).push("shop").accepted();
    let before = world.settled("shop");
    world.kill9();
    assert!(world.try_get("shop", "/").is_err(), "the proxy is gone with the agent");
    world.start();
    assert_eq!(world.get("shop", "/").body, "web");
    world.assert_nothing_left("shop", &before);
    assert!(world.stop().success(), "{}", world.log());
    world.start();
    assert_eq!(world.get("shop", "/").body, "web");
    world.assert_nothing_left("shop", &before);

    // One that ended while nobody looked is started again.
    world.kill9();
    let container = world.container("shop");
    world.docker().ok(&["kill", &container.id]);
    world.start();
    soon("its successor", || world.try_get("shop", "/").ok().filter(|answer| answer.status == 200));
    let state = world.settled("shop");
    assert_eq!(state.made.containers.len(), 1, "{state:#?}");
}

#[test]
fn every_line_of_a_containers_log_is_there_once() {
    let world = World::with_docker();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::dockerfile("web"));
    let script = "httpd -f -p $PORT -h /www & i=0; while :; do echo line $i; i=$((i+1)); echo $i > /tmp/i && mv /tmp/i /www/lines; [ $((i % 20)) -ne 0 ] || usleep 20000; done";
    repo.write("Procfile", &format!("web: {script}\n")).commit();
    repo.push("shop").accepted();
    let lines_written = || world.get("shop", "/lines").body.trim().parse::<usize>().unwrap_or(0);
    for _ in 0..3 {
        let seen = lines_written();
        soon("more lines", || (lines_written() > seen + 200).then_some(()));
        world.kill9();
        // Lines that nobody takes for a while.
        thread::sleep(Duration::from_millis(300));
        world.start();
    }
    let enough = lines_written();
    let log = soon("all of its lines", || {
        let log = ada.ssh(&["logs", "shop", "-p", "web", "-n", "1000000"]).ok();
        log.contains(&format!("line {enough}\n")).then_some(log)
    });
    let numbers = log.lines().filter_map(|line| line.rsplit_once("line ")?.1.parse::<usize>().ok());
    for (expected, number) in numbers.enumerate() {
        assert_eq!(number, expected, "a line was lost or repeated");
    }
}

#[test]
fn an_image_build_that_was_cut_off_is_undone_at_the_next_start() {
    let world = World::with_docker();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::dockerfile("web"));
    repo.push("shop").accepted();
    let before = world.settled("shop");
    let unique = format!("9{}", std::process::id());
    repo.write("Dockerfile", &format!("FROM {BUSYBOX}\nRUN echo compiling for long; sleep {unique}\n"))
        .commit();
    let push = repo.push_live("shop");
    push.wait_for("compiling for long");
    world.kill9();
    assert_ne!(push.end().code, Some(0), "the pusher is not told that all is well");
    world.start();
    assert_eq!(world.get("shop", "/").body, "web");
    world.assert_nothing_left("shop", &before);
    soon("the command of the build to end", || (!runs_anywhere(&unique)).then_some(()));
    assert!(
        ada.ssh(&["logs", "shop"])
            .ok()
            .contains("failed: the agent was stopped in the middle of the deployment")
    );
}

/// Whether `sleep WORD` runs on this host, in a container or not.
fn runs_anywhere(word: &str) -> bool {
    let commands = std::fs::read_dir("/proc").unwrap().flatten();
    let mut commands = commands.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let wanted = format!("sleep\0{word}\0");
    commands.any(|command| command.starts_with(wanted.as_bytes()))
}

#[test]
fn a_candidate_container_that_was_cut_off_is_removed_at_the_next_start() {
    let world = World::with_docker();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::dockerfile("web"));
    repo.push("shop").accepted();
    let before = world.settled("shop");
    repo.write("Dockerfile", &format!("FROM {BUSYBOX}\nCMD echo never ready; exec sleep 1000\n")).commit();
    let push = repo.push_live("shop");
    push.wait_for("Starting shop v2");
    soon("the candidate", || (world.containers("shop").len() == 2).then_some(()));
    world.kill9_and_restart();
    assert_ne!(push.end().code, Some(0));
    assert_eq!(world.get("shop", "/").body, "web");
    world.assert_nothing_left("shop", &before);
}

#[test]
fn whenever_the_agent_is_killed_what_git_has_and_what_is_live_are_the_same_in_containers() {
    let world = World::with_docker();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::dockerfile_with("COPY www/cgi-bin/rev /www/cgi-bin/rev", "web"));
    repo.write("www/cgi-bin/rev", "#!/bin/sh\necho Content-Type: text/plain\necho\nprintf %s $GIT_REV\n")
        .commit();
    repo.push("shop").accepted();
    for delay in [300, 900, 1800] {
        let new = repo.commit();
        let push = repo.push_live("shop");
        // Not a wait for something: the moment of the blow.
        thread::sleep(Duration::from_millis(delay));
        world.kill9_and_restart();
        let was_told = push.end().code == Some(0);
        let head = world.head("shop");
        assert_eq!(world.get("shop", "/cgi-bin/rev").body, head, "after {delay} ms");
        assert!(!was_told || head == new, "a pusher who was told so is live (after {delay} ms)");
        let state = world.settled("shop");
        assert_eq!(state.made.containers.len(), 1, "after {delay} ms: {state:#?}");
    }
    repo.commit();
    repo.push("shop").accepted();
    assert_eq!(world.get("shop", "/cgi-bin/rev").body, repo.head());
}
