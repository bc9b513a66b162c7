//! Sample apps built into images by the real package managers, on a Debian with Node.js and Python.

use std::process::Command;

use super::Yard;
use crate::{Made, scenarios::fixtures};

/// Base images that have no version to choose.
const DEBIAN: &str = "autostack-test/debian:1";

/// A yard with the source of a sample app.
async fn yard_of(app: &str) -> Yard {
    let made = Command::new(fixtures("../images")).output().expect("tests/images makes the base images");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let bases = format!("node = \"{DEBIAN}\"\npython = \"{DEBIAN}\"\nrun = \"{DEBIAN}\"\n");
    let mut yard = Yard::on(&bases, "").await;
    // A connection that hangs is given up sooner than after five minutes, and begun again.
    yard.env.set("npm_config_fetch_timeout", "10000").unwrap();
    yard.env.set("npm_config_fetch_retry_mintimeout", "1000").unwrap();
    let copied =
        Command::new("cp").arg("-a").arg(fixtures("apps").join(app).join(".")).arg(yard.source()).status();
    assert!(copied.unwrap().success());
    yard
}

/// What a command prints in the image of a sample app.
async fn in_image_of(app: &str, command: &str) -> String {
    let yard = yard_of(app).await;
    let image = yard.image().await;
    yard.run(&image.id, command)
}

#[tokio::test(flavor = "multi_thread")]
async fn npm_pnpm_and_both_yarns_install_into_the_image() {
    let express = in_image_of(
        "node-express",
        "node -p 'require(\"express/package.json\").name + process.env.NODE_ENV'",
    )
    .await;
    assert_eq!(express, "expressproduction\n");
    for app in ["node-pnpm", "node-yarn", "node-berry"] {
        assert_eq!(in_image_of(app, "node -p 'require(\"ms\")(60000)'").await, "1m\n", "{app}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_source_reuses_what_npm_has_installed() {
    let yard = yard_of("node-express").await;
    yard.image().await;
    yard.write("server.js", "console.log('other')\n");
    let image = yard.image().await;
    assert!(yard.printed().contains("reused from an earlier build"), "{}", yard.printed());
    assert_eq!(yard.run(&image.id, "node server.js"), "other\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn python_installs_an_environment_that_runs_in_the_last_stage() {
    let flask =
        in_image_of("python-flask", "gunicorn --check-config app:app && which gunicorn && id -u").await;
    assert_eq!(flask, "/app/.venv/bin/gunicorn\n10001\n");
    assert_eq!(in_image_of("python-uv", "python -c 'import sys; print(sys.prefix)'").await, "/app/.venv\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn assets_are_built_beside_another_language() {
    let seen = in_image_of("python-assets", "ls static.css && python -c 'import flask'").await;
    assert_eq!(seen, "static.css\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_a_tree_is_built_at_its_top() {
    let yard = yard_of("monorepo-npm").await;
    let plan = yard.plan();
    assert!(!plan.root.is_empty(), "{plan:#?}");
    let image = yard.image_of(&plan).await;
    assert_eq!(yard.run(&image.id, "pwd; ls -d node_modules"), "/app\nnode_modules\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_is_built_by_its_own_tool() {
    let yard = yard_of("node-vite").await;
    let made =
        yard.build(&yard.plan()).await.unwrap_or_else(|failure| panic!("{failure:#?}\n{}", yard.printed()));
    assert_eq!(made, Made::Directory);
    assert!(yard.source().join("dist/index.html").is_file());
    assert!(!yard.source().join("node_modules").exists());
}
