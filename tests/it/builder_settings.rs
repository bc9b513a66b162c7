//! How an app is built: the builder, its folder, its buildpacks.

use crate::world::{World, apps};

#[test]
fn the_folder_and_the_buildpacks_decide_over_the_tree() {
    let world = World::new();
    let (ada, eve) = (world.person("ada"), world.person("eve"));
    ada.ssh(&["apps:create", "shop"]).ok();
    let repo = ada.app_of(apps::node("node"));
    repo.write("site/index.html", "site");
    repo.commit();

    ada.ssh(&["builder:set", "shop", "build-dir", "site"]).ok();
    let push = repo.push("shop").accepted();
    assert!(push.screen.contains("build-dir=site: that folder is the app"), "{}", push.screen);
    assert_eq!(world.get("shop", "/").body, "site");
    assert_eq!(ada.ssh(&["builder:report", "shop", "--builder-build-dir"]).ok(), "site\n");
    ada.ssh(&["builder:set", "shop", "build-dir"]).ok();

    // A name that the tree does not fit is told, and nothing changes.
    ada.ssh(&["buildpacks:add", "shop", "https://github.com/heroku/heroku-buildpack-ruby.git"]).ok();
    repo.commit();
    repo.push("shop").rejected_at("detect", &["heroku/ruby", "does not fit", "buildpacks:remove"]);
    assert_eq!(world.get("shop", "/").body, "site");
    ada.ssh(&["buildpacks:add", "--index", "1", "shop", "heroku/go"]).ok();
    ada.ssh(&["buildpacks:set", "--index", "2", "shop", "nodejs"]).ok();
    let list = ada.ssh(&["buildpacks:list", "shop"]).ok();
    assert!(list.find("heroku/go").unwrap() < list.find("heroku/nodejs").unwrap(), "{list}");
    let json = ada.ssh(&["buildpacks:list", "shop", "--format", "json"]).ok();
    assert_eq!(json, "[{\"buildpack\":\"heroku/go\"},{\"buildpack\":\"heroku/nodejs\"}]\n");
    repo.push("shop").accepted();
    assert_eq!(world.get("shop", "/").body, "node", "the last one starts it");

    let twice = ada.ssh(&["buildpacks:add", "shop", "nodejs"]);
    assert!(twice.code == Some(1) && twice.stderr.contains("already"), "{twice}");
    ada.ssh(&["buildpacks:remove", "shop", "heroku/go"]).ok();
    assert_eq!(ada.ssh(&["buildpacks:remove", "shop", "heroku/go"]).code, Some(1));
    ada.ssh(&["buildpacks:clear", "shop"]).ok();
    assert_eq!(ada.ssh(&["buildpacks:report", "shop", "--buildpacks-list"]).ok(), "\n");

    // Without an engine there is nobody to build a Dockerfile, and it says so.
    ada.ssh(&["builder:set", "shop", "selected", "dockerfile"]).ok();
    repo.commit();
    repo.push("shop").rejected_at("detect", &["container engine", "builder:set"]);
    ada.ssh(&["builder:set", "shop", "selected", "herokuish"]).ok();
    assert_eq!(ada.ssh(&["builder:report", "shop", "--builder-selected"]).ok(), "recipe\n");
    repo.push("shop").accepted();
    ada.ssh(&["builder-dockerfile:set", "shop", "dockerfile-path", "deploy/Dockerfile"]).ok();
    let path = ada.ssh(&["builder-dockerfile:report", "shop", "--builder-dockerfile-dockerfile-path"]).ok();
    assert_eq!(path, "deploy/Dockerfile\n");

    for words in [
        &["builder:set", "shop"][..],
        &["builder:set", "shop", "selected", "null"],
        &["builder:set", "shop", "build-dir", "../x"],
        &["builder:set", "shop", "build-dir", "/etc"],
        &["builder:set", "shop", "nonsense", "x"],
        &["builder-dockerfile:set", "shop", "dockerfile-path", "../../x"],
        &["builder-dockerfile:set", "shop", "nonsense", "x"],
        &["buildpacks:add", "shop"],
        &["buildpacks:add", "shop", "heroku/erlang"],
        &["buildpacks:add", "shop", "'$(id)'"],
        &["buildpacks:add", "--index", "0", "shop", "nodejs"],
    ] {
        assert_eq!(ada.ssh(words).code, Some(2), "{words:?}");
    }
    for words in [
        &["builder:set", "shop", "selected"][..],
        &["builder:report", "shop"],
        &["builder-dockerfile:set", "shop", "dockerfile-path"],
        &["builder-dockerfile:report", "shop"],
        &["buildpacks:add", "shop", "nodejs"],
        &["buildpacks:list", "shop"],
        &["buildpacks:clear", "shop"],
    ] {
        let stranger = eve.ssh(words);
        assert_eq!(stranger.code, Some(20), "{words:?}: {stranger}");
    }
}
