//! A Dockerfile goes live: ports, process types, release command, redeploys.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use crate::world::{Connection, World, apps, engine::BUSYBOX, soon};

#[test]
fn a_dockerfile_goes_live_and_a_second_push_replaces_it() {
    let world = World::with_docker();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::dockerfile_with("RUN echo a word from the build", "first"));
    let push = repo.push("shop").accepted();
    push.clone().says(&["Dockerfile", "a word from the build", "=====> Application deployed:"]);
    assert!(push.said().iter().all(|line| !line.starts_with(" !     ")), "nothing is wrong: {}", push.screen);
    assert_eq!(world.get("shop", "/").body, "first");

    let container = world.container("shop");
    assert_eq!((container.release.as_str(), container.process.as_str()), ("1", "web"), "{container:?}");
    let env = world.get("shop", "/cgi-bin/env").body;
    for line in ["APP_NAME=shop", "DYNO=web.1", "PORT=8080", &format!("GIT_REV={}", repo.head())] {
        assert!(env.lines().any(|it| it == line), "{line} is missing in\n{env}");
    }
    assert!(!env.contains("AUTOSTACK_"), "nothing of the agent's own:\n{env}");

    repo.write("www/index.html", "second").commit();
    repo.push("shop").accepted();
    assert_eq!(world.get("shop", "/").body, "second");
    let state = world.settled("shop");
    assert_eq!(state.made.containers.len(), 1, "the first release is gone: {state:#?}");
    assert_eq!(state.made.containers.first().unwrap().release, "2");
    assert_eq!(state.made.networks.len(), 1, "one network for the app: {state:#?}");
}

#[test]
fn a_container_is_confined() {
    let world = World::with_docker();
    let ada = world.developer("ada");
    ada.app_of(apps::dockerfile("web")).push("shop").accepted();
    let container = world.container("shop");
    let inspect = |format: &str| world.docker().ok(&["inspect", "--format", format, &container.id]);
    assert_eq!(
        inspect("{{.HostConfig.Privileged}} {{.HostConfig.NetworkMode}}").split(' ').next(),
        Some("false")
    );
    assert!(inspect("{{.HostConfig.SecurityOpt}}").contains("no-new-privileges"));
    assert_eq!(inspect("{{.HostConfig.Init}}"), "true");
    assert_eq!(inspect("{{.HostConfig.RestartPolicy.Name}}"), "no", "restarts are the supervisor's");
    assert_eq!(inspect("{{.HostConfig.Memory}}"), (1024 * 1024 * 1024).to_string());
    assert_eq!(inspect("{{.HostConfig.PidsLimit}}"), "1024");
    assert_eq!(inspect("{{len .Mounts}}"), "0", "nothing of the host is inside");
    let status = world.inside(&container, "cat /proc/1/status; ls /var/run 2>&1; id -u");
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    assert!(!status.contains("docker.sock"), "{status}");
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:\t")).unwrap();
    let effective = u64::from_str_radix(effective, 16).unwrap();
    for (capability, number) in [("NET_RAW", 13), ("MKNOD", 27), ("SYS_ADMIN", 21), ("SYS_PTRACE", 19)] {
        assert_eq!(effective >> number & 1, 0, "{capability} is dropped");
    }
}

#[test]
fn the_procfile_wins_over_the_images_own_command() {
    let world = World::with_docker();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::dockerfile("web"));
    repo.write("www/other/index.html", "another folder");
    // The port that is exposed is the one in PORT, too.
    repo.write(
        "Procfile",
        "web: echo serving on $PORT; exec httpd -f -p $PORT -h /www/other\n\
         worker: trap 'echo worker ends; exit 0' TERM; echo worker runs in $DYNO; while :; do sleep 0.1; done\n\
         release: echo release command ran in $DYNO; test -f /www/index.html\n",
    );
    repo.commit();
    let push = repo.push("shop").accepted();
    let said = push.said();
    let at = |text: &str| {
        let found = said.iter().position(|line| line.contains(text));
        found.unwrap_or_else(|| panic!("{text:?} is not said:\n{}", push.screen))
    };
    assert!(at("Running release command") < at("       release command ran in release.1"), "{}", push.screen);
    assert!(at("       release command ran in release.1") < at("Starting shop v1"), "{}", push.screen);
    assert_eq!(world.get("shop", "/").body, "another folder");
    soon("the lines of both", || {
        let log = ada.ssh(&["logs", "shop"]).ok();
        (log.contains("app[worker.1]: worker runs in worker.1")
            && log.contains("app[web.1]: serving on 8080"))
        .then_some(())
    });
    let processes: Vec<_> = world.containers("shop").into_iter().map(|it| it.process).collect();
    assert_eq!(processes.len(), 2, "the release command's container is gone: {processes:?}");

    repo.commit();
    repo.push("shop").accepted();
    world.settled("shop");
    soon("the last word of the old worker", || {
        ada.ssh(&["logs", "shop", "-p", "worker"]).ok().contains("worker ends").then_some(())
    });
}

#[test]
fn an_image_without_an_exposed_port_listens_on_port() {
    let world = World::with_docker();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::dockerfile("web"));
    repo.write("Dockerfile", &format!("FROM {BUSYBOX}\nCOPY www /www\nCMD exec httpd -f -p $PORT -h /www\n"))
        .commit();
    repo.push("shop").accepted();
    assert_eq!(world.get("shop", "/").body, "web");
}

#[test]
fn no_request_is_lost_over_redeploys_of_containers() {
    let world = World::with_docker();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::dockerfile("release"));
    repo.push("shop").accepted();
    let done = AtomicBool::new(false);
    let asked = thread::scope(|scope| {
        let new_connections = scope.spawn(|| {
            let mut count = 0;
            while !done.load(Ordering::Relaxed) {
                assert_eq!(world.get("shop", "/").status, 200);
                count += 1;
            }
            count
        });
        let one_connection = scope.spawn(|| {
            let mut count = 0;
            let mut connection = Connection::open(world.http()).unwrap();
            while !done.load(Ordering::Relaxed) {
                connection.get(&world.host("shop"), "/", &[]).unwrap();
                assert_eq!(connection.response().unwrap().status, 200);
                count += 1;
            }
            count
        });
        for number in 0..3 {
            repo.write("www/index.html", &format!("release {number}")).commit();
            repo.push("shop").accepted();
        }
        done.store(true, Ordering::Relaxed);
        (new_connections.join().unwrap(), one_connection.join().unwrap())
    });
    assert!(asked.0 > 10 && asked.1 > 10, "{asked:?}");
    assert_eq!(world.get("shop", "/").body, "release 2");
}

#[test]
fn a_container_that_dies_is_started_again() {
    let world = World::with_docker();
    let ada = world.developer("ada");
    ada.app_of(apps::dockerfile("web")).push("shop").accepted();
    let container = world.container("shop");
    world.docker().ok(&["kill", &container.id]);
    soon("a successor that answers", || {
        world.try_get("shop", "/").ok().filter(|answer| answer.status == 200)
    });
    let successor = world.container("shop");
    assert_ne!(successor.id, container.id);
    assert_eq!(world.settled("shop").made.containers.len(), 1, "the dead one is cleared away");
}
