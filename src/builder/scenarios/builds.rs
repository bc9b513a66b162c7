//! Real builds: the package registries are asked, the results are run.

use std::{fs, time::Duration};

use autostack_domain::{EnvMap, FailureKind, Stage};

use super::{Workshop, plan_of};

#[tokio::test(flavor = "multi_thread")]
async fn an_npm_app_is_installed_and_reused_while_its_lock_file_is_the_same() {
    let workshop = Workshop::new();
    let first = workshop.artifact_of("node-express");
    let plan = workshop.make(&first).await;
    let probe = "node -p 'require(\"express/package.json\").name + process.env.NODE_ENV'";
    assert_eq!(workshop.run(&first, &plan, probe), "expressproduction\n");
    assert!(!workshop.printed().contains("reused"));

    let second = workshop.artifact_of("node-express");
    workshop.make(&second).await;
    assert!(workshop.printed().contains("reused from the last build"), "{}", workshop.printed());
    assert_eq!(workshop.run(&second, &plan, probe), "expressproduction\n");

    // An artifact is its own: what happens to one is not seen in the next.
    fs::write(second.join("node_modules/express/package.json"), "{}").unwrap();
    let third = workshop.artifact_of("node-express");
    let package = fs::read_to_string(third.join("package.json")).unwrap();
    workshop.make(&third).await;
    assert_eq!(workshop.run(&third, &plan, probe), "expressproduction\n");

    // A changed package.json decides anew; here against the lock file, which npm refuses.
    let fourth = workshop.artifact_of("node-express");
    fs::write(fourth.join("package.json"), package.replace("^5.1.0", "^4.0.0")).unwrap();
    let failure = workshop.build(&fourth, &plan, &EnvMap::new()).await.unwrap_err();
    assert_eq!((failure.stage, failure.kind), (Stage::Build, FailureKind::BuildFailed));
    assert!(failure.cause.starts_with("`npm ci --omit=dev` exited with code 1"), "{}", failure.cause);
    assert!(failure.hint.contains("commit package-lock.json"), "{failure:#?}");
    assert!(!failure.evidence.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_script_runs_with_development_dependencies_which_are_gone_afterwards() {
    let workshop = Workshop::new();
    let artifact = workshop.artifact_of("node-build-script");
    let plan = workshop.make(&artifact).await;
    assert!(artifact.join("dist/server.js").is_file());
    assert!(artifact.join("node_modules/ms").is_dir());
    assert!(!artifact.join("node_modules/picocolors").exists(), "{plan:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pnpm_and_both_yarns_are_fetched_in_the_version_that_the_app_asks_for() {
    for (app, version) in [("node-pnpm", "9.15.9"), ("node-yarn", "1.22"), ("node-berry", "4.5.0")] {
        let workshop = Workshop::new();
        let artifact = workshop.artifact_of(app);
        let plan = workshop.make(&artifact).await;
        assert_eq!(workshop.run(&artifact, &plan, "node -p 'require(\"ms\")(60000)'"), "1m\n", "{app}");
        assert!(workshop.printed().contains(version) || app == "node-yarn", "{app}: {}", workshop.printed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requirements_are_installed_and_a_reused_environment_names_its_own_artifact() {
    let workshop = Workshop::new();
    let first = workshop.artifact_of("python-flask");
    let plan = workshop.make(&first).await;
    let second = workshop.artifact_of("python-flask");
    workshop.make(&second).await;
    assert!(workshop.printed().contains("reused from the last build"), "{}", workshop.printed());
    for artifact in [&first, &second] {
        let check = workshop.run(artifact, &plan, "gunicorn --check-config app:app && which gunicorn");
        assert_eq!(check, format!("{}\n", artifact.join(".venv/bin/gunicorn").display()));
        let gunicorn = fs::read_to_string(artifact.join(".venv/bin/gunicorn")).unwrap();
        assert!(gunicorn.starts_with(&format!("#!{}", artifact.join(".venv/bin/python").display())));
    }
    assert!(
        !first
            .join(".venv/lib")
            .read_dir()
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path()
            .join("site-packages/pip")
            .exists()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_declare_dependencies_of_python_installs_them() {
    for (app, probe) in [
        ("python-uv", "import sys; assert sys.prefix.endswith(\".venv\")"),
        ("python-pyproject", "import bottle, waitress"),
        ("python-pipenv", "import itsdangerous; assert \".venv\" in itsdangerous.__file__"),
        ("python-fastapi", "import uvicorn, main; main.app"),
    ] {
        let workshop = Workshop::new();
        let artifact = workshop.artifact_of(app);
        let plan = workshop.make(&artifact).await;
        assert_eq!(workshop.run(&artifact, &plan, &format!("python -c '{probe}'")), "", "{app}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_without_dependencies_has_nothing_to_build() {
    for app in ["node-plain", "python-plain", "static-site", "procfile-only"] {
        let workshop = Workshop::new();
        let plan = workshop.make(&workshop.artifact_of(app)).await;
        assert!(plan.steps.is_empty(), "{app}: {plan:#?}");
        assert!(!workshop.dir.path().join("cache").exists(), "{app}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c3_a_step_sees_the_config_and_nothing_of_the_agents_environment() {
    let workshop = Workshop::new();
    let artifact = workshop.empty_artifact();
    let mut env = EnvMap::new();
    env.set("TOKEN", b"a\xff'b\n$(id)".as_slice()).unwrap();
    env.set("HOME", "/nowhere").unwrap();
    workshop
        .build(&artifact, &plan_of("env -0 > seen; pwd > where; ls \"$HOME\" > home"), &env)
        .await
        .unwrap();
    let seen = fs::read(artifact.join("seen")).unwrap();
    let mut names: Vec<String> = Vec::new();
    for entry in seen.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()) {
        let at = entry.iter().position(|byte| *byte == b'=').unwrap();
        names.push(String::from_utf8_lossy(&entry[..at]).into_owned());
        if &entry[..at] == b"TOKEN" {
            assert_eq!(&entry[at + 1..], b"a\xff'b\n$(id)");
        }
    }
    names.retain(|name| !matches!(name.as_str(), "PWD" | "OLDPWD" | "SHLVL" | "_"));
    names.sort();
    let own = ["AUTOSTACK_BUILD_ID", "HOME", "LANG", "PATH", "TMPDIR", "TOKEN"];
    let trust = ["NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"];
    names.retain(|name| !trust.contains(&name.as_str()));
    assert_eq!(names, own);
    assert_eq!(fs::read_dir(workshop.dir.path().join("cache/sample/tmp")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_step_ends_the_build_with_its_evidence() {
    let workshop = Workshop::new();
    let artifact = workshop.empty_artifact();
    let mut plan = plan_of("echo compiling; printf 'cannot find x' >&2; exit 3");
    plan.steps.push(crate::Step::new("Never", "touch reached"));
    let failure = workshop.build(&artifact, &plan, &EnvMap::new()).await.unwrap_err();
    assert_eq!((failure.stage, failure.kind), (Stage::Build, FailureKind::BuildFailed));
    assert!(failure.cause.ends_with("exited with code 3"), "{}", failure.cause);
    let mut evidence = failure.evidence;
    evidence.sort();
    assert_eq!(evidence, ["cannot find x", "compiling"]);
    assert!(!artifact.join("reached").exists());
    assert!(workshop.printed().contains("cannot find x"), "an unfinished line is printed too");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_without_input_does_not_wait_for_one() {
    let workshop = Workshop::new();
    let artifact = workshop.empty_artifact();
    let plan = plan_of("read answer; ( : < /dev/tty ) 2>/dev/null && touch has-terminal; :");
    tokio::time::timeout(Duration::from_secs(10), workshop.build(&artifact, &plan, &EnvMap::new()))
        .await
        .unwrap()
        .unwrap();
    assert!(!artifact.join("has-terminal").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn builds_wait_for_a_free_slot_and_say_so() {
    let workshop = Workshop::with_settings("concurrency = 1");
    let (first, second) = (workshop.empty_artifact(), workshop.empty_artifact());
    let gate = workshop.dir.path().join("gate");
    let waiting = plan_of(&format!("touch begun; while ! test -e {}; do sleep 0.02; done", gate.display()));
    let quick = plan_of("touch done");
    let env = EnvMap::new();
    let long = workshop.build(&first, &waiting, &env);
    let short = async {
        while !first.join("begun").exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let short = workshop.build(&second, &quick, &env);
        let opener = async {
            while !workshop.printed().contains("Waiting for a free build slot") {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert!(!second.join("done").exists());
            fs::write(&gate, "").unwrap();
        };
        tokio::join!(short, opener).0
    };
    let (long, short) =
        tokio::time::timeout(Duration::from_secs(20), async { tokio::join!(long, short) }).await.unwrap();
    long.unwrap();
    short.unwrap();
    assert!(second.join("done").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_is_started_with_pnpm_takes_it_along() {
    let workshop = Workshop::new();
    let artifact = workshop.artifact_of("node-pnpm");
    fs::write(artifact.join("Procfile"), "web: pnpm start\n").unwrap();
    let package = fs::read_to_string(artifact.join("package.json")).unwrap();
    let scripts = "\"build\": \"cp index.js built.js\", \"start\": \"node -p 1+1\"";
    let package = package.replace("\"start\": \"node index.js\"", scripts);
    fs::write(artifact.join("package.json"), package).unwrap();
    let plan = workshop.make(&artifact).await;
    assert!(artifact.join("built.js").is_file());
    workshop.builder.remove_cache(&workshop.app).unwrap();
    let printed = workshop.run(&artifact, &plan, "HOME=$PWD pnpm start");
    assert!(printed.contains("node -p 1+1") && printed.ends_with("2\n"), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_apart_from_a_broken_build() {
    let workshop = Workshop::new();
    let artifact = workshop.empty_artifact();
    let plan = plan_of("dd if=/dev/zero of=/dev/full count=1");
    let failure = workshop.build(&artifact, &plan, &EnvMap::new()).await.unwrap_err();
    assert_eq!((failure.stage, failure.kind), (Stage::Build, FailureKind::DiskFull));
    assert!(failure.cause.contains("the disk of the host is full"), "{}", failure.cause);
}

#[tokio::test(flavor = "multi_thread")]
async fn predeploy_finishes_the_artifact_and_assets_are_built_before_python() {
    let workshop = Workshop::new();
    let artifact = workshop.artifact_of("python-assets");
    let app_json = r#"{"scripts": {"dokku": {"predeploy": "python -c 'import flask' && touch finished"}}}"#;
    fs::write(artifact.join("app.json"), app_json).unwrap();
    workshop.make(&artifact).await;
    assert!(artifact.join("static.css").is_file());
    assert!(artifact.join("finished").is_file());
}

#[tokio::test(flavor = "multi_thread")]
async fn django_is_built_with_the_apps_config_and_its_static_files_are_collected() {
    let workshop = Workshop::new();
    let artifact = workshop.artifact_of("django-minimal");
    let plan = crate::plan(&artifact, &crate::Toolchains::default()).unwrap();
    let failure = workshop.build(&artifact, &plan, &EnvMap::new()).await.unwrap_err();
    assert!(failure.cause.starts_with("`python manage.py collectstatic --noinput`"), "{}", failure.cause);
    assert!(failure.evidence.iter().any(|line| line.contains("SECRET_KEY")), "{failure:#?}");

    let artifact = workshop.artifact_of("django-minimal");
    let mut env = EnvMap::new();
    env.set("SECRET_KEY", "x").unwrap();
    workshop.build(&artifact, &plan, &env).await.unwrap();
    assert!(artifact.join("collected/style.css").is_file());
    let check =
        "SECRET_KEY=x python manage.py migrate --noinput && SECRET_KEY=x gunicorn --check-config shop.wsgi";
    let printed = workshop.run(&artifact, &plan, check);
    assert!(!printed.contains("Error"), "{printed}");
}
