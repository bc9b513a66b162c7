//! Containers that must not go live: what an image does wrong at its start, and what its developer reads.

use crate::world::{Docker, Options, World, apps, engine::BUSYBOX, soon};

#[test]
fn starts_of_containers_that_go_wrong_are_told_apart() {
    let world = Options::default().docker(&Docker::of_this_host()).set("deploy.start_timeout", "4s").start();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::dockerfile("web"));
    let before = world.first_live(&repo);
    let cases: [(&str, &[&str]); 6] = [
        (
            "CMD echo starting up; echo it broke >&2; exit 42",
            &["exited with code 42", "| starting up", "| it broke"],
        ),
        ("CMD [\"no-such-program\"]", &["no-such-program"]),
        ("CMD echo done", &["exited with code 0"]),
        (
            "EXPOSE 8080\nCMD echo waiting for nothing; exec sleep 1000",
            &["did not get ready within 4 s", "| waiting for nothing", "8080"],
        ),
        ("EXPOSE 8080\nCMD exec httpd -f -p 127.0.0.1:8080", &["127.0.0.1", "0.0.0.0"]),
        ("EXPOSE 8080\nCMD exec httpd -f -p 9999", &["9999", "8080"]),
    ];
    for (lines, words) in cases {
        repo.write("Dockerfile", &format!("FROM {BUSYBOX}\n{lines}\n")).commit();
        repo.push("shop").rejected_at("health", words);
        assert_eq!(world.get("shop", "/").body, "web", "the release before keeps serving");
        world.assert_nothing_left("shop", &before);
    }
}

/// Holds 200 MB in the memory of one process, which takes the place of the shell.
const GREEDY: &str = "exec tail -c 200000000 /dev/zero";

#[test]
fn a_container_that_is_killed_for_its_memory_is_told_so() {
    let world =
        Options::default().docker(&Docker::of_this_host()).set("runtime.memory_bytes_max", "32MiB").start();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::dockerfile("web"));
    let before = world.first_live(&repo);
    repo.write("Procfile", &format!("web: echo begins; {GREEDY}\n")).commit();
    repo.push("shop").rejected_at("health", &["memory", "32 MiB", "| begins"]);
    assert_eq!(world.get("shop", "/").body, "web");
    world.assert_nothing_left("shop", &before);

    // Later, while it serves: it is started again, and the log says why.
    repo.write(
        "Procfile",
        &format!("web: httpd -f -p $PORT -h /www & while [ ! -e /tmp/go ]; do sleep 0.1; done; {GREEDY}\n"),
    )
    .commit();
    repo.push("shop").accepted();
    world.settled("shop");
    let container = world.container("shop");
    world.inside(&container, "touch /tmp/go");
    soon("the word in the log", || ada.ssh(&["logs", "shop"]).ok().contains("32 MiB").then_some(()));
    soon("a successor", || {
        world.containers("shop").iter().any(|it| it.id != container.id && it.state == "running").then_some(())
    });
}

#[test]
fn a_failing_release_command_and_a_failing_worker_in_containers() {
    let world = World::with_docker();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::dockerfile("web"));
    let before = world.first_live(&repo);
    repo.write("Procfile", "web: httpd -f -p $PORT -h /www\nrelease: echo migrating; exit 9\n").commit();
    repo.push("shop")
        .rejected_at("release", &["the release command exited with code 9", "command: echo migrating"])
        .says(&["migrating"]);
    world.assert_nothing_left("shop", &before);

    repo.write("Procfile", "web: httpd -f -p $PORT -h /www\nworker: echo no database here >&2; exit 7\n")
        .commit();
    repo.push("shop").rejected_at("health", &["worker.1 exited with code 7", "| no database here"]);
    assert_eq!(world.get("shop", "/").body, "web");
    world.assert_nothing_left("shop", &before);
}
