//! What becomes of a build that goes well, by both builders.

use super::*;

const EVERYTHING: &str = "ARG GREETING=none\nENV SAID=$GREETING\nWORKDIR /srv\nCOPY . /srv/app\n\
    RUN echo to-out && echo to-err >&2 && ls /srv/app\nEXPOSE 8080\nUSER nobody\nCMD [\"/srv/app/run.sh\"]\n";

#[tokio::test]
async fn the_image_is_what_the_dockerfile_says() {
    for builder in BOTH {
        let world = World::with(EVERYTHING).await;
        let long = format!("{}/{}", "d".repeat(120), "f".repeat(120));
        world.write(&long, "long");
        world.write("run.sh", "#!/bin/sh\necho hi\n");
        world.make_executable("run.sh");
        std::os::unix::fs::symlink("/etc/hostname", world.dir.path().join("link")).unwrap();
        let mut order = world.order(builder);
        order.args.push(("GREETING".into(), "good & bad + ü".into()));
        order.labels.insert("mine".into(), "1".into());
        order.no_cache = true;
        let (tag, deployment) = (order.tag.clone(), order.deployment.to_string());
        let (built, said) = world.built(order).await;

        let image = &built.image;
        assert_eq!((image.ports.as_slice(), image.user.as_str()), (&[8080][..], "nobody"));
        assert_eq!(image.cmd, ["/srv/app/run.sh"]);
        assert!(image.env.contains(&"SAID=good & bad + ü".to_owned()), "{:?}", image.env);
        assert_eq!(image.labels["mine"], "1");
        assert_eq!(image.labels[crate::labels::APP], world.app.to_string());
        assert_eq!(image.labels[crate::labels::AGENT], world.engine.mark().to_string());
        assert_eq!(image.labels[crate::labels::DEPLOYMENT], deployment);
        assert!(image.tags.contains(&tag), "{:?}", image.tags);
        let modes = world.run(&tag, "cd /srv/app && stat -c '%a %u %N' run.sh Dockerfile link");
        assert_eq!(modes, "755 0 run.sh\n644 0 Dockerfile\n777 0 'link' -> '/etc/hostname'\n");
        assert_eq!(world.run(&tag, &format!("cat /srv/app/{long}")), "long");

        assert!(said.contains("RUN echo to-out"), "{said}");
        assert!(said.contains("\nto-out\n") && said.contains("to-err\n"), "{said}");
        assert!(!said.contains("[internal]") && !said.contains("--->"), "{said}");
    }
}

#[tokio::test]
async fn what_did_not_change_is_not_built_again() {
    for builder in BOTH {
        let world = World::with(
            "COPY package.json /\nRUN cat package.json; head -c 8 /dev/urandom > /made\nCOPY . /app\n",
        )
        .await;
        // Nobody has built this before.
        let package = format!("{{\"name\": \"{}\"}}", uuid::Uuid::now_v7());
        world.write("package.json", &package);
        world.write("server.js", "1");
        let (first, _) = world.built(world.order(builder)).await;
        // Another export of another commit: same content of one file, other times everywhere.
        world.write("package.json", &package);
        world.write("server.js", "2");
        let order = world.order(builder);
        let tag = order.tag.clone();
        let (second, said) = world.built(order).await;
        let made = |image: &str| world.run(image, "od -An -tx1 /made");
        assert_eq!(made(first.image.id.as_str()), made(&tag), "{said}");
        assert_eq!(world.run(&tag, "cat /app/server.js"), "2");
        assert!(said.contains("  cached\n"), "{said}");
        let mut order = world.order(builder);
        order.no_cache = true;
        let (third, _) = world.built(order).await;
        assert_ne!(made(third.image.id.as_str()), made(second.image.id.as_str()));
    }
}

#[tokio::test]
async fn a_generated_dockerfile_stays_out_of_the_image() {
    for builder in BOTH {
        let world = World::new().await;
        world.write("a", "1");
        world.write("b", "1");
        world.write(".dockerignore", "b\n");
        let mut order = world.order(builder);
        order.dockerfile = Dockerfile::Text(format!("FROM {BUSYBOX}\nCOPY . /ctx\n"));
        let tag = order.tag.clone();
        world.built(order).await;
        assert_eq!(
            files_in(&world, &tag, "/ctx").await,
            ["ctx", "ctx/.dockerignore", "ctx/a"],
            "{builder:?}"
        );
    }
}

#[tokio::test]
async fn another_dockerfile_of_the_same_length_is_another() {
    for builder in BOTH {
        let world = World::new().await;
        for value in ["one", "two"] {
            let mut order = world.order(builder);
            order.dockerfile = Dockerfile::Text(format!("FROM {BUSYBOX}\nENV VALUE={value}\n"));
            let (built, _) = world.built(order).await;
            assert!(
                built.image.env.contains(&format!("VALUE={value}")),
                "{builder:?}: {:?}",
                built.image.env
            );
        }
    }
}

#[tokio::test]
async fn a_dockerfile_elsewhere_has_its_own_ignore_file() {
    for builder in BOTH {
        let world = World::new().await;
        world.write("deploy/Dockerfile.prod", &format!("FROM {BUSYBOX}\nCOPY . /ctx\n"));
        world.write("deploy/Dockerfile.prod.dockerignore", "deploy\n.dockerignore\nno\n");
        world.write(".dockerignore", "yes\n");
        world.write("yes", "");
        world.write("no", "");
        let mut order = world.order(builder);
        order.dockerfile = Dockerfile::File("deploy/Dockerfile.prod".into());
        let tag = order.tag.clone();
        world.built(order).await;
        let files = files_in(&world, &tag, "/ctx").await;
        assert!(files.contains(&"ctx/yes".to_owned()) && !files.contains(&"ctx/no".to_owned()), "{files:?}");
    }
}

#[tokio::test]
async fn one_stage_can_be_built() {
    for builder in BOTH {
        let world = World::with("").await;
        world.write(
            "Dockerfile",
            &format!("FROM {BUSYBOX} AS one\nENV STAGE=one\nFROM one AS two\nENV STAGE=two\n"),
        );
        let mut order = world.order(builder);
        order.target = Some("one".into());
        let (built, _) = world.built(order).await;
        assert!(built.image.env.contains(&"STAGE=one".to_owned()), "{:?}", built.image.env);
    }
}

#[tokio::test]
async fn a_context_larger_than_any_buffer_arrives_whole() {
    for builder in BOTH {
        let world = World::with("COPY . /ctx\n").await;
        for number in 0..2_000 {
            world.write(&format!("many/{}/{number}", number % 7), &format!("file {number}"));
        }
        let large: Vec<u8> = (0..24 * 1024 * 1024_u32).map(|at| (at % 251) as u8).collect();
        fs::write(world.dir.path().join("large"), &large).unwrap();
        let order = world.order(builder);
        let tag = order.tag.clone();
        world.built(order).await;
        let sums = world
            .run(&tag, "cd /ctx && sha256sum large && cat many/*/* | wc -c && find many -type f | wc -l");
        let here = Command::new("sha256sum").arg(world.dir.path().join("large")).output().unwrap();
        assert_eq!(&sums[..64], String::from_utf8_lossy(&here.stdout[..64]));
        let counts: Vec<&str> = sums.lines().skip(1).map(str::trim).collect();
        assert_eq!(counts, ["16890", "2000"], "{sums}");
    }
}

#[tokio::test]
async fn output_comes_while_it_is_made() {
    for builder in BOTH {
        let world = World::with(&format!("RUN echo early{}; sleep 3; echo late\n", std::process::id())).await;
        let mut order = world.order(builder);
        order.no_cache = true;
        let said = Said::default();
        let (hear, cancel) = (said.hear(), CancellationToken::new());
        let build = world.engine.build(order, &hear, &cancel);
        tokio::pin!(build);
        let is_early = || said.text().contains("\nearly") && !said.text().contains("\nlate");
        tokio::select! {
            _ = &mut build => panic!("{}", said.text()),
            () = eventually(Duration::from_secs(20), "the first line", is_early) => {}
        }
        build.await.unwrap();
        assert!(said.text().contains("\nlate\n"), "{}", said.text());
    }
}
