//! Every kind of app of the first recipes, with its real package manager, from `git push` to the answer.

use crate::world::{World, soon};

#[test]
fn node_with_npm_dependencies() {
    let world = World::new();
    let ada = world.developer("ada");
    let repo = ada.app("node-express");
    let push = repo.push("shop").accepted();
    assert!(
        push.said().iter().any(|line| line.contains("npm ci")),
        "the lock file is respected: {}",
        push.screen
    );
    assert_eq!(world.get("shop", "/").body, "Hello from Express\n");
    assert!(!repo.path().join("node_modules").exists(), "built from the commit, not from the working copy");

    repo.write("server.js", &repo.read("server.js").replace("Hello", "Good day"));
    repo.commit();
    repo.push("shop").accepted();
    assert_eq!(world.get("shop", "/").body, "Good day from Express\n");
}

#[test]
fn python_with_requirements_wsgi() {
    let world = World::new();
    let ada = world.developer("ada");
    let push = ada.app("python-flask").push("shop").accepted();
    assert!(push.said().iter().any(|line| line.contains("gunicorn")), "{}", push.screen);
    assert_eq!(world.get("shop", "/").body, "Hello from Flask\n");
}

#[test]
fn python_with_requirements_asgi() {
    let world = World::new();
    let ada = world.developer("ada");
    let push = ada.app("python-fastapi").push("shop").accepted();
    assert!(push.said().iter().any(|line| line.contains("uvicorn")), "{}", push.screen);
    assert_eq!(world.get("shop", "/").body, "Hello from FastAPI\n");
}

#[test]
fn static_sites_are_served_without_a_child() {
    let world = World::new();
    let ada = world.developer("ada");
    ada.app("static-site").push("site").accepted();
    let page = world.get("site", "/");
    assert_eq!(page.status, 200);
    assert!(page.body.contains("Hello from a static site"));
    assert_eq!(page.header("content-type").map(|kind| kind.starts_with("text/html")), Some(true));
    assert_eq!(
        world.get("site", "/style.css").header("content-type").map(|kind| kind.starts_with("text/css")),
        Some(true)
    );
    let missing = world.get("site", "/no/such/page");
    assert_eq!(missing.status, 404);
    assert!(missing.body.contains("There is no such page"), "the site's own page: {}", missing.body);
    for path in [
        "/../../keys/store.key",
        "/..%2f..%2fkeys/store.key",
        "/%2e%2e/%2e%2e/keys/store.key",
        "/.git/config",
    ] {
        let answer = world.get("site", path);
        assert!(matches!(answer.status, 400 | 404), "e5: {path} gives {}", answer.status);
    }

    ada.app("static-spa").push("spa").accepted();
    for path in ["/", "/any/deep/link"] {
        let answer = world.get("spa", path);
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.body.contains("Hello from a single-page app"), "{path}");
    }
    assert!(world.state("site").processes.is_empty(), "nothing runs for a site of files");

    let second = ada.app("static-site");
    second.write("index.html", "<h1>Hello again</h1>").commit();
    second.push_with("site", &["--force"], &["HEAD:refs/heads/main"]).accepted();
    assert!(world.get("site", "/").body.contains("Hello again"));
}

#[test]
fn procfile_with_release_web_and_workers() {
    let world = World::new();
    let ada = world.developer("ada");
    let repo = ada.app("procfile-only");
    repo.write("release.py", "import os, pathlib\npathlib.Path('released').write_text(os.environ['DYNO'])\nprint('release command ran')\n");
    repo.write(
        "serve.py",
        &repo.read("serve.py").replace("class Hello", "released = open('released').read()\n\n\nclass Hello"),
    );
    repo.commit();
    let push = repo.push("shop").accepted();
    let said = push.said();
    let at = |text: &str| {
        let found = said.iter().position(|line| line.contains(text));
        found.unwrap_or_else(|| panic!("{text:?} is not said:\n{}", push.screen))
    };
    assert!(at("Running release command") < at("release command ran"), "{}", push.screen);
    assert!(at("release command ran") < at("Starting shop v1: web=1 worker=2"), "{}", push.screen);
    assert_eq!(world.get("shop", "/").body, "Hello from web\n", "the release command ran before the start");

    let mut dynos: Vec<String> =
        world.instances("shop").iter().filter_map(|it| it.variable("DYNO")).collect();
    dynos.sort();
    dynos.dedup();
    assert_eq!(dynos, ["web.1", "worker.1", "worker.2"]);
    soon("the workers' lines", || {
        let log = ada.ssh(&["logs", "shop", "-p", "worker"]).ok();
        (log.contains("app[worker.1]: worker runs") && log.contains("app[worker.2]: worker runs"))
            .then_some(())
    });
    assert!(!ada.ssh(&["logs", "shop", "-p", "web"]).ok().contains("worker runs"));

    repo.commit();
    repo.push("shop").accepted();
    let state = world.settled("shop");
    assert_eq!(state.instances.len(), 3, "all process types were replaced together: {state:#?}");
    assert!(ada.ssh(&["logs", "shop"]).ok().contains("worker ends"), "the old workers were asked to end");
}
