//! What operators say about a repository: the branch, the `.git` folder, the variable of the commit; its upkeep.

use crate::world::{World, apps};

#[test]
fn the_settings_of_a_repository_take_effect() {
    let world = World::new();
    let (ada, eve) = (world.person("ada"), world.person("eve"));
    let (vic, dee) = (world.person("vic"), world.person("dee"));
    ada.ssh(&["apps:create", "shop"]).ok();
    ada.ssh(&["git:initialize", "shop"]).ok();
    ada.ssh(&["git:set", "shop", "deploy-branch", "trunk"]).ok();
    ada.ssh(&["git:set", "shop", "rev-env-var", "COMMIT"]).ok();
    ada.ssh(&["git:set", "shop", "keep-git-dir", "true"]).ok();
    assert_eq!(ada.ssh(&["git:report", "shop", "--git-deploy-branch"]).ok(), "trunk\n");

    let repo = ada.app_of(apps::node("web"));
    repo.write(
        "server.js",
        "const http = require('http');\nconst { execSync } = require('child_process');\n\
         const head = execSync('git rev-list --count HEAD').toString().trim();\n\
         http.createServer((q, a) => a.end(`${process.env.COMMIT} ${process.env.GIT_REV} ${head}`))\
         .listen(process.env.PORT);\n",
    );
    repo.commit();
    let main = repo.push("shop").accepted();
    assert!(main.screen.contains("stored, not deployed"), "{}", main.screen);
    repo.push_with("shop", &[], &["HEAD:refs/heads/trunk"]).accepted();
    assert_eq!(world.get("shop", "/").body, format!("{} undefined 2", repo.head()));
    assert_eq!(ada.clone_of("shop", &[]).head(), repo.head());

    let report = ada.ssh(&["git:report", "shop"]).ok();
    assert!(report.starts_with("=====> shop git information\n"), "{report}");
    for row in ["Deploy branch:", "trunk", "Keep git dir:", "true", "Rev env var:", "COMMIT", &repo.head()] {
        assert!(report.contains(row), "{row}: {report}");
    }
    let json = ada.ssh(&["git:report", "shop", "--format", "json"]).ok();
    assert!(json.contains("\"rev-env-var\":\"COMMIT\""), "{json}");

    ada.ssh(&["git:set", "shop", "rev-env-var"]).ok();
    ada.ssh(&["git:set", "shop", "keep-git-dir", "false"]).ok();
    assert_eq!(ada.ssh(&["git:report", "shop", "--git-rev-env-var"]).ok(), "GIT_REV\n");
    let without = repo.push_with("shop", &[], &["HEAD:refs/heads/other"]).accepted();
    assert!(without.screen.contains("stored"), "{}", without.screen);

    for words in [
        &["git:set", "shop"][..],
        &["git:set", "shop", "nonsense", "x"],
        &["git:set", "shop", "deploy-branch", "a..b"],
        &["git:set", "shop", "deploy-branch", "'$(id) x'"],
        &["git:set", "shop", "keep-git-dir", "yes"],
        &["git:set", "shop", "rev-env-var", "1A"],
    ] {
        assert_eq!(ada.ssh(words).code, Some(2), "{words:?}");
    }
    ada.ssh(&["access:add", "shop", "vic", "viewer"]).ok();
    ada.ssh(&["access:add", "shop", "dee", "deployer"]).ok();
    assert!(vic.ssh(&["git:report", "shop"]).ok().contains("trunk"));
    for words in [
        &["git:set", "shop", "keep-git-dir", "true"][..],
        &["git:report", "shop"],
        &["git:initialize", "shop"],
        &["repo:gc", "shop"],
        &["repo:purge-cache", "shop"],
    ] {
        if words[0] != "git:report" {
            let viewer = vic.ssh(words);
            assert!(viewer.code == Some(1) && viewer.stderr.contains("may not"), "{words:?}: {viewer}");
        }
        dee.ssh(words).ok();
        let stranger = eve.ssh(words);
        assert_eq!(stranger.code, Some(20), "{words:?}: {stranger}");
    }
}

#[test]
fn a_repository_is_packed_and_a_cache_forgotten() {
    let world = World::new();
    let ada = world.person("ada");
    ada.ssh(&["apps:create", "shop"]).ok();
    let repo = ada.app_of(apps::node("web"));
    repo.push("shop").accepted();
    let packed = ada.ssh(&["repo:gc", "shop"]).ok();
    assert!(packed.contains("Packed the repository of shop"), "{packed}");
    ada.ssh(&["repo:purge-cache", "shop"]).ok();
    assert_eq!(world.get("shop", "/").body, "web");
    assert_eq!(ada.clone_of("shop", &[]).head(), repo.head());
    repo.commit();
    repo.push("shop").accepted();
}

#[test]
fn what_an_admin_sets_for_all_holds_where_an_app_says_nothing() {
    let world = World::new();
    let (root, ada) = (world.developer("root"), world.person("ada"));
    for words in [
        &["git:set", "--global", "deploy-branch", "trunk"][..],
        &["builder:set", "--global", "build-dir", "site"],
        &["builder:report", "--global"],
        &["git:report", "--global"],
    ] {
        let refused = ada.ssh(words);
        assert!(refused.code == Some(1) && refused.stderr.contains("ask an admin"), "{words:?}: {refused}");
    }
    root.ssh(&["git:set", "--global", "deploy-branch", "trunk"]).ok();
    root.ssh(&["git:set", "rev-env-var", "--global", "COMMIT"]).ok();
    root.ssh(&["builder:set", "--global", "build-dir", "site"]).ok();
    root.ssh(&["builder-dockerfile:set", "--global", "dockerfile-path", "deploy/Dockerfile"]).ok();
    assert_eq!(root.ssh(&["git:report", "--global", "--git-deploy-branch"]).ok(), "trunk\n");
    assert_eq!(root.ssh(&["builder:report", "--global", "--builder-global-build-dir"]).ok(), "site\n");

    let repo = ada.app_of(apps::node("the tree"));
    repo.write("site/index.html", "the site");
    repo.commit();
    repo.push("shop").accepted().says(&["this app deploys trunk"]);
    assert_eq!(world.get("shop", "/").status, 404);
    let value = |words: &[&str]| ada.ssh(words).ok().trim_end().to_owned();
    assert_eq!(value(&["git:report", "shop", "--git-deploy-branch"]), "");
    assert_eq!(value(&["git:report", "shop", "--git-computed-deploy-branch"]), "trunk");
    assert_eq!(value(&["git:report", "shop", "--git-global-deploy-branch"]), "trunk");
    assert_eq!(value(&["git:report", "shop", "--git-rev-env-var"]), "COMMIT");
    assert_eq!(value(&["git:report", "shop", "--git-last-updated-at"]), "");
    assert_eq!(value(&["builder:report", "shop", "--builder-build-dir"]), "");
    assert_eq!(value(&["builder:report", "shop", "--builder-computed-build-dir"]), "site");
    let path = ["builder-dockerfile:report", "shop", "--builder-dockerfile-computed-dockerfile-path"];
    assert_eq!(value(&path), "deploy/Dockerfile");
    repo.push_with("shop", &[], &["HEAD:refs/heads/trunk"]).accepted();
    assert_eq!(world.get("shop", "/").body, "the site");
    assert_eq!(value(&["git:report", "shop", "--git-deploy-branch"]), "trunk");
    assert!(value(&["git:report", "shop", "--git-last-updated-at"]).parse::<u64>().unwrap() > 1_700_000_000);

    // An app's own word wins, and what it takes back holds for it again.
    ada.ssh(&["builder:set", "shop", "build-dir", "other"]).ok();
    ada.ssh(&["git:set", "shop", "rev-env-var", "OWN"]).ok();
    repo.write("other/package.json", &repo.read("package.json"));
    let server = repo.read("server.js").replace("\"the tree\"", "`${process.env.OWN}`");
    repo.write("other/server.js", &server).commit();
    repo.push_with("shop", &[], &["HEAD:refs/heads/trunk"]).accepted();
    assert_eq!(world.get("shop", "/").body, repo.head());
    ada.ssh(&["builder:set", "shop", "build-dir"]).ok();
    ada.ssh(&["ps:rebuild", "shop"]).ok();
    assert_eq!(world.get("shop", "/").body, "the site");
    // Kept beyond a restart of the agent, and taken back.
    world.kill9_and_restart();
    root.ssh(&["builder:set", "--global", "build-dir"]).ok();
    root.ssh(&["git:set", "--global", "rev-env-var"]).ok();
    assert_eq!(value(&["git:report", "shop", "--git-global-rev-env-var"]), "GIT_REV");
    assert_eq!(value(&["builder:report", "shop", "--builder-computed-build-dir"]), "");
    for words in [
        &["git:set", "--global"][..],
        &["git:set", "--global", "deploy-branch", "a..b"],
        &["git:set", "--global", "nonsense", "x"],
        &["builder:set", "--global", "build-dir", "../x"],
        &["buildpacks:add", "--global", "nodejs"],
    ] {
        assert_eq!(root.ssh(words).code, Some(2), "{words:?}");
    }
}
