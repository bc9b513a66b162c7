//! The document, held against the running agent by schemathesis, which knows nothing but the document.

use std::{fs, process::Command};

use super::somebody;
use crate::world::{World, tools::tools};

#[test]
fn schemathesis_finds_no_fault_of_the_server_and_no_answer_that_the_document_does_not_know() {
    let world = World::new();
    let admin = somebody(&world, "admin@example.com", true);
    // Files alone: nothing has to be started anew each time.
    world.developer("ada").app_of(vec![("index.html", "hello".to_owned())]).push("shop").accepted();
    let deployment = admin.get("/api/deployments").ok()["deployments"][0]["id"].clone();
    // Most of what is asked is about something that is there.
    let config = format!(
        "[parameters]\n\"path.name\" = \"shop\"\n\"path.n\" = 1\n\"path.user\" = \"admin@example.com\"\n\
         [[operations]]\ninclude-path-regex = \"^/api/(deployments|monitoring/pipeline)/\"\n\
         parameters = {{ \"path.id\" = {deployment} }}\n"
    );
    fs::write(world.folder().join("schemathesis.toml"), config).unwrap();
    let checks = "not_a_server_error,status_code_conformance,content_type_conformance,\
                  response_schema_conformance,response_headers_conformance";
    let run = Command::new(tools("schemathesis").join("bin/schemathesis"))
        .current_dir(world.folder())
        .args(["--config-file", "schemathesis.toml", "run"])
        .arg(format!("http://{}/api/openapi.json", world.api_address()))
        .args(["--header", &format!("Authorization: Bearer {}", admin.token().unwrap())])
        .args(["--checks", checks, "--phases", "examples,coverage,fuzzing", "--max-examples", "30"])
        // Feeds do not end; what is destroyed cannot be asked about any more.
        .args(["--exclude-path-regex", "/logs/stream$"])
        .args(["--exclude-method", "DELETE"])
        .args(["--request-timeout", "40", "--continue-on-failure", "--suppress-health-check", "all"])
        // What fails once fails again.
        .args(["--seed", "1"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{said}\n{}", String::from_utf8_lossy(&run.stderr));
    let tested = said.lines().find_map(|line| line.trim().strip_prefix("Tested: ")?.parse::<usize>().ok());
    assert!(tested > Some(60), "{said}");
    assert!(!said.contains("Unresolvable references"), "{said}");
}
