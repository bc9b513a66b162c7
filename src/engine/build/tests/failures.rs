//! Bad input, and what its author is told, by both builders.

use autostack_domain::FailureKind;

use super::*;

/// The failure of a Dockerfile as it stands.
async fn of(dockerfile: &str, builder: BuilderChoice) -> BuildError {
    let world = World::new().await;
    world.write("Dockerfile", dockerfile);
    world.refused(world.order(builder)).await
}

fn from_base(rest: &str) -> String {
    format!("FROM {BUSYBOX}\n{rest}")
}

#[tokio::test]
async fn a_dockerfile_that_does_not_parse() {
    for builder in BOTH {
        let error = of(&from_base("# a comment\nFOO bar\n"), builder).await;
        assert_eq!(error.kind, FailureKind::BadAppFile);
        assert_eq!(error.message, "Dockerfile does not parse: line 3: unknown instruction: FOO");
        assert_eq!(error.evidence, ["Dockerfile line 3: FOO bar"]);

        let error = of(&from_base("COPY a\n"), builder).await;
        assert!(error.message.contains("line 2: COPY requires at least two arguments"), "{error:#?}");
        let error = of("", builder).await;
        assert_eq!(error.message, "Dockerfile does not parse: it is empty");
        let error = of("RUN true\n", builder).await;
        assert!(error.message.contains("in front of the first FROM"), "{error:#?}");
        let error = of("ARG BASE\nFROM $BASE\n", builder).await;
        assert!(error.message.contains("a FROM names no image"), "{error:#?}");
        let error = of(&from_base("RUN <<E\necho hi\nE\n"), builder).await;
        assert!(error.hint.contains("heredoc"), "{error:#?}");
    }
}

#[tokio::test]
async fn a_command_that_fails() {
    for builder in BOTH {
        let many = "RUN seq 1 1000 && echo the-reason >&2 && exit 3\n";
        let error = of(&from_base(many), builder).await;
        assert_eq!(error.kind, FailureKind::BuildFailed);
        assert_eq!(error.message, "`RUN seq 1 1000 && echo the-reason >&2 && exit 3` ended with exit code 3");
        assert!(error.evidence.contains(&"the-reason".to_owned()), "{error:#?}");
        assert_eq!(error.evidence.len(), 20, "{error:#?}");

        let error = of(&from_base("RUN nosuchprogram\n"), builder).await;
        assert!(error.message.contains("127") && error.hint.contains("install the program"), "{error:#?}");
    }
}

#[tokio::test]
async fn a_base_image_that_cannot_be_pulled() {
    for builder in BOTH {
        let error = of("FROM scratch AS one\nFROM 127.0.0.1:9/team/x:1 AS two\nRUN true\n", builder).await;
        assert_eq!(error.kind, FailureKind::ImageUnavailable, "{error:#?}");
        let expected = "image 127.0.0.1:9/team/x:1 cannot be pulled: the registry does not answer";
        assert_eq!(error.message, expected, "{error:#?}");
        assert_eq!(error.evidence[0], "Dockerfile line 2: FROM 127.0.0.1:9/team/x:1 AS two");
        assert!(error.evidence[1].contains("connection refused"), "{error:#?}");

        let error = of(&from_base("COPY --from=127.0.0.1:9/y:1 /a /\n"), builder).await;
        assert_eq!(error.kind, FailureKind::ImageUnavailable, "{error:#?}");
        assert!(error.evidence[0].starts_with("Dockerfile line 2: COPY --from"), "{error:#?}");
    }
}

#[tokio::test]
async fn a_base_image_that_the_registry_does_not_have() {
    let registry = crate::testing::Registry::start(None);
    for builder in BOTH {
        let reference = format!("{}/nothing:1", registry.server());
        let error = of(&format!("FROM {reference}\n"), builder).await;
        assert_eq!(error.kind, FailureKind::ImageUnavailable, "{error:#?}");
        assert_eq!(
            error.message,
            format!("image {reference} cannot be pulled: the registry does not have it")
        );
    }
}

#[tokio::test]
async fn a_frontend_that_cannot_be_fetched() {
    let text = format!("# syntax=127.0.0.1:9/dockerfile:1\nFROM {BUSYBOX}\nRUN true\n");
    let error = of(&text, BuilderChoice::BuildKit).await;
    assert_eq!(error.kind, FailureKind::ImageUnavailable);
    assert!(error.message.contains("127.0.0.1:9/dockerfile:1 of the `# syntax=` line"), "{error:#?}");
    assert_eq!(error.evidence[0], "Dockerfile line 1: # syntax=127.0.0.1:9/dockerfile:1");
    assert!(error.hint.contains("remove the line"), "{error:#?}");
}

#[tokio::test]
async fn a_file_that_is_not_there() {
    for builder in BOTH {
        let world = World::with("COPY conf/app.toml /etc/\n").await;
        let error = world.refused(world.order(builder)).await;
        assert_eq!(error.kind, FailureKind::BuildFailed);
        assert_eq!(
            error.message,
            "conf/app.toml is to be copied into the image, and is not in the repository"
        );
        assert_eq!(error.evidence, ["Dockerfile line 2: COPY conf/app.toml /etc/"]);

        world.write("conf/app.toml", "");
        world.write(".dockerignore", "*.md\nconf\n");
        let error = world.refused(world.order(builder)).await;
        assert_eq!(
            error.message,
            "conf/app.toml is to be copied into the image, and .dockerignore leaves it out"
        );
        assert_eq!(error.evidence[1], ".dockerignore: conf");

        let world = World::with("").await;
        world.write(
            "Dockerfile",
            &format!("FROM {BUSYBOX} AS one\nFROM {BUSYBOX}\nCOPY --from=one /made /\n"),
        );
        let error = world.refused(world.order(builder)).await;
        assert_eq!(error.message, "made is to be copied from one, and is not there", "{error:#?}");
    }
}

#[tokio::test]
async fn a_stage_that_does_not_exist() {
    for builder in BOTH {
        let world = World::new().await;
        world.write("Dockerfile", &format!("FROM {BUSYBOX} AS build\nFROM build AS prod\n"));
        let mut order = world.order(builder);
        order.target = Some("test".into());
        let error = world.refused(order).await;
        assert_eq!(error.message, "Dockerfile has no stage test", "{error:#?}");
        assert_eq!(error.evidence, ["its stages: build, prod"]);
    }
}

#[tokio::test]
async fn an_engine_without_space() {
    for builder in BOTH {
        // What a full disk of the engine says, without filling that of everybody.
        let full = "RUN echo 'write /x: No space left on device' >&2; exit 1\n";
        let error = of(&from_base(full), builder).await;
        assert_eq!(error.kind, FailureKind::DiskFull);
    }
}

#[tokio::test]
async fn files_that_cannot_be_sent() {
    for builder in BOTH {
        let world = World::with("COPY . /ctx\n").await;
        let name = world.dir.path().join("pipe");
        nix::unistd::mkfifo(&name, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let error = world.refused(world.order(builder)).await;
        assert_eq!(error.kind, FailureKind::BadSource, "{error:#?}");
        assert!(error.message.contains("pipe is neither a file, a folder nor a link"), "{error:#?}");
    }
}

#[tokio::test]
async fn a_link_out_of_the_repository_is_not_followed() {
    for builder in BOTH {
        let world = World::with("COPY link /copied\n").await;
        std::os::unix::fs::symlink("/etc/hostname", world.dir.path().join("link")).unwrap();
        let order = world.order(builder);
        let tag = order.tag.clone();
        let host = fs::read_to_string("/etc/hostname").unwrap_or_default();
        if world.build(order).await.0.is_ok() {
            assert_ne!(world.run(&tag, "cat /copied 2>&1 || true"), host);
        }
        let world = World::new().await;
        std::os::unix::fs::symlink("/etc/passwd", world.dir.path().join("Dockerfile")).unwrap();
        let error = world.refused(world.order(builder)).await;
        assert!(error.message.contains("leads out of the repository"), "{error:#?}");
    }
}
