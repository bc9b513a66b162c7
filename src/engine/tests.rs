//! The connection against the real engine, and against none.

use crate::{AgentMark, Engine, EngineError, Product, host};

fn engine() -> Engine {
    Engine::new(host::find().expect("an engine runs on this machine"), AgentMark::random().unwrap())
}

#[tokio::test]
async fn the_engine_says_what_it_is() {
    let engine = engine();
    let about = engine.about().await.unwrap();
    assert_eq!(about.product, Product::Docker, "{about:?}");
    assert!(about.has_buildkit && about.is_local && !about.is_rootless, "{about:?}");
    assert!(about.limits_memory && about.limits_pids, "{about:?}");
    assert_eq!(engine.ping().await.unwrap(), about);
}

#[tokio::test]
async fn no_engine_is_said_with_the_address_that_was_tried() {
    let engine = Engine::new("unix:///nowhere/docker.sock".parse().unwrap(), AgentMark::random().unwrap());
    let error = engine.about().await.unwrap_err();
    assert!(matches!(error, EngineError::Unreachable { .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        "no container engine answers at unix:///nowhere/docker.sock: the socket does not exist"
    );
}
