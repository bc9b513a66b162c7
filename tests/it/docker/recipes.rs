//! Every kind of app of the recipes as an image: built from a generated Dockerfile, run without root, with nothing of
//! the host inside.

use crate::world::{World, soon};

/// Who it runs as is not root, and what it sees is the image's.
#[track_caller]
fn nothing_of_the_host(world: &World, app: &str) {
    let container = world.container(app);
    let seen = world.inside(&container, "id -u; echo; ls -a / /app 2>/dev/null; env");
    assert_ne!(seen.lines().next(), Some("0"), "it does not run as root:\n{seen}");
    let own = world.data_dir().display().to_string();
    assert!(!seen.contains(&own) && !seen.contains("AUTOSTACK_"), "nothing of the host:\n{seen}");
    assert_eq!(world.docker().ok(&["inspect", "--format", "{{len .Mounts}}", &container.id]), "0");
    assert!(
        world.instances(app).iter().all(|it| !it.command.contains("autostack shim")),
        "no shim of the host"
    );
}

#[test]
fn node_with_npm_dependencies_as_an_image() {
    let world = World::with_docker();
    let ada = world.developer("ada");
    let repo = ada.app("node-express");
    // A connection that a busy machine's engine has lost is given up after seconds, not after npm's five minutes.
    repo.write(".npmrc", "fetch-timeout=10000\nfetch-retries=5\nfetch-retry-mintimeout=500\n");
    repo.commit();
    repo.push("shop").accepted().says(&["-----> Node.js app detected", "npm ci"]);
    assert_eq!(world.get("shop", "/").body, "Hello from Express\n");
    nothing_of_the_host(&world, "shop");

    repo.write("server.js", &repo.read("server.js").replace("Hello", "Good day"));
    repo.commit();
    repo.push("shop").accepted();
    assert_eq!(world.get("shop", "/").body, "Good day from Express\n");
}

#[test]
fn python_with_requirements_as_an_image() {
    let world = World::with_docker();
    let ada = world.developer("ada");
    ada.app("python-flask").push("shop").accepted().says(&["gunicorn"]);
    assert_eq!(world.get("shop", "/").body, "Hello from Flask\n");
    nothing_of_the_host(&world, "shop");
}

#[test]
fn a_static_site_leaves_the_image_and_needs_no_container() {
    let world = World::with_docker();
    let ada = world.developer("ada");
    let repo = ada.app("static-site");
    repo.push("site").accepted();
    assert!(world.get("site", "/").body.contains("Hello from a static site"));
    assert_eq!(world.get("site", "/no/such/page").status, 404);
    assert!(world.containers("site").is_empty(), "nothing runs for a site of files");

    repo.write("index.html", "<h1>Hello again</h1>").commit();
    repo.push("site").accepted();
    assert!(world.get("site", "/").body.contains("Hello again"));
}

#[test]
fn procfile_with_release_web_and_workers_as_an_image() {
    let world = World::with_docker();
    let ada = world.developer("ada");
    let repo = ada.app("procfile-only");
    repo.write("release.py", "import os\nprint('release command ran in', os.environ['DYNO'])\n").commit();
    repo.push("shop")
        .accepted()
        .says(&["release command ran in release.1", "Starting shop v1: web=1 worker=2"]);
    assert_eq!(world.get("shop", "/").body, "Hello from web\n");
    nothing_of_the_host_in_all(&world, "shop");
    soon("the workers' lines", || {
        let log = ada.ssh(&["logs", "shop", "-p", "worker"]).ok();
        (log.contains("app[worker.1]: worker runs") && log.contains("app[worker.2]: worker runs"))
            .then_some(())
    });
}

#[track_caller]
fn nothing_of_the_host_in_all(world: &World, app: &str) {
    let containers = world.containers(app);
    assert_eq!(containers.len(), 3, "{containers:#?}");
    for container in containers {
        assert_ne!(world.inside(&container, "id -u"), "0", "{container:?} does not run as root");
    }
}
