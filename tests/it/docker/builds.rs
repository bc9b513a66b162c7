//! Image builds that must not go live, and what a build may see. Each push is rejected with stage, cause, evidence and
//! next step; nothing is left in the engine, and the release before it keeps serving.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::world::{Docker, Options, World, apps, engine::BUSYBOX, soon};

#[test]
fn builds_that_go_wrong_are_told_apart() {
    let world = World::with_docker();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::dockerfile("web"));
    let before = world.first_live(&repo);
    let from = format!("FROM {BUSYBOX}\n");
    let cases: [(String, &str, &[&str]); 6] = [
        (
            format!("{from}RUN echo compiling && echo 'line 3: no such word' >&2 && exit 3\n"),
            "build",
            &["exit code 3", "line 3: no such word", "RUN echo compiling"],
        ),
        (format!("{from}RUNN echo hello\n"), "", &["RUNN", "line 2"]),
        (format!("{from}COPY nothing /here\n"), "build", &["nothing"]),
        ("FROM autostack-test/no-such-image:9\n".to_owned(), "build", &["autostack-test/no-such-image:9"]),
        (
            format!("# syntax=127.0.0.1:1/no/frontend:1\n{from}CMD true\n"),
            "build",
            &["127.0.0.1:1/no/frontend:1", "syntax"],
        ),
        ("# only a comment\n".to_owned(), "", &["Dockerfile"]),
    ];
    for (dockerfile, stage, words) in cases {
        repo.write("Dockerfile", &dockerfile).commit();
        let push = repo.push("shop");
        if stage.is_empty() {
            assert!(!push.screen.contains("Failed at start"), "{}", push.screen);
            push.rejected(words).says(&["Failed at ", "Next: "]);
        } else {
            push.rejected_at(stage, words);
        }
        world.assert_untouched(&before);
    }
}

#[test]
fn ctrl_c_during_an_image_build_leaves_nothing() {
    let world = World::with_docker();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::dockerfile("web"));
    let before = world.first_live(&repo);
    let file = repo.read("Dockerfile");
    repo.write("Dockerfile", &file.replace("EXPOSE", "RUN echo compiling for long; sleep 1000\nEXPOSE"))
        .commit();
    let push = repo.push_live("shop");
    push.wait_for("compiling for long");
    push.signal(Signal::SIGINT);
    world.assert_nothing_left_within("shop", &before, Duration::from_secs(3));
    assert_ne!(push.end().code, Some(0));
    assert_eq!(world.get("shop", "/").body, "web");
    soon("the record of it", || {
        ada.ssh(&["logs", "shop"]).ok().contains("was cancelled at build").then_some(())
    });

    repo.write("Dockerfile", &file).write("www/index.html", "next").commit();
    repo.push("shop").accepted();
    assert_eq!(world.get("shop", "/").body, "next", "the next push is not held up");
}

#[test]
fn an_image_build_that_takes_too_long_is_ended() {
    let world = Options::default().docker(&Docker::of_this_host()).set("build.timeout", "3s").start();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::dockerfile("web"));
    let before = world.first_live(&repo);
    repo.write("Dockerfile", &format!("FROM {BUSYBOX}\nRUN echo for ever; sleep 1000\n")).commit();
    repo.push("shop").rejected_at("build", &["3 s", "build.timeout", "sleep 1000"]);
    world.assert_untouched(&before);
}

/// By the classic builder, whose budget is one for each command; that of BuildKit is one for the whole engine, and other
/// stories build on it, too.
#[test]
fn a_build_that_needs_more_memory_than_its_budget_is_told_so() {
    let world = Options::default()
        .docker(&Docker::of_this_host())
        .set("docker.builder", "classic")
        .set("build.memory_bytes_max", "32MiB")
        .start();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::dockerfile("web"));
    let before = world.first_live(&repo);
    // 200 MB in the memory of one process.
    let greedy = "RUN exec timeout 30 tail -c 200000000 /dev/zero";
    repo.write("Dockerfile", &format!("FROM {BUSYBOX}\n{greedy}\n")).commit();
    repo.push("shop").rejected_at("build", &["memory", "32 MiB"]);
    world.assert_untouched(&before);
}

#[test]
fn what_dockerignore_names_and_what_git_does_not_have_stays_out_of_the_image() {
    let world = World::with_docker();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::dockerfile_with(
        "COPY . /all\nRUN cd /all && find . -type f | sort > /www/files",
        "web",
    ));
    repo.write(".dockerignore", "*.md\nsecret/\n!README.md\n");
    repo.write("README.md", "read").write("NOTES.md", "not").write("secret/key", "not");
    repo.commit();
    repo.write("untracked", "not");
    repo.push("shop").accepted();
    let files = world.get("shop", "/files").body;
    assert!(files.contains("./README.md") && files.contains("./www/index.html"), "{files}");
    for absent in ["NOTES.md", "secret", "untracked", ".git/"] {
        assert!(!files.contains(absent), "{absent} is in the image:\n{files}");
    }
}

#[test]
fn b7_a_secret_of_a_build_reaches_it_and_stays_out_of_the_image() {
    let world = World::with_docker();
    let ada = world.developer("ada");
    ada.ssh(&["apps:create", "shop"]).ok();
    let canary = format!("canary-{}", std::process::id());
    ada.ssh(&["config:set", "shop", &format!("API_KEY={canary}"), "VERSION=1.2.3", "UNSAID=never"]).ok();
    // A line of this run's own: the cache, whose key has no secrets, would answer with what an earlier run has read.
    let lines = format!(
        "ARG VERSION\nARG UNSAID\nRUN : {}\n\
         RUN --mount=type=secret,id=API_KEY wc -c < /run/secrets/API_KEY > /www/length\n\
         RUN echo \"version $VERSION, unsaid $UNSAID.\" > /www/version",
        world.folder().display()
    );
    let repo = ada.app_of(apps::dockerfile_with(&lines, "web"));
    repo.write("app.json", r#"{ "autostack": { "build_args": ["VERSION"] } }"#).commit();
    let push = repo.push("shop").accepted();
    assert_eq!(world.get("shop", "/length").body.trim(), canary.len().to_string(), "the build has read it");
    assert_eq!(world.get("shop", "/version").body.trim(), "version 1.2.3, unsaid .", "by opt-in only");
    let env = world.get("shop", "/cgi-bin/env").body;
    assert!(env.contains(&format!("API_KEY={canary}")), "the app itself has its config: {env}");

    let image = world.docker().ok(&["inspect", "--format", "{{.Image}}", &world.container("shop").id]);
    let archive = world.folder().join("image.tar");
    world.docker().ok(&["save", "--output", &archive.display().to_string(), &image]);
    let archive = std::fs::read(archive).unwrap();
    let holds = |word: &str| archive.windows(word.len()).any(|window| window == word.as_bytes());
    assert!(holds("version 1.2.3"), "layers are readable");
    assert!(!holds(&canary), "no layer and no history holds it");
    assert!(!push.screen.contains(&canary) && !world.log().contains(&canary), "nor is it shown");
}
