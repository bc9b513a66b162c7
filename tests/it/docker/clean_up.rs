//! What is no longer needed goes; what is not the agent's own is never touched.

use std::collections::BTreeSet;

use crate::world::{
    Docker, Options, World, apps,
    engine::{BUSYBOX, Container, DEBIAN, Made},
    soon,
};

#[test]
fn old_images_go_and_the_kept_ones_stay() {
    let world = Options::default().docker(&Docker::of_this_host()).set("releases.keep", "2").start();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::dockerfile("release 1"));
    for number in 1..=4 {
        repo.write("www/index.html", &format!("release {number}")).commit();
        repo.push("shop").accepted();
        assert_eq!(world.get("shop", "/").body, format!("release {number}"));
    }
    soon("the old images to go", || (world.made().images.len() <= 2).then_some(()));
    assert_eq!(world.get("shop", "/").body, "release 4");
}

/// Things on the engine that look much like the agent's, and are not. Removed at the end.
struct Foreign<'d> {
    docker: &'d Docker,
    name: String,
}

impl<'d> Foreign<'d> {
    fn make(docker: &'d Docker) -> Self {
        let name = format!("autostack-foreign-{}", std::process::id());
        let labels = ["--label", "autostack.agent=0123456789abcdef", "--label", "autostack.app=shop"];
        docker.ok(&[&["network", "create"][..], &labels, &[&name]].concat());
        docker.ok(&[&["volume", "create"][..], &labels, &[&name]].concat());
        // One with another agent's mark, one without any.
        let (marked, plain) = (format!("{name}-marked"), format!("{name}-plain"));
        let run = |container: &str, labels: &[&str]| {
            let own = ["--network", &name, "--volume", &format!("{name}:/data"), BUSYBOX, "sleep", "1000"];
            docker.ok(&[&["run", "--detach", "--init", "--name", container][..], labels, &own].concat());
        };
        run(&marked, &labels);
        run(&plain, &[]);
        docker.ok(&[
            "commit",
            "--change",
            "LABEL autostack.agent=0123456789abcdef autostack.app=shop",
            &plain,
            &format!("{name}:1"),
        ]);
        docker.ok(&["tag", &format!("{name}:1"), &format!("{name}-too/shop:1")]);
        Self { docker, name }
    }

    /// Everything of it, with its state.
    fn seen(&self) -> [BTreeSet<String>; 4] {
        let name = format!("name={}", self.name);
        let lines =
            |words: &[&str]| self.docker.ok(words).lines().map(str::to_owned).collect::<BTreeSet<_>>();
        let mut images = lines(&["images", "--format", "{{.ID}} {{.Repository}}:{{.Tag}}"]);
        images.retain(|line| line.contains(&self.name));
        [
            lines(&["ps", "--all", "--filter", &name, "--format", "{{.ID}} {{.Names}} {{.State}}"]),
            lines(&["network", "ls", "--filter", &name, "--format", "{{.ID}} {{.Name}}"]),
            lines(&["volume", "ls", "--filter", &name, "--format", "{{.Name}}"]),
            images,
        ]
    }
}

impl Drop for Foreign<'_> {
    fn drop(&mut self) {
        let name = |suffix: &str| format!("{}{suffix}", self.name);
        let words = [
            vec!["rm", "--force", &name("-marked"), &name("-plain")],
            vec!["rmi", "--force", &name(":1"), &name("-too/shop:1")],
            vec!["volume", "rm", &self.name],
            vec!["network", "rm", &self.name],
        ]
        .map(|words| words.into_iter().map(str::to_owned).collect::<Vec<_>>());
        for words in words {
            let _removed = self.docker.run(&words.iter().map(String::as_str).collect::<Vec<_>>());
        }
    }
}

#[test]
fn what_belongs_to_others_is_never_touched() {
    let docker = Docker::of_this_host();
    let foreign = Foreign::make(&docker);
    let before = foreign.seen();
    assert!(before.iter().all(|kind| !kind.is_empty()), "{before:#?}");

    let world = Options::default().docker(&docker).set("releases.keep", "1").start();
    let neighbour = World::with_docker();
    let (ada, bob) = (world.developer("ada"), neighbour.developer("bob"));
    bob.app_of(apps::dockerfile("the neighbour")).push("shop").accepted();
    let theirs = neighbour.settled("shop");

    let repo = ada.app_of(apps::dockerfile("first"));
    repo.push("shop").accepted();
    repo.write("www/index.html", "second").commit();
    repo.push("shop").accepted();
    world.kill9_and_restart();
    assert_eq!(world.get("shop", "/").body, "second");
    ada.ssh(&["apps:destroy", "shop", "--force"]).ok();
    soon("everything of the app to go", || (world.made() == Made::default()).then_some(()));
    world.kill9_and_restart();

    assert_eq!(foreign.seen(), before);
    neighbour.assert_nothing_left("shop", &theirs);
    assert_eq!(neighbour.get("shop", "/").body, "the neighbour");
}

#[test]
fn an_app_of_containers_is_destroyed_without_a_trace() {
    let world = World::with_docker();
    let ada = world.developer("ada");
    let before = world.state("other");
    let repo = ada.app_of(apps::dockerfile("web"));
    repo.write("Procfile", "worker: exec sleep 1000\n").commit();
    repo.push("shop").accepted();
    assert!(!world.made().images.is_empty());
    ada.ssh(&["apps:destroy", "shop", "--force"]).ok();
    assert_eq!(world.get("shop", "/").status, 404);
    soon("the engine to be empty of it", || (world.made() == Made::default()).then_some(()));
    world.assert_nothing_left("other", &before);
    ada.app_of(apps::dockerfile("again")).push("shop").accepted();
    assert_eq!(world.get("shop", "/").body, "again", "the name is free again");
}

/// A web server that answers with a word, in an image that has Python to look around with.
fn python(word: &str) -> apps::Files {
    let command = "CMD cd /www && exec python3 -m http.server 8080";
    vec![
        ("Dockerfile", format!("FROM {DEBIAN}\nCOPY www /www\nEXPOSE 8080\n{command}\n")),
        ("www/index.html", word.into()),
    ]
}

#[test]
fn e7_apps_cannot_reach_each_other_nor_the_agent() {
    let world = World::with_docker();
    let ada = world.developer("ada");
    ada.app_of(python("one")).push("one").accepted();
    ada.app_of(python("two")).push("two").accepted();
    let (one, two) = (world.container("one"), world.container("two"));
    let of = |container: &Container, field: &str| {
        let format = format!("{{{{range .NetworkSettings.Networks}}}}{{{{.{field}}}}}{{{{end}}}}");
        world.docker().ok(&["inspect", "--format", &format, &container.id])
    };
    // Who answers counts: the engine of another test may use the same addresses.
    let answer = |from: &Container, host: &str| {
        let get = format!("urllib.request.urlopen(\"http://{host}:8080/\", timeout=2).read().decode()");
        let script = format!("import urllib.request; print({get})");
        let output = world.docker().run(&["exec", &from.id, "python3", "-c", &script]);
        (output.code == Some(0)).then(|| output.stdout.trim().to_owned())
    };
    let reached = |from: &Container, host: &str, port: u16| {
        let connect = format!("socket.create_connection((\"{host}\", {port}), 2)");
        world.docker().run(&["exec", &from.id, "python3", "-c", &format!("import socket; {connect}")]).code
            == Some(0)
    };
    let address = of(&two, "IPAddress");
    assert_eq!(answer(&two, &address).as_deref(), Some("two"), "it is there");
    assert_ne!(answer(&one, &address).as_deref(), Some("two"), "another app, by its address");
    assert!(!reached(&one, "two", 8080), "another app, by its name");
    assert!(!reached(&one, "127.0.0.1", world.http().port()), "the loopback of the host");
}

#[test]
fn a_change_of_backend_keeps_old_releases_running() {
    let world = Options::default().docker(&Docker::of_this_host()).set("runtime.backend", "process").start();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::node("a process"));
    repo.push("shop").accepted();
    let before = world.settled("shop");
    assert_eq!((before.made.containers.len(), before.instances.len()), (0, 1), "{before:#?}");

    assert!(world.stop().success());
    world.set("runtime.backend", "docker");
    world.start();
    assert_eq!(world.get("shop", "/").body, "a process");
    assert_eq!(world.state("shop").processes, before.processes, "the very same one");

    repo.write("server.js", &repo.read("server.js").replace("a process", "a container")).commit();
    repo.push("shop").accepted();
    assert_eq!(world.get("shop", "/").body, "a container");
    soon("the process to be gone", || world.instances("shop").is_empty().then_some(()));
    world.container("shop");
}
