//! `apps:clone`: a second app that is like the first, and nothing of the first changes.

use crate::world::{World, apps, http_get};

#[test]
fn a_clone_runs_the_same_at_once_and_the_first_is_not_touched() {
    let world = World::new();
    let (ada, dee, vic, eve) =
        (world.person("ada"), world.person("dee"), world.person("vic"), world.person("eve"));
    let repo =
        ada.app_of(apps::node_with("response.end(`${process.env.APP_NAME} ${process.env.GREETING}`);"));
    repo.push("shop").accepted();
    ada.ssh(&["config:set", "shop", "GREETING=hello"]).ok();
    ada.ssh(&["domains:set", "shop", "example.test"]).ok();
    ada.ssh(&["redirect:set", "shop", "old.test", "example.test"]).ok();
    ada.ssh(&["ps:scale", "shop", "web=2"]).ok();
    ada.ssh(&["access:add", "shop", "dee", "deployer"]).ok();
    ada.ssh(&["access:add", "shop", "vic", "viewer"]).ok();
    ada.ssh(&["apps:create", "taken"]).ok();
    ada.ssh(&["apps:lock", "shop"]).ok();
    let runs = || world.instances("shop").into_iter().map(|process| process.pid).collect::<Vec<_>>();
    let made = || (world.state("shop").artifacts, world.state("shop").refs);
    let before = (runs(), made());

    for (words, code) in [
        (&["apps:clone", "shop"][..], 2),
        (&["apps:clone", "shop", "UPPER"], 2),
        (&["apps:clone", "shop", "twin", "more"], 2),
        (&["apps:clone", "shop", "taken"], 1),
        (&["apps:clone", "shop", "shop"], 1),
        (&["apps:clone", "none", "twin"], 20),
    ] {
        let refused = ada.ssh(words);
        assert_eq!(refused.code, Some(code), "{words:?}: {refused}");
    }
    assert_eq!(vic.ssh(&["apps:clone", "shop", "twin"]).code, Some(1));
    for words in [&["apps:clone", "shop", "twin"][..], &["apps:clone", "--ignore-existing", "shop", "taken"]]
    {
        assert_eq!(eve.ssh(words).code, Some(20), "{words:?}");
    }
    // Whose the name is is not told, and that it is there is no success.
    assert_eq!(dee.ssh(&["apps:clone", "--ignore-existing", "shop", "taken"]).code, Some(1));
    ada.ssh(&["apps:clone", "--ignore-existing", "shop", "taken"]).ok();
    assert_eq!(ada.ssh(&["config:keys", "taken"]).ok(), "");

    let cloned = dee.ssh(&["apps:clone", "shop", "twin"]);
    assert!(cloned.clone().ok().contains("=====> twin is a clone of shop"), "{cloned}");
    assert_eq!(world.get("twin", "/").body, "twin hello");
    assert_eq!((runs(), made()), before);
    let shop = http_get(world.http(), "example.test", "/", &[]).unwrap();
    assert_eq!(shop.body, "shop hello");
    assert_eq!(dee.ssh(&["domains:report", "twin", "--domains-app-vhosts"]).ok(), "twin.localhost\n");
    assert_eq!(dee.ssh(&["apps:report", "twin", "--apps-owner"]).ok(), "dee\n");
    assert_eq!(dee.ssh(&["apps:locked", "twin"]).code, Some(1));
    assert_eq!(dee.ssh(&["ps:report", "twin", "--ps-running"]).ok(), "true\n");
    let scale = dee.ssh(&["ps:scale", "twin"]).ok();
    assert!(scale.contains("web") && scale.contains('2'), "scaled like the first: {scale}");
    assert_eq!(ada.ssh(&["url", "twin"]).code, Some(20), "members do not come along");

    // It stands on its own feet: the first goes, and it is pushed to, rebuilt, and started anew.
    ada.ssh(&["apps:destroy", "shop", "--force"]).ok();
    world.kill9_and_restart();
    assert_eq!(world.get("twin", "/").body, "twin hello");
    dee.ssh(&["config:set", "twin", "GREETING=bye"]).ok();
    assert_eq!(world.get("twin", "/").body, "twin bye");
    dee.ssh(&["ps:rebuild", "twin"]).ok();
    assert_eq!(world.get("twin", "/").body, "twin bye");
    let own = dee.clone_of("twin", &[]);
    own.commit();
    own.push("twin").accepted();
}

#[test]
fn a_clone_that_does_not_start_is_not_there_and_one_that_need_not_is() {
    let world = World::new();
    let ada = world.person("ada");
    let mut files = apps::node("web");
    files[1].1 = format!("if (process.env.APP_NAME === 'twin') process.exit(3);\n{}", files[1].1);
    ada.app_of(files).push("shop").accepted();
    let failed = ada.ssh(&["apps:clone", "shop", "twin"]);
    assert_eq!(failed.code, Some(1), "{failed}");
    assert!(failed.stderr.contains("--skip-deploy"), "{failed}");
    assert_eq!(ada.ssh(&["apps:list", "--quiet"]).ok(), "shop\n");
    for folder in ["repos/twin.git", "artifacts/twin", "logs/apps/twin"] {
        assert!(!world.data_dir().join(folder).exists(), "{folder} is left");
    }
    ada.ssh(&["apps:clone", "shop", "third", "--skip-deploy"]).ok();
    assert_eq!(world.get("third", "/").status, 404);
    ada.ssh(&["ps:rebuild", "third"]).ok();
    assert_eq!((world.get("third", "/").body.as_str(), world.get("shop", "/").body.as_str()), ("web", "web"));
}
