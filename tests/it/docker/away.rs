//! The engine is not there, may not be used, is too old, or goes away in the middle. The push is rejected with one
//! sentence and what shows it; once the engine is back, what should run runs, and nothing else is left.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::{fs::PermissionsExt, net::UnixListener},
    path::Path,
    thread,
};

use crate::world::{Docker, Options, OwnEngine, Repo, World, apps, engine::BUSYBOX, processes, soon};

/// Nobody's user id on every Linux.
const NOBODY: u32 = 65534;

/// Waits until the app answers with `word` again and nothing but one container and its network is in the engine.
#[track_caller]
fn comes_back(world: &World, app: &str, word: &str) {
    soon("the app to be back", || {
        let answer = world.try_get(app, "/").ok()?;
        (answer.status == 200 && answer.body == word).then_some(())
    });
    soon("the engine to be tidy", || {
        let made = world.made();
        let is_tidy = made.containers.len() == 1 && made.networks.len() == 1 && made.volumes.is_empty();
        (is_tidy && made.containers.iter().all(|it| it.state == "running")).then_some(())
    });
}

/// An image that serves `word` from a directory of its own.
fn serves(repo: &Repo<'_>, word: &str) {
    for (name, text) in apps::dockerfile(word) {
        repo.write(name, &text);
    }
    repo.commit();
}

#[test]
fn an_engine_that_is_gone_rejects_pushes_and_takes_nothing_else_down() {
    let engine = OwnEngine::start();
    let world = Options::default().docker(engine.docker()).start();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::dockerfile("web"));
    repo.push("shop").accepted();

    // It is killed; its containers run on, and so does the app.
    engine.kill9();
    serves(&repo, "next");
    let socket = engine.socket().display().to_string();
    let push = repo.push("shop").rejected(&["Failed at ", "container engine", &socket, "Next: "]);
    let sentences = push.said().iter().filter(|line| line.contains("Failed at")).count();
    assert_eq!(sentences, 1, "{}", push.screen);
    assert_eq!(world.get("shop", "/").body, "web", "the release before keeps serving");

    // It comes back, and ends what the one before it has left behind.
    engine.start_again();
    comes_back(&world, "shop", "web");
    repo.push("shop").accepted();
    comes_back(&world, "shop", "next");

    // It is restarted in good order, which ends all of its containers.
    engine.stop();
    engine.start_again();
    comes_back(&world, "shop", "next");
}

#[test]
fn an_engine_that_goes_away_in_the_middle_of_a_build() {
    let engine = OwnEngine::start();
    let world = Options::default().docker(engine.docker()).start();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::dockerfile("web"));
    repo.push("shop").accepted();
    let images = world.settled("shop").made.images;

    for is_killed in [false, true] {
        let slow = format!("FROM {BUSYBOX}\nRUN echo compiling for long; sleep 1000\n");
        repo.write("Dockerfile", &slow).commit();
        let push = repo.push_live("shop");
        push.wait_for("compiling for long");
        engine.go_away(is_killed);
        Repo::outcome(&push.end()).rejected_at("build", &["container engine"]);
        engine.start_again();
        comes_back(&world, "shop", "web");
        assert_eq!(world.made().images, images, "killed: {is_killed}");
    }
    serves(&repo, "next");
    repo.push("shop").accepted();
    comes_back(&world, "shop", "next");
}

#[test]
fn an_engine_that_goes_away_in_the_middle_of_a_start() {
    let engine = OwnEngine::start();
    let world = Options::default().docker(engine.docker()).start();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::dockerfile("web"));
    repo.push("shop").accepted();

    for is_killed in [true, false] {
        repo.write("Dockerfile", &format!("FROM {BUSYBOX}\nCMD echo never ready; exec sleep 1000\n"))
            .commit();
        let push = repo.push_live("shop");
        push.wait_for("Starting shop v2");
        soon("the candidate", || (world.containers("shop").len() == 2).then_some(()));
        engine.go_away(is_killed);
        Repo::outcome(&push.end()).rejected(&["Failed at ", "Next: "]);
        engine.start_again();
        comes_back(&world, "shop", "web");
    }
}

/// Neither knows when the other will be back.
#[test]
fn engine_and_agent_are_killed_together() {
    let engine = OwnEngine::start();
    let world = Options::default().docker(engine.docker()).start();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::dockerfile("web"));
    repo.push("shop").accepted();
    engine.kill9();
    world.kill9();
    // The agent is back first: it serves nothing yet, and it does not give up.
    world.start();
    assert_ne!(world.get("shop", "/").status, 404, "the app is known");
    engine.start_again();
    comes_back(&world, "shop", "web");
}

#[test]
fn a_socket_that_the_agent_may_not_use_is_told_apart_from_none() {
    let shared = Docker::of_this_host();
    let socket = shared.host().trim_start_matches("unix://").to_owned();
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o007, 0, "everybody may use {socket}: that is no engine to test with");
    let world = Options::default().docker(&shared).run_by(NOBODY).start();
    let ada = world.developer("ada");
    ada.app_of(apps::dockerfile("web"))
        .push("shop")
        .rejected(&["Failed at ", "container engine", &socket, "Next: "])
        .says(&["nobody"]);
}

#[test]
fn an_engine_that_is_too_old_or_not_there_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let old = folder.path().join("old.sock");
    answer_as_docker_18(&old);
    let world = Options::default().docker(&Docker::at(&format!("unix://{}", old.display()))).start();
    let ada = world.developer("ada");
    ada.app_of(apps::dockerfile("web")).push("shop").rejected(&["Failed at ", "1.38", "1.41", "Next: "]);
    forget_engine(&world);

    let nothing = folder.path().join("none.sock");
    let world = Options::default().docker(&Docker::at(&format!("unix://{}", nothing.display()))).start();
    let ada = world.developer("ada");
    ada.app_of(apps::dockerfile("web")).push("shop").rejected(&[
        "Failed at ",
        &nothing.display().to_string(),
        "docker.host",
        "Next: ",
    ]);
    assert!(processes::inside(world.data_dir()).len() < 3, "the agent serves on");
    forget_engine(&world);
}

/// There is nothing to ask an engine about at the end that was never one.
fn forget_engine(world: &World) {
    std::fs::remove_file(world.data_dir().join("keys/engine.id")).unwrap();
}

/// Answers every request as an engine of 2018 answers a question for its version.
fn answer_as_docker_18(socket: &Path) {
    let listener = UnixListener::bind(socket).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = BufReader::new(stream.try_clone().unwrap()).lines();
            while request.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let body = r#"{"Version":"18.06.3-ce","ApiVersion":"1.38","MinAPIVersion":"1.12","Os":"linux","Arch":"amd64","GoVersion":"go1.10.3","GitCommit":"d7080c1","KernelVersion":"4.9"}"#;
            let head = format!(
                "HTTP/1.1 200 OK\r\nApi-Version: 1.38\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _gone = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
        }
    });
}
