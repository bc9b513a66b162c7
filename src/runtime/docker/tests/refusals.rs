//! Starts that cannot be, each with its sentence, none with a trace.

use autostack_domain::{Digest, InstanceSpec, Program};
use bytes::Bytes;

use super::world::{PORT, World};
use crate::{Backend, RuntimeError};

async fn refused(world: &World, spec: &InstanceSpec) -> String {
    let error = world.backend.start(spec).await.unwrap_err();
    assert!(matches!(error, RuntimeError::Start { .. }), "{error:?}");
    assert!(world.backend.list().await.unwrap().is_empty());
    world.assert_nothing_left().await;
    error.to_string()
}

/// An image that holds a file and nothing else.
async fn bare(world: &World, changes: &[&str]) -> Digest {
    let name = format!("autostack-test/bare:{}", world.engine.mark());
    world.engine.also_remove(name.clone());
    let tar = autostack_engine::testing::tar_of(&[("readme", b"nothing runs here")]);
    let changes: Vec<String> = changes.iter().map(|&change| change.to_owned()).collect();
    world.engine.import(futures_util::stream::iter([Ok(Bytes::from(tar))]), &name, &changes).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_without_a_shell_cannot_run_a_command_line() {
    let world = World::new().await;
    let image = bare(&world, &[]).await;
    let mut spec = world.spec("");
    spec.program =
        Program::Image { image: image.clone(), command: Some("node server.js".into()), port: PORT };
    let said = refused(&world, &spec).await;
    assert!(said.contains("has no /bin/sh") && said.contains(image.short()), "{said}");
    assert!(said.contains("node server.js"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_without_a_command_says_so() {
    let world = World::new().await;
    let mut spec = world.spec("");
    spec.program = Program::Image { image: bare(&world, &[]).await, command: None, port: PORT };
    let said = refused(&world, &spec).await;
    assert!(said.contains("the image says no command"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_whose_user_does_not_exist_says_so() {
    let world = World::new().await;
    let mut spec = world.spec("");
    let image = bare(&world, &["USER nobodyknows", "CMD [\"/readme\"]"]).await;
    spec.program = Program::Image { image, command: None, port: PORT };
    let said = refused(&world, &spec).await;
    assert!(said.contains("USER") && said.contains("nobodyknows"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_that_is_gone_is_named() {
    let world = World::new().await;
    let image: Digest = format!("sha256:{}", "0a".repeat(32)).parse().unwrap();
    let mut spec = world.spec("");
    spec.program = Program::Image { image: image.clone(), command: None, port: PORT };
    let said = refused(&world, &spec).await;
    assert!(said.contains("not in the container engine any more") && said.contains(image.short()), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_is_not_text_is_refused_by_its_name() {
    let world = World::new().await;
    let mut spec = world.spec("true");
    spec.env.set("TOKEN", b"\xfe\xff".to_vec()).unwrap();
    let said = refused(&world, &spec).await;
    assert!(said.contains("the value of TOKEN is not UTF-8"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_does_not_run_in_a_container() {
    let world = World::new().await;
    let mut spec = world.spec("");
    spec.program = Program::Folder { dir: "/tmp".into(), command: "true".into() };
    refused(&world, &spec).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_of_the_image_that_does_not_exist_ends_with_a_word_about_it() {
    let world = World::new().await;
    let mut spec = world.spec("");
    let image = bare(&world, &["CMD [\"/no/such/program\"]"]).await;
    spec.program = Program::Image { image, command: None, port: PORT };
    // The init process is what the engine starts; it says the rest.
    match world.backend.start(&spec).await {
        Ok(_) => {
            assert!(!world.backend.wait(&spec.id).await.unwrap().is_success());
            let lines = world.lines(&spec).join("\n");
            assert!(lines.contains("/no/such/program"), "{lines}");
            world.stop(&spec).await;
        }
        Err(error) => assert!(error.to_string().contains("/no/such/program"), "{error}"),
    }
    world.assert_nothing_left().await;
}
