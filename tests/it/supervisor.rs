//! Instances that end by themselves: started again, with a pause that grows, and called by name.

use nix::sys::signal::Signal;

use crate::world::{World, apps, soon};

#[test]
fn an_instance_that_was_killed_is_started_again_and_its_route_recovers() {
    let world = World::new();
    let ada = world.developer("ada");
    let files =
        apps::procfile("web: exec node server.js\nworker: echo worker of $GIT_REV; exec sleep 1000\n");
    let repo = ada.app_of(files);
    repo.write("server.js", &repo.read("server.js").replace("\"web\"", "String(process.pid)")).commit();
    repo.push("shop").accepted();
    let pid = world.get("shop", "/").body;
    let before = world.settled("shop");

    let of = |dyno: &str| {
        let found = world
            .instances("shop")
            .into_iter()
            .find(|process| process.variable("DYNO").as_deref() == Some(dyno));
        found.unwrap()
    };
    of("web.1").signal(Signal::SIGKILL);
    let new = soon("another process to answer", || {
        let answer = world.try_get("shop", "/").ok()?;
        (answer.status == 200 && answer.body != pid).then_some(answer.body)
    });
    assert_ne!(new, pid);
    of("worker.1").signal(Signal::SIGKILL);
    soon("both to be said and started again", || {
        let log = ada.ssh(&["logs", "shop"]).ok();
        let said = [
            "web.1 was killed by signal 9 (SIGKILL); it is started again in",
            "worker.1 was killed by signal 9",
            "web.1 is up",
            "worker.1 is up",
        ];
        said.iter().all(|text| log.contains(text)).then_some(())
    });
    let after = world.settled("shop");
    assert_eq!(
        (after.instances.len(), after.ports.len()),
        (before.instances.len(), before.ports.len()),
        "{after:#?}"
    );
    assert_eq!(ada.ssh(&["logs", "shop", "-p", "worker"]).ok().matches("worker of").count(), 2);
}

#[test]
fn a_crash_loop_is_named_and_a_push_ends_it() {
    let world = World::new();
    let ada = world.developer("ada");
    let marker = world.folder().join("broken");
    let program = format!(
        r#"const fs = require("node:fs");
if (fs.existsSync("{0}")) {{ console.log("cannot start today"); process.exit(3); }}
require("node:http").createServer((request, response) => {{
  if (request.url === "/crash") {{ fs.writeFileSync("{0}", ""); process.exit(3); }}
  response.end("well");
}}).listen(process.env.PORT);
"#,
        marker.display()
    );
    let repo = ada.app_of(apps::node_program(&program));
    repo.push("shop").accepted();
    // Without an answer the proxy may ask again, and finds nobody.
    assert!(matches!(world.get("shop", "/crash").status, 502 | 503));
    soon("its end to be noticed", || (world.get("shop", "/").status == 503).then_some(()));
    let log = soon("the crash loop to be named", || {
        let log = ada.ssh(&["logs", "shop"]).ok();
        log.contains("web.1 is in a crash loop").then_some(log)
    });
    assert!(log.contains("exited with code 3") && log.contains("cannot start today"), "{log}");
    let restarts = log.lines().filter(|line| line.contains("it is started again in")).count();
    assert!((1..=6).contains(&restarts), "the pauses grow: {log}");

    repo.write("server.js", &apps::node("mended").remove(1).1).commit();
    repo.push("shop").accepted();
    assert_eq!(world.get("shop", "/").body, "mended");
    let state = world.settled("shop");
    assert_eq!((state.instances.len(), state.ports.len()), (1, 1), "{state:#?}");
}
