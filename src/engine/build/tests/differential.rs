//! The same tree and the same `.dockerignore`, through `docker build` and through ours: the same files.

use super::*;

const FILES: &[&str] = &[
    "README.md",
    "README-secret.md",
    "a",
    "app/main.js",
    "app/main.test.js",
    "app/node_modules/x/index.js",
    "build/out.bin",
    "build/keep/me",
    "deep/er/and/deeper/file.log",
    "deep/file.log",
    "dist",
    "docs/a.md",
    "docs/b.txt",
    "node_modules/y/index.js",
    "space in name.txt",
    "src/lib.rs",
    "tempa",
    "temp",
    "über.txt",
    "x[1].txt",
];

/// Without what Docker 20.10 gets wrong: it does not look for `!**/*.js` in a folder that another line leaves out.
const IGNORES: &[&str] = &[
    "",
    "# nothing\n\n",
    "*.md\n!README.md\n",
    "*.md\n!README*.md\nREADME-secret.md\n",
    "**/node_modules\n**/*.log\n",
    "node_modules\n/build\n",
    "build\n!build/keep\n",
    "*\n!src\n!app/main.js\n",
    "temp?\n",
    "docs/*.md\ndist/\n",
    "Dockerfile\n.dockerignore\n",
    "deep/*/and\n",
    "x\\[1\\].txt\nspace in name.txt\n",
    "[a-d]*\n!docs\n",
    "./app//../src/\n",
    "**/*.txt\n!über.txt\n",
    "deep/**/file.log\n",
    "*/*.md\n",
];

/// What `docker build` itself copies, by the same builder.
fn docker_copies(world: &World, builder: BuilderChoice, tag: &str) {
    let buildkit = if builder == BuilderChoice::BuildKit { "1" } else { "0" };
    let output = Command::new(DOCKER)
        .env("DOCKER_BUILDKIT", buildkit)
        .args([
            "build",
            "--label",
            &format!("{}={}", crate::labels::AGENT, world.engine.mark()),
            "-t",
            tag,
            ".",
        ])
        .current_dir(world.dir.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

async fn compare(builder: BuilderChoice, ignores: impl Iterator<Item = &'static str>) {
    let world = World::with("COPY . /ctx\n").await;
    for file in FILES {
        world.write(file, file);
    }
    fs::create_dir(world.dir.path().join("empty")).unwrap();
    std::os::unix::fs::symlink("src", world.dir.path().join("link")).unwrap();
    for (number, ignore) in ignores.enumerate() {
        world.write(".dockerignore", ignore);
        let order = world.order(builder);
        let ours = order.tag.clone();
        world.built(order).await;
        let theirs = format!("{}-{number}-theirs", ours.rsplit_once(':').unwrap().0);
        docker_copies(&world, builder, &theirs);
        assert_eq!(
            files_in(&world, &ours, "/ctx").await,
            files_in(&world, &theirs, "/ctx").await,
            "{builder:?} with {ignore:?}"
        );
    }
}

#[tokio::test]
async fn buildkit_gets_the_same_files_as_from_docker_build() {
    compare(BuilderChoice::BuildKit, IGNORES.iter().copied()).await;
}

/// Here nobody but us reads `.dockerignore`, by the same code: a choice of the cases is enough.
#[tokio::test]
async fn the_classic_builder_gets_the_same_files_as_from_docker_build() {
    compare(BuilderChoice::Classic, IGNORES.iter().copied().step_by(3)).await;
}
