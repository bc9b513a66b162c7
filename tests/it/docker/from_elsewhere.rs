//! Images that somebody else has built: by name from a registry, as a `docker save` stream; functions of Lambda.

use crate::world::{World, engine::LAMBDA_PYTHON};

#[test]
fn a_lambda_image_answers_visitors() {
    let world = World::with_docker();
    let ada = world.developer("ada");
    let function = r#"import json

def handler(event, context):
    http = event["requestContext"]["http"]
    print("asked for", event["rawPath"])
    if event["rawPath"] == "/teapot":
        return {"statusCode": 418, "headers": {"x-pot": "tea"}, "body": "short and stout"}
    return {"statusCode": 200, "headers": {"content-type": "application/json"},
            "body": json.dumps({"method": http["method"], "query": event["rawQueryString"], "body": event.get("body")})}
"#;
    let repo = ada.app_of(vec![
        (
            "Dockerfile",
            format!("FROM {LAMBDA_PYTHON}\nCOPY app.py ${{LAMBDA_TASK_ROOT}}/\nCMD [\"app.handler\"]\n"),
        ),
        ("app.py", function.into()),
    ]);
    repo.push("fn").accepted().says(&["Lambda"]);
    let answer = world.get("fn", "/hello?a=1&b=2");
    assert_eq!(answer.status, 200, "{answer:?}");
    let told: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((told["method"].as_str(), told["query"].as_str()), (Some("GET"), Some("a=1&b=2")), "{told}");
    let teapot = world.get("fn", "/teapot");
    assert_eq!(
        (teapot.status, teapot.header("x-pot"), teapot.body.as_str()),
        (418, Some("tea"), "short and stout")
    );

    // A function that cannot be loaded is not live.
    let before = world.settled("fn");
    repo.write("app.py", "import no_such_module\n").commit();
    repo.push("fn").rejected_at("health", &["no_such_module"]);
    world.assert_nothing_left("fn", &before);
    assert_eq!(world.get("fn", "/teapot").status, 418);
}
