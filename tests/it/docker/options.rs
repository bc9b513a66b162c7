//! `docker-options:*`: what operators tell the engine beyond what it is always told, and what nobody may tell it.

use serde_json::Value;

use crate::world::{World, apps};

#[test]
fn options_reach_the_build_the_instances_and_the_one_offs() {
    let world = World::with_docker();
    let ada = world.developer("ada");
    ada.ssh(&["apps:create", "shop"]).ok();
    ada.ssh(&["docker-options:add", "shop", "build", "--build-arg WORD=given --target final"]).ok();
    ada.ssh(&["docker-options:add", "shop", "deploy,run", "'--shm-size 32m'", "--ulimit", "nofile=512:1024"])
        .ok();
    ada.ssh(&[
        "docker-options:add",
        "shop",
        "deploy",
        "--read-only",
        "--tmpfs=/run:size=1m",
        "--label",
        "team=shop",
    ])
    .ok();
    let mut files = apps::dockerfile_with("ARG WORD=default\nRUN echo $WORD >/www/word", "up");
    let dockerfile = &mut files[0].1;
    // The last stage has no program: it is not the one that is wanted.
    *dockerfile =
        dockerfile.replacen('\n', " AS final\n", 1) + "FROM scratch AS other\nCOPY --from=final /www /www\n";
    let said = ada.app_of(files).push("shop").accepted().said().join("\n");
    assert!(said.contains("docker-options: --build-arg=WORD=…"), "{said}");
    assert_eq!(world.get("shop", "/word").body, "given\n");

    let container = world.container("shop");
    let asked =
        |format: &str| world.docker().ok(&["inspect", "--format", format, &container.id]).trim().to_owned();
    assert_eq!(asked("{{.HostConfig.ShmSize}} {{.HostConfig.ReadonlyRootfs}}"), "33554432 true");
    assert_eq!(asked("{{index .Config.Labels \"team\"}}"), "shop");
    assert_eq!(
        world.inside(
            &container,
            "ulimit -n; touch /x 2>/dev/null || echo read-only; touch /run/y && echo tmpfs"
        ),
        "512\nread-only\ntmpfs"
    );
    assert_eq!(ada.ssh(&["run", "shop", "'ulimit -n; touch /x && echo writes'"]).ok(), "512\nwrites\n");

    // What is told of an app outlives the agent, and its containers are known again.
    world.kill9_and_restart();
    assert_eq!(world.container("shop").id, container.id);
    let report = ada.ssh(&["docker-options:report", "shop"]).ok();
    assert!(report.starts_with("=====> shop docker options information\n"), "{report}");
    assert!(report.contains("--shm-size=33554432 --ulimit=nofile=512:1024 --read-only"), "{report}");
    assert_eq!(
        ada.ssh(&["docker-options:report", "shop", "--docker-options-run"]).ok(),
        "--shm-size=33554432 --ulimit=nofile=512:1024\n"
    );
    let listed: Value = serde_json::from_str(
        &ada.ssh(&["docker-options:list", "shop", "--phase", "build", "--format", "json"]).ok(),
    )
    .unwrap();
    assert_eq!(listed[1], serde_json::json!({ "phase": "build", "option": "--target=final" }));

    ada.ssh(&["docker-options:remove", "shop", "deploy", "--read-only"]).ok();
    ada.ssh(&["ps:restart", "shop"]).ok();
    assert_eq!(world.inside(&world.container("shop"), "touch /x && echo writes"), "writes");
    let gone = ada.ssh(&["docker-options:remove", "shop", "deploy", "--read-only"]);
    assert!(gone.code == Some(1) && gone.stderr.contains("has no option --read-only"), "{gone}");
    ada.ssh(&["docker-options:clear", "shop"]).ok();
    assert_eq!(ada.ssh(&["docker-options:report", "shop", "--docker-options-deploy"]).ok(), "\n");
}

#[test]
fn e1_no_option_leads_out_of_a_container() {
    let world = World::new();
    let ada = world.developer("ada");
    ada.ssh(&["apps:create", "shop"]).ok();
    for (options, why) in [
        ("--privileged", "out of its container"),
        ("--pid=host", "out of its container"),
        ("--network host", "a network of its own"),
        ("--cap-add=ALL", "out of its container"),
        ("--device /dev/sda", "out of its container"),
        ("--security-opt seccomp=unconfined", "out of its container"),
        ("-v /var/run/docker.sock:/docker.sock", "storage:mount"),
        ("--mount=type=bind,source=/,target=/host", "storage:mount"),
        ("--init --privileged", "out of its container"),
        ("-p 22:22", "the proxy"),
        ("--memory 1g", "resource:limit"),
        ("--restart=always", "started again by the platform"),
        ("--entrypoint sh", "is not allowed"),
        ("--label autostack.app=other", "belong to the platform"),
        ("--add-host=me:host-gateway", "host-gateway is not allowed"),
    ] {
        for phase in ["deploy", "run", "deploy,run"] {
            let refused = ada.ssh(&["docker-options:add", "shop", phase, &format!("'{options}'")]);
            assert_eq!(refused.code, Some(2), "{options}: {refused}");
            assert!(refused.stderr.contains(why), "{options}: {refused}");
        }
    }
    assert_eq!(ada.ssh(&["docker-options:add", "shop", "build", "--secret=id=x"]).code, Some(2));
    assert_eq!(ada.ssh(&["docker-options:add", "shop", "build", "--shm-size=1m"]).code, Some(2));
    assert_eq!(ada.ssh(&["docker-options:add", "shop", "never", "--init"]).code, Some(2));
    assert_eq!(ada.ssh(&["docker-options:add", "shop", "deploy"]).code, Some(2));
    assert_eq!(ada.ssh(&["docker-options:list", "shop", "--format", "json"]).ok(), "[]\n");
}
