//! Folders that outlive releases.

use std::fs;

use crate::world::{World, apps};

/// Keeps what it is told in its storage, and says what is kept there.
fn keeper() -> apps::Files {
    apps::node_with(
        r#"const fs = require("node:fs");
  if (url.pathname === "/keep") fs.writeFileSync("storage/word", url.searchParams.get("word"));
  if (url.pathname === "/env") return response.end(process.env.STORAGE_SHOP_DATA || "nowhere");
  response.end(fs.existsSync("storage/word") ? fs.readFileSync("storage/word") : "nothing");"#,
    )
}

#[test]
fn what_an_app_keeps_outlives_its_releases() {
    let world = World::new();
    let ada = world.developer("ada");
    assert_eq!(ada.ssh(&["storage:exists", "shop-data"]).code, Some(1));
    let made = ada.ssh(&["storage:ensure-directory", "shop-data"]).ok();
    assert!(made.starts_with("-----> Ensuring ") && made.contains("Directory ready for mounting"), "{made}");
    ada.ssh(&["storage:ensure-directory", "shop-data"]).ok();
    ada.ssh(&["storage:exists", "shop-data"]).ok();
    let folder = world.data_dir().join("storage/shop-data");
    assert!(folder.is_dir());

    let repo = ada.app_of(keeper());
    repo.write("storage/.gitkeep", "").commit();
    repo.push("shop").accepted();
    let mount = "/var/lib/dokku/data/storage/shop-data:/app/storage";
    ada.ssh(&["storage:mount", "shop", mount]).ok();
    let again = ada.ssh(&["storage:mount", "shop", "shop-data:/app/storage"]);
    assert_eq!(again.code, Some(1), "{again}");
    let list = ada.ssh(&["storage:list", "shop"]).ok();
    let shown = format!("{}:/app/storage", folder.display());
    assert_eq!(list, format!("=====> shop volume bind-mounts:\n       {shown}\n"));
    let json: serde_json::Value =
        serde_json::from_str(&ada.ssh(&["storage:list", "shop", "--format", "json"]).ok()).unwrap();
    assert_eq!(json[0]["container_path"], "/app/storage", "{json}");
    let report = ada.ssh(&["storage:report", "shop", "--storage-deploy-mounts"]).ok();
    assert_eq!(report, format!("-v {shown}\n"));

    repo.write("second", "").commit();
    repo.push("shop").accepted();
    assert_eq!(world.get("shop", "/env").body, folder.display().to_string());
    world.get("shop", "/keep?word=kept");
    assert_eq!(fs::read(folder.join("word")).unwrap(), b"kept");
    repo.write("third", "").commit();
    repo.push("shop").accepted();
    assert_eq!(world.get("shop", "/").body, "kept");
    world.kill9_and_restart();
    assert_eq!(world.get("shop", "/").body, "kept");

    ada.ssh(&["storage:unmount", "shop", "shop-data:/app/storage"]).ok();
    assert_eq!(ada.ssh(&["storage:unmount", "shop", "shop-data:/app/storage"]).code, Some(1));
    repo.write("fourth", "").commit();
    repo.push("shop").accepted();
    assert_eq!(world.get("shop", "/").body, "nothing");
    ada.ssh(&["apps:destroy", "shop", "--force"]).ok();
    assert_eq!(fs::read(folder.join("word")).unwrap(), b"kept", "data outlives the app");
}

#[test]
fn what_cannot_be_mounted_is_refused_at_once() {
    let world = World::new();
    let ada = world.developer("ada");
    ada.app_of(keeper()).push("shop").accepted();
    ada.ssh(&["storage:ensure-directory", "data"]).ok();
    for mount in [
        "data",
        "data:",
        "data:relative",
        "../keys:/app/keys",
        "data:/app/../../etc",
        "data:/",
        "data:/data",
        "data:/app/storage:ro",
        "data:/app/storage:z",
        "$(id):/app/x",
    ] {
        let output = ada.ssh(&["storage:mount", "shop", &format!("'{mount}'")]);
        assert_eq!(output.code, Some(2), "{mount}: {output}");
    }
    for mount in ["nothing:/app/x", "/nowhere/at/all:/app/x"] {
        let output = ada.ssh(&["storage:mount", "shop", mount]);
        assert_eq!(output.code, Some(1), "{mount}: {output}");
    }
    for name in ["../x", "-x", "a/b", "a;b", "'a b'"] {
        let output = ada.ssh(&["storage:ensure-directory", "--", name]);
        assert_eq!(output.code, Some(2), "{name}: {output}");
    }
    assert_eq!(ada.ssh(&["storage:ensure-directory", "x", "--chown", "everybody"]).code, Some(2));
    assert_eq!(ada.ssh(&["storage:mount", "nowhere", "data:/app/x"]).code, Some(20));
    assert_eq!(ada.ssh(&["storage:list", "shop"]).ok().lines().count(), 1, "nothing was mounted");
    let names: Vec<_> = fs::read_dir(world.data_dir().join("storage")).unwrap().collect();
    assert_eq!(names.len(), 1);
}

#[test]
fn a_release_with_files_of_its_own_there_does_not_go_live() {
    let world = World::new();
    let ada = world.developer("ada");
    let repo = ada.app_of(keeper());
    repo.push("shop").accepted();
    ada.ssh(&["storage:ensure-directory", "data"]).ok();
    ada.ssh(&["storage:mount", "shop", "data:/app/storage"]).ok();
    repo.write("storage/word", "from git").commit();
    repo.push("shop").rejected_at("start", &["brings files of its own at storage", "storage:unmount"]);
    assert_eq!(world.get("shop", "/").status, 200, "the release before goes on");
}
