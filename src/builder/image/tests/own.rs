//! Apps that bring a Dockerfile.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use autostack_domain::{FailureKind, ProcessType, Stage};

use autostack_engine::testing::{Registry, TestEngine, busybox};

use super::{BUSYBOX, Yard, holds};
use crate::{Made, Recipe};

#[tokio::test(flavor = "multi_thread")]
async fn a_dockerfile_is_built_with_what_it_exposes_and_runs() {
    let yard = Yard::new().await;
    yard.write("Dockerfile", &format!("ARG BASE={BUSYBOX}\nFROM $BASE AS a\nCOPY f /f\nEXPOSE 81 80 53/udp\nFROM a\nCMD [\"cat\", \"/f\"]\n"));
    yard.write("f", "hello");
    yard.write("package.json", "{}");
    let plan = yard.plan();
    assert_eq!((plan.recipe, plan.processes[&ProcessType::web()].clone()), (Recipe::Dockerfile, None));
    let made = yard.build(&plan).await.unwrap_or_else(|failure| panic!("{failure:#?}\n{}", yard.printed()));
    let Made::Image { image, ports, is_lambda } = made else { panic!("{made:?}") };
    assert_eq!((ports.as_slice(), is_lambda), ([80, 81].as_slice(), false));
    let facts = yard.engine.inspect_image(image.as_str()).await.unwrap().unwrap();
    assert_eq!(facts.cmd, ["cat", "/f"]);
    assert_eq!(facts.labels["autostack.app"], "sample");
    assert_eq!(yard.run(&image, "cat /f"), "hello");
    assert!(yard.printed().contains("COPY f /f"), "{}", yard.printed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_procfile_says_the_process_types_and_app_json_beneath_it() {
    let yard = Yard::new().await;
    yard.write("Dockerfile", &format!("FROM {BUSYBOX}\nRUN true\n"));
    yard.write("Procfile", "web: httpd -f\n");
    let app_json = r#"{"autostack": {"processes": {"web": "no", "worker": "sleep 1"}}, "formation": {"worker": {"quantity": 2}}}"#;
    yard.write("app.json", app_json);
    let plan = yard.plan();
    let lines: Vec<String> = plan.processes.values().flatten().cloned().collect();
    assert_eq!(lines, ["httpd -f", "sleep 1"]);
    assert!(plan.warnings.is_empty(), "{:?}", plan.warnings);
    yard.image_of(&plan).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn e2_secrets_are_read_by_name_and_stand_in_no_layer() {
    let mut yard = Yard::new().await;
    yard.write(
        "Dockerfile",
        &format!(
            "FROM {BUSYBOX}\nARG VERSION\nARG OTHER=none\nRUN --mount=type=secret,id=TOKEN md5sum < /run/secrets/TOKEN > \
             /sum; echo \"$VERSION $OTHER\" > /args\nCMD [\"true\"]\n"
        ),
    );
    yard.write("app.json", r#"{"autostack": {"build_args": ["VERSION", "STRAY"]}}"#);
    let token = "canary-5d1f9e-of-the-token";
    yard.env.set("TOKEN", token).unwrap();
    yard.env.set("UNASKED", "canary-unasked-77").unwrap();
    yard.env.set("VERSION", "1.2").unwrap();
    yard.env.set("OTHER", "not asked for").unwrap();
    let plan = yard.plan();
    assert!(plan.warnings[0].contains("no ARG of that name: STRAY"), "{:?}", plan.warnings);
    let image = yard.image_of(&plan).await;
    let seen = yard.run(&image.id, "cat /sum /args; ls /run/secrets 2>/dev/null; true");
    assert!(!seen.starts_with("d41d8cd98f00b204e9800998ecf8427e"), "the secret was empty: {seen}");
    assert!(seen.contains("1.2 none\n"), "{seen}");
    let bytes = yard.bytes_of(&image.id);
    assert!(holds(&bytes, "1.2 none") && !holds(&bytes, token) && !holds(&bytes, "canary-unasked-77"));
    assert!(!yard.printed().contains(token));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_command_is_told_with_its_evidence_and_leaves_no_image() {
    let yard = Yard::new().await;
    yard.write(
        "Dockerfile",
        &format!("FROM {BUSYBOX}\nRUN echo npm error ERR_PNPM_OUTDATED_LOCKFILE; exit 3\n"),
    );
    let failure = yard.build(&yard.plan()).await.unwrap_err();
    assert_eq!((failure.stage, failure.kind), (Stage::Build, FailureKind::BuildFailed));
    assert!(failure.cause.contains("exit code 3"), "{failure:#?}");
    assert!(failure.evidence.iter().any(|line| line.contains("ERR_PNPM_OUTDATED_LOCKFILE")), "{failure:#?}");
    assert!(failure.hint.contains("commit pnpm-lock.yaml"), "{failure:#?}");
    assert!(yard.engine.images_of_agent(Some(&yard.app)).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dockerfile_that_changes_by_one_letter_is_built_anew() {
    let yard = Yard::new().await;
    for letter in ["a", "b", "c"] {
        yard.write("Dockerfile", &format!("FROM {BUSYBOX}\nRUN echo {letter} > /f\nCMD [\"true\"]\n"));
        let image = yard.image().await;
        assert_eq!(yard.run(&image.id, "cat /f"), format!("{letter}\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_without_a_command_needs_a_procfile() {
    let yard = Yard::new().await;
    yard.write("Dockerfile", "FROM scratch\nCOPY f /f\n");
    yard.write("f", "");
    let failure = yard.build(&yard.plan()).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::BadAppFile);
    assert!(failure.cause.contains("no command") && failure.hint.contains("CMD"), "{failure:#?}");
    assert!(yard.engine.images_of_agent(Some(&yard.app)).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_that_cannot_be_had_is_named() {
    let yard = Yard::new().await;
    yard.write("Dockerfile", "FROM 127.0.0.1:9/nothing/here:1\nCMD [\"true\"]\n");
    let failure = yard.build(&yard.plan()).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::ImageUnavailable);
    assert!(failure.cause.contains("127.0.0.1:9/nothing/here:1"), "{failure:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_behind_a_login_is_pulled_with_the_login_of_the_app() {
    let engine = TestEngine::find();
    let image = busybox(&engine).await;
    let registry = Registry::start(Some(("reader", "canary-password-9")));
    let reference = registry.push(&engine, &image, "base:1").await;
    engine.also_remove(reference.to_string());
    let dockerfile = format!("FROM {reference} AS a\nRUN echo built > /f\nCMD [\"true\"]\n");

    let yard = Yard::new().await;
    yard.write("Dockerfile", &dockerfile);
    let failure = yard.build(&yard.plan()).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::ImageUnavailable, "{failure:#?}");

    let mut yard = Yard::new().await;
    yard.write("Dockerfile", &dockerfile);
    let (login, server) = (registry.auth(), registry.server());
    let logins: crate::Logins =
        Arc::new(move |app, asked| login.clone().filter(|_| app.as_str() == "sample" && asked == server));
    yard.builder = yard.builder.clone().with_engine(yard.engine.clone(), logins);
    let image = yard.image().await;
    assert_eq!(yard.run(&image.id, "cat /f"), "built\n");
    assert!(yard.printed().contains(&format!("Pulling {reference}")), "{}", yard.printed());
    assert!(!holds(&yard.bytes_of(&image.id), "canary-password-9"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dockerfile_that_does_not_parse_is_refused_with_its_line() {
    let yard = Yard::new().await;
    yard.write("Dockerfile", "FROM a\n\nFORM b\n");
    let failure = crate::plan(&yard.source(), &yard.builder.tools(&yard.env)).unwrap_err();
    assert_eq!((failure.stage, failure.kind), (Stage::Detect, FailureKind::BadAppFile));
    assert_eq!(failure.cause, "Dockerfile: line 3: unknown instruction: FORM");
    assert_eq!(failure.evidence, ["Dockerfile line 3: FORM b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_are_known_by_what_the_image_brings() {
    let yard = Yard::new().await;
    yard.write(
        "Dockerfile",
        &format!("FROM {BUSYBOX}\nENV LAMBDA_TASK_ROOT=/var/task\nCMD [\"app.handler\"]\n"),
    );
    let plan = yard.plan();
    assert!(!plan.dockerfile.as_ref().unwrap().is_lambda, "its name does not tell");
    assert!(matches!(yard.build(&plan).await.unwrap(), Made::Image { is_lambda: true, .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_ends_the_build_within_a_second() {
    let yard = Yard::new().await;
    yard.write("Dockerfile", &format!("FROM {BUSYBOX}\nRUN echo begun; sleep 1000\n"));
    let plan = yard.plan();
    let canceller = async {
        while !yard.printed().contains("begun\n") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        yard.cancel.cancel();
        Instant::now()
    };
    let (ended, cancelled_at) = tokio::join!(yard.build(&plan), canceller);
    assert!(cancelled_at.elapsed() < Duration::from_secs(1), "{:?}", cancelled_at.elapsed());
    assert_eq!(ended.unwrap_err().kind, FailureKind::Cancelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn e2_a_build_that_never_ends_is_ended_at_its_timeout() {
    let yard = Yard::with_settings("[build]\ntimeout = \"4s\"\n").await;
    yard.write("Dockerfile", &format!("FROM {BUSYBOX}\nRUN echo thinking; sleep 1000\n"));
    let failure = yard.build(&yard.plan()).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::TimedOut);
    let expected =
        "the build took longer than 4 s (build.timeout) and was ended during `RUN echo thinking; sleep 1000`";
    assert_eq!(failure.cause, expected);
    assert_eq!(failure.evidence, ["thinking"]);
}
