//! Secrets reach the command that mounts them, and nothing else.

use autostack_domain::{FailureKind, Secret};

use super::*;

const CANARY: &str = "canary-7c1f0d5e9b";

#[tokio::test]
async fn a_secret_is_read_by_its_command_and_is_in_no_layer() {
    let world = World::with(
        "COPY . /app\nRUN --mount=type=secret,id=TOKEN,required sha256sum /run/secrets/TOKEN > /sum && \
         wc -c < /run/secrets/TOKEN\n",
    )
    .await;
    world.write("a", "1");
    let mut order = world.order(BuilderChoice::BuildKit);
    // What a secret holds decides nothing about the cache.
    order.no_cache = true;
    order.secrets.push(("TOKEN".into(), Arc::new(Secret::new(CANARY.as_bytes().to_vec()))));
    let tag = order.tag.clone();
    let (_, said) = world.built(order).await;
    assert!(said.contains(&format!("\n{}\n", CANARY.len())), "the command read it: {said}");
    assert!(world.run(&tag, "cat /sum").len() > 64);

    let saved = world.dir.path().join("saved.tar");
    docker(&["save", "-o", saved.to_str().unwrap(), &tag]);
    let bytes = fs::read(saved).unwrap();
    assert!(memchr::memmem::find(&bytes, b"secrets/TOKEN").is_some(), "the history is in there");
    assert_eq!(
        memchr::memmem::find(&bytes, CANARY.as_bytes()),
        None,
        "a layer or the configuration holds it"
    );
    assert!(!docker(&["history", "--no-trunc", &tag]).contains(CANARY));
    assert!(!docker(&["inspect", &tag]).contains(CANARY));
    assert!(!said.contains(CANARY));
}

#[tokio::test]
async fn a_secret_that_is_not_given_is_named() {
    let world = World::with("RUN --mount=type=secret,id=TOKEN,required cat /run/secrets/TOKEN\n").await;
    let error = world.refused(world.order(BuilderChoice::BuildKit)).await;
    assert_eq!(error.kind, FailureKind::BuildFailed);
    assert!(error.message.contains("needs the secret TOKEN"), "{error:#?}");
    assert!(error.evidence[0].starts_with("Dockerfile line 2: RUN --mount"), "{error:#?}");

    let world = World::with("RUN --mount=type=secret,id=TOKEN cat /run/secrets/TOKEN\n").await;
    let error = world.refused(world.order(BuilderChoice::BuildKit)).await;
    assert!(error.message.ends_with("ended with exit code 1"), "{error:#?}");
    assert!(error.hint.contains("give the build the secret"), "{error:#?}");
}

#[tokio::test]
async fn the_classic_builder_refuses_secrets_and_says_what_would_take_them() {
    let world = World::with("RUN true\n").await;
    let mut order = world.order(BuilderChoice::Classic);
    order.secrets.push(("TOKEN".into(), Arc::new(Secret::new(CANARY.as_bytes().to_vec()))));
    let error = world.refused(order).await;
    assert!(error.message.contains("TOKEN") && error.hint.contains("BuildKit"), "{error:#?}");

    let world = World::with("RUN --mount=type=secret,id=TOKEN cat /run/secrets/TOKEN\n").await;
    let error = world.refused(world.order(BuilderChoice::Classic)).await;
    assert!(error.message.ends_with("needs BuildKit"), "{error:#?}");
    assert!(error.evidence[0].starts_with("Dockerfile line 2: "), "{error:#?}");
}
