//! Images that somebody else has built: by name from a registry, as a `docker save` stream; functions of Lambda.

use autostack_engine::testing::Registry;

use crate::world::{
    Docker, Response, World, apps,
    engine::{BUSYBOX, LAMBDA_PYTHON, Made},
    live, soon,
};

/// An image of a web server that answers with a word, under a name; removed from the engine when dropped.
struct Image<'d> {
    docker: &'d Docker,
    name: String,
}

impl<'d> Image<'d> {
    fn make(docker: &'d Docker, name: &str, word: &str) -> Self {
        let setup = format!("mkdir /www && echo {word} > /www/index.html");
        let container = docker.ok(&["run", "--detach", "--network", "none", BUSYBOX, "sh", "-c", &setup]);
        docker.ok(&["wait", &container]);
        let changes = "CMD [\"httpd\", \"-f\", \"-p\", \"8080\", \"-h\", \"/www\"]";
        docker.ok(&["commit", "--change", changes, "--change", "EXPOSE 8080", &container, name]);
        docker.ok(&["rm", &container]);
        Self { docker, name: name.to_owned() }
    }

    /// Takes it to its registry, with the login in that folder where it needs one; the engine forgets it.
    fn push(self, config: &str) {
        self.docker.ok(&["--config", config, "push", "--quiet", &self.name]);
    }
}

impl Drop for Image<'_> {
    fn drop(&mut self) {
        let repository = self.name.rsplit_once(':').map_or(self.name.as_str(), |(repository, _)| repository);
        let named =
            self.docker.run(&["images", "--digests", "--format", "{{.Repository}}@{{.Digest}}", repository]);
        let by_digest = named.stdout.lines().filter(|name| !name.ends_with("<none>"));
        for name in by_digest.chain([self.name.as_str()]) {
            let _gone_already = self.docker.run(&["rmi", name]);
        }
    }
}

fn says(answer: &Response, word: &str) -> bool {
    answer.status == 200 && answer.body.trim() == word
}

#[test]
fn an_image_from_a_registry_is_pinned_and_goes_live() {
    let world = World::with_docker();
    let docker = world.docker();
    let ada = world.developer("ada");
    let registry = Registry::start(None);
    let name = format!("{}/shop:1", registry.server());
    let config = world.folder().join("login").display().to_string();
    Image::make(docker, &name, "first").push(&config);

    ada.ssh(&["apps:create", "shop"]).ok();
    let deployed = ada.ssh(&["git:from-image", "shop", &name]);
    assert_eq!(deployed.code, Some(0), "{deployed}");
    for said in ["sha256:", "=====> Application deployed:", &world.url("shop")] {
        assert!(deployed.all().contains(said), "{said:?} is not said: {deployed}");
    }
    assert!(says(&world.get("shop", "/"), "first"));

    // The name moves on; what is live stays what it was, also when it has to be started again.
    Image::make(docker, &name, "second").push(&config);
    world.docker().ok(&["kill", &world.container("shop").id]);
    soon("its successor", || world.try_get("shop", "/").ok().filter(|answer| says(answer, "first")));
    ada.ssh(&["git:from-image", "shop", &name]).ok();
    assert!(says(&world.get("shop", "/"), "second"));
    let before = world.settled("shop");

    // An image that is not there, and a registry that is not there: nothing changes.
    let missing = format!("{}/shop:none", registry.server());
    let nowhere = "127.0.0.1:1/shop:1";
    for image in [missing.as_str(), nowhere] {
        let failed = ada.ssh(&["git:from-image", "shop", image]);
        assert_eq!(failed.code, Some(1), "{failed}");
        assert!(failed.all().contains("Failed at ") && failed.all().contains(image), "{failed}");
        assert!(failed.all().contains("Next: "), "{failed}");
        world.assert_nothing_left("shop", &before);
    }
    assert!(says(&world.get("shop", "/"), "second"));
    ada.ssh(&["apps:destroy", "shop", "--force"]).ok();
    soon("everything of the app to go", || (world.made() == Made::default()).then_some(()));
    let images = docker.ok(&["images", "--all", "--format", "{{.Repository}}"]);
    assert!(!images.contains(&registry.server()), "no pulled image is left: {images}");
}

#[test]
fn a_registry_that_asks_for_a_login_gets_it() {
    let world = World::with_docker();
    let docker = world.docker();
    let ada = world.developer("ada");
    let password = "pass word's $end";
    let registry = Registry::start(Some(("robot", password)));
    let name = format!("{}/shop:1", registry.server());
    let config = world.folder().join("login").display().to_string();
    let login = ["--config", &config, "login", "--username", "robot", "--password-stdin", &registry.server()];
    live::run(docker.command(&login), password.as_bytes()).ok();
    Image::make(docker, &name, "behind a login").push(&config);

    ada.ssh(&["apps:create", "shop"]).ok();
    let refused = ada.ssh(&["git:from-image", "shop", &name]);
    assert_eq!(refused.code, Some(1), "{refused}");
    assert!(refused.all().contains("log in to "), "{refused}");
    let words = ["registry:login", "shop", &registry.server(), "robot", "--password-stdin"];
    live::run(ada.ssh_command(&[], &words), password.as_bytes()).ok();
    let report = ada.ssh(&["registry:report", "shop"]).all();
    assert!(report.contains("robot") && !report.contains("pass word"), "{report}");
    let deployed = ada.ssh(&["git:from-image", "shop", &name]);
    assert_eq!(deployed.code, Some(0), "{deployed}");
    assert!(says(&world.get("shop", "/"), "behind a login"));
    assert!(
        !deployed.all().contains("pass word") && !world.log().contains("pass word"),
        "b7: it is never shown"
    );
}

#[test]
fn an_image_that_is_sent_goes_live() {
    let world = World::with_docker();
    let docker = world.docker();
    let ada = world.developer("ada");
    let name = format!("autostack-test/sent-{}:1", std::process::id());
    let archive = world.folder().join("image.tar");
    let image = Image::make(docker, &name, "sent");
    docker.ok(&["save", "--output", &archive.display().to_string(), &name]);
    drop(image);
    let archive = std::fs::read(archive).unwrap();

    ada.ssh(&["apps:create", "shop"]).ok();
    let deployed = live::run(ada.ssh_command(&[], &["git:load-image", "shop", &name]), &archive);
    assert_eq!(deployed.code, Some(0), "{deployed}");
    assert!(says(&world.get("shop", "/"), "sent"));
    let names = docker.ok(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    assert!(!names.contains(&name), "the names in the archive are not taken over: {names}");
    let before = world.settled("shop");

    let torn =
        live::run(ada.ssh_command(&[], &["git:load-image", "shop", &name]), &archive[..archive.len() / 2]);
    let nonsense = live::run(ada.ssh_command(&[], &["git:load-image", "shop", &name]), b"not an archive");
    for failed in [torn, nonsense] {
        assert_eq!(failed.code, Some(1), "{failed}");
        assert!(failed.all().contains("Failed at ") && failed.all().contains("Next: "), "{failed}");
        world.assert_nothing_left("shop", &before);
    }
    assert!(says(&world.get("shop", "/"), "sent"));
}

#[test]
fn a_push_replaces_an_image_from_elsewhere() {
    let world = World::with_docker();
    let ada = world.developer("ada");
    let name = format!("autostack-test/sent-{}:2", std::process::id());
    let image = Image::make(world.docker(), &name, "sent");
    let archive = world.folder().join("image.tar");
    world.docker().ok(&["save", "--output", &archive.display().to_string(), &name]);
    drop(image);
    let archive = std::fs::read(archive).unwrap();
    ada.ssh(&["apps:create", "shop"]).ok();
    live::run(ada.ssh_command(&[], &["git:load-image", "shop", &name]), &archive).ok();
    ada.app_of(apps::dockerfile("pushed")).push("shop").accepted();
    assert!(says(&world.get("shop", "/"), "pushed"));
}

#[test]
fn a_lambda_image_answers_visitors() {
    let world = World::with_docker();
    let ada = world.developer("ada");
    let function = r#"import json

def handler(event, context):
    http = event["requestContext"]["http"]
    print("asked for", event["rawPath"])
    if event["rawPath"] == "/teapot":
        return {"statusCode": 418, "headers": {"x-pot": "tea"}, "body": "short and stout"}
    return {"statusCode": 200, "headers": {"content-type": "application/json"},
            "body": json.dumps({"method": http["method"], "query": event["rawQueryString"], "body": event.get("body")})}
"#;
    let repo = ada.app_of(vec![
        (
            "Dockerfile",
            format!("FROM {LAMBDA_PYTHON}\nCOPY app.py ${{LAMBDA_TASK_ROOT}}/\nCMD [\"app.handler\"]\n"),
        ),
        ("app.py", function.into()),
    ]);
    repo.push("fn").accepted().says(&["Lambda"]);
    let answer = world.get("fn", "/hello?a=1&b=2");
    assert_eq!(answer.status, 200, "{answer:?}");
    let told: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((told["method"].as_str(), told["query"].as_str()), (Some("GET"), Some("a=1&b=2")), "{told}");
    let teapot = world.get("fn", "/teapot");
    assert_eq!(
        (teapot.status, teapot.header("x-pot"), teapot.body.as_str()),
        (418, Some("tea"), "short and stout")
    );

    // A function that cannot be loaded is not live.
    let before = world.settled("fn");
    repo.write("app.py", "import no_such_module\n").commit();
    repo.push("fn").rejected_at("health", &["no_such_module"]);
    world.assert_nothing_left("fn", &before);
    assert_eq!(world.get("fn", "/teapot").status, 418);
}
