//! `apps:*`: an app is made, named, locked, reported on and removed.

use crate::world::{World, apps, http_get, wait};

#[test]
fn apps_are_listed_and_reported_in_the_shapes_that_scripts_expect() {
    let world = World::new();
    let ada = world.person("ada");
    assert_eq!(ada.ssh(&["apps:list"]).ok(), "=====> My Apps\n");
    assert_eq!(ada.ssh(&["apps:list", "--format", "json"]).ok(), "[]\n");
    ada.ssh(&["apps:create", "shop"]).ok();
    ada.ssh(&["apps:create", "blog"]).ok();
    assert_eq!(ada.ssh(&["apps:list"]).ok(), "=====> My Apps\nblog\nshop\n");
    assert_eq!(ada.ssh(&["apps:list", "--quiet"]).ok(), "blog\nshop\n");
    assert_eq!(ada.ssh(&["apps:list", "--format", "json"]).ok(), "[\"blog\",\"shop\"]\n");
    assert_eq!(ada.ssh(&["apps:exists", "shop"]).code, Some(0));
    assert_eq!(ada.ssh(&["apps:exists", "none"]).code, Some(20));
    assert_eq!(ada.ssh(&["url", "shop"]).ok(), format!("{}\n", world.url("shop")));
    assert_eq!(ada.ssh(&["urls", "shop"]).ok(), format!("{}\n", world.url("shop")));

    let report = ada.ssh(&["apps:report", "shop"]).ok();
    assert!(report.starts_with("=====> shop apps information\n"), "{report}");
    assert!(report.contains("\n       Locked:                        false\n"), "{report}");
    let all = ada.ssh(&["apps:report", "--format", "json"]).ok();
    let all: serde_json::Value = serde_json::from_str(&all).unwrap();
    assert_eq!((&all[0]["app"], &all[1]["owner"]), (&"blog".into(), &"ada".into()), "{all}");
    let one = |what: &str| ada.ssh(&["apps:report", "shop", what]).ok();
    assert_eq!(one("--apps-deploy-source"), "\n");

    ada.ssh(&["apps:set", "shop", "deploy-source", "my-tool"]).ok();
    ada.ssh(&["apps:set", "shop", "deploy-source-metadata", "'a;$(id) b'"]).ok();
    assert_eq!(one("--app-deploy-source"), "my-tool\n");
    assert_eq!(one("--apps-deploy-source-metadata"), "a;$(id) b\n");
    ada.ssh(&["apps:set", "shop", "deploy-source"]).ok();
    assert_eq!(one("--apps-deploy-source"), "\n");
    for (words, code) in [
        (&["apps:set", "shop", "colour", "red"][..], 2),
        (&["apps:set", "shop"], 2),
        (&["apps:set", "none", "deploy-source", "x"], 20),
        (&["apps:report", "shop", "--apps-colour"], 2),
        (&["apps:report", "none"], 20),
        (&["apps:list", "--format", "xml"], 2),
        (&["apps:list", "extra"], 2),
        (&["apps:create", "shop"], 1),
        (&["apps:create"], 2),
        (&["apps:create", "shop", "--global"], 2),
    ] {
        let refused = ada.ssh(words);
        assert_eq!(refused.code, Some(code), "{words:?}: {refused}");
        assert!(refused.stdout.is_empty() && refused.stderr.starts_with(" !     "), "{words:?}: {refused}");
    }
}

#[test]
fn nothing_is_deployed_to_a_locked_app() {
    let world = World::new();
    let ada = world.person("ada");
    let repo = ada.app_of(apps::node("one"));
    repo.push("shop").accepted();
    assert_eq!(ada.ssh(&["apps:report", "shop", "--apps-deploy-source"]).ok(), "git-push\n");
    assert_eq!(ada.ssh(&["apps:locked", "shop"]).code, Some(1));
    assert!(ada.ssh(&["apps:lock", "shop"]).ok().contains("Deploy lock created"));
    assert!(ada.ssh(&["apps:lock", "shop"]).ok().contains("exists already"));
    assert_eq!(ada.ssh(&["apps:locked", "shop"]).code, Some(0));

    let before = world.settled("shop");
    repo.write("server.js", &apps::node("two")[1].1).commit();
    let push = repo.push("shop");
    let push = push.rejected(&[
        "Nothing may be deployed to shop: ada@localhost (ada) has locked it",
        "apps:unlock shop",
    ]);
    assert!(!push.screen.contains("Writing objects"), "it is refused before the pack: {}", push.screen);
    world.assert_nothing_left("shop", &before);
    assert_eq!(world.get("shop", "/").body, "one", "what runs goes on");
    world.kill9_and_restart();
    assert_eq!(ada.ssh(&["apps:locked", "shop"]).code, Some(0), "the lock outlives the agent");

    ada.ssh(&["apps:unlock", "shop"]).ok();
    repo.push("shop").accepted();
    assert_eq!(world.get("shop", "/").body, "two");
}

#[test]
fn an_app_goes_only_when_its_name_is_typed() {
    let world = World::new();
    let ada = world.person("ada");
    ada.ssh(&["apps:create", "shop"]).ok();
    for typed in ["", "\n", "yes\n", "shop2\n", "shop; id\n"] {
        let kept = ada.ssh_input(&["apps:destroy", "shop"], typed.as_bytes());
        assert_eq!(kept.code, Some(1), "{typed:?}: {kept}");
        assert!(kept.stderr.contains("Nothing was removed"), "{typed:?}: {kept}");
    }
    assert_eq!(ada.ssh(&["apps:exists", "shop"]).code, Some(0));
    ada.ssh_input(&["apps:destroy", "shop"], b"shop\n").ok();
    assert_eq!(ada.ssh(&["apps:exists", "shop"]).code, Some(20));
    ada.ssh(&["apps:create", "shop"]).ok();
    ada.ssh(&["--", "--force", "apps:destroy", "shop"]).ok();
    assert_eq!(ada.ssh(&["apps:exists", "shop"]).code, Some(20));
}

#[test]
fn tools_that_ask_for_plugins_are_told_that_there_are_none() {
    let world = World::new();
    let ada = world.person("ada");
    assert_eq!(ada.ssh(&["plugin:list"]).ok(), "");
    assert_eq!(ada.ssh(&["plugin:list", "--format", "json"]).ok(), "[]\n");
    assert_eq!(ada.ssh(&["plugin:installed", "postgres"]).code, Some(1));
    let postgres = ada.ssh(&["postgres:create", "db"]);
    assert_eq!(postgres.code, Some(10));
    assert!(
        postgres.stderr.contains("Next: run it elsewhere, and config:set APP DATABASE_URL"),
        "{postgres}"
    );
}

#[test]
fn a_renamed_app_takes_everything_along_and_loses_no_request() {
    let world = World::new();
    let (ada, bob) = (world.person("ada"), world.person("bob"));
    let repo = ada
        .app_of(apps::node_with("console.log('asked ' + url.pathname); response.end(process.env.APP_NAME);"));
    repo.push("shop").accepted();
    ada.ssh(&["apps:create", "taken"]).ok();
    ada.ssh(&["access:add", "shop", "bob", "viewer"]).ok();
    ada.ssh(&["config:set", "shop", "A=1", "--no-restart"]).ok();
    world.get("shop", "/needle");
    for (words, code) in [
        (&["apps:rename", "shop", "taken"][..], 1),
        (&["apps:rename", "shop", "UPPER"], 2),
        (&["apps:rename", "shop"], 2),
        (&["apps:rename", "none", "mall"], 20),
    ] {
        let refused = ada.ssh(words);
        assert_eq!(refused.code, Some(code), "{words:?}: {refused}");
    }
    assert_eq!(bob.ssh(&["apps:rename", "shop", "mall"]).code, Some(1));
    assert_eq!(world.get("shop", "/").body, "shop");

    let is_over = std::sync::atomic::AtomicBool::new(false);
    let lost = std::thread::scope(|scope| {
        let visitor = scope.spawn(|| {
            let mut lost = Vec::new();
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                // Whoever asks for the old name is answered until the new one answers.
                let old = world.try_get("shop", "/").map(|response| response.status).unwrap_or(0);
                let new = world.try_get("mall", "/").map(|response| response.status).unwrap_or(0);
                if old != 200 && new != 200 {
                    lost.push((old, new));
                }
            }
            lost
        });
        let renamed = ada.ssh(&["apps:rename", "shop", "mall"]);
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(renamed.clone().ok().contains("=====> shop is mall now"), "{renamed}");
        visitor.join().unwrap()
    });
    assert!(lost.is_empty(), "{lost:?}");
    assert_eq!((world.get("mall", "/").body.as_str(), world.get("shop", "/").status), ("mall", 404));
    assert_eq!(ada.ssh(&["apps:exists", "shop"]).code, Some(20));
    assert_eq!(ada.ssh(&["config:get", "mall", "A"]).ok(), "1\n");
    assert!(
        bob.ssh(&["logs", "mall", "-n", "1000000"]).ok().contains("asked /needle"),
        "logs and members have come along"
    );
    for folder in ["repos/shop.git", "artifacts/shop", "cache/shop", "logs/apps/shop"] {
        assert!(!world.data_dir().join(folder).exists(), "{folder} is left");
    }
    repo.commit();
    repo.push("mall").accepted();
    world.kill9_and_restart();
    assert_eq!(world.get("mall", "/").body, "mall");
    // The old name is free.
    repo.push("shop").accepted();
    assert_eq!(
        (world.get("mall", "/").body.as_str(), world.get("shop", "/").body.as_str()),
        ("mall", "shop")
    );
}

#[test]
fn a_renamed_app_keeps_its_domains_all_the_while() {
    let world = World::new();
    let ada = world.person("ada");
    ada.app_of(apps::node_with("response.end(process.env.APP_NAME);")).push("shop").accepted();
    ada.ssh(&["domains:add", "shop", "example.test", "*.wild.test", "www.shop.localhost"]).ok();
    ada.ssh(&["redirect:set", "shop", "old.test", "example.test"]).ok();
    ada.ssh(&["certs:generate", "shop", "example.test"]).ok();
    let key = ada.ssh(&["certs:show", "shop", "key"]).ok();
    let get = |host: &str, path: &str| http_get(world.http(), host, path, &[]).map(|answer| answer.status);
    assert_eq!(get("example.test", "/needle").unwrap(), 200);
    wait::soon("the request to be in the access log", || {
        ada.ssh(&["access-logs", "shop"]).ok().contains("/needle").then_some(())
    });

    // What goes with the old name cannot go with the new one.
    let refused = ada.ssh(&["apps:rename", "shop", "mall"]);
    assert_eq!(refused.code, Some(1), "{refused}");
    assert!(refused.stderr.contains("domains:remove shop www.shop.localhost"), "{refused}");
    ada.ssh(&["domains:remove", "shop", "www.shop.localhost"]).ok();

    let is_over = std::sync::atomic::AtomicBool::new(false);
    let (lost, count) = std::thread::scope(|scope| {
        let visitor = scope.spawn(|| {
            let (mut lost, mut count) = (Vec::new(), 0);
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                for (host, wanted) in [("example.test", 200), ("a.wild.test", 200), ("old.test", 301)] {
                    let status = get(host, "/").unwrap_or(0);
                    count += 1;
                    if status != wanted {
                        lost.push((host, status));
                    }
                }
            }
            (lost, count)
        });
        let renamed = ada.ssh(&["apps:rename", "shop", "mall"]);
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        renamed.ok();
        visitor.join().unwrap()
    });
    assert!(lost.is_empty() && count > 0, "{lost:?} of {count}");
    let is_mall = || {
        for host in ["example.test", "a.wild.test", "mall.localhost"] {
            let answer = http_get(world.http(), host, "/", &[]).unwrap();
            assert_eq!((answer.status, answer.body.as_str()), (200, "mall"), "{host}");
        }
        assert_eq!((get("old.test", "/").unwrap(), get("shop.localhost", "/").unwrap()), (301, 404));
    };
    is_mall();
    assert_eq!(ada.ssh(&["certs:show", "mall", "key"]).ok(), key, "the certificate has come along");
    assert!(
        ada.ssh(&["access-logs", "mall", "-n", "1000000"]).ok().contains("/needle"),
        "and the access log"
    );
    assert!(!world.data_dir().join("logs/access/shop").exists());
    world.kill9_and_restart();
    is_mall();
}

#[test]
fn a_renaming_that_the_app_does_not_live_through_leaves_all_as_it_was() {
    let world = World::new();
    let ada = world.person("ada");
    let program = "if (process.env.APP_NAME !== 'shop') process.exit(3);\n";
    let mut files = apps::node("web");
    files[1].1 = format!("{program}{}", files[1].1);
    let repo = ada.app_of(files);
    repo.push("shop").accepted();
    let failed = ada.ssh(&["apps:rename", "shop", "mall"]);
    assert_eq!(failed.code, Some(1), "{failed}");
    assert!(failed.stderr.contains("is shop as before"), "{failed}");
    assert_eq!((world.get("shop", "/").body.as_str(), world.get("mall", "/").status), ("web", 404));
    assert_eq!(ada.ssh(&["apps:list", "--quiet"]).ok(), "shop\n");
    repo.commit();
    repo.push("shop").accepted();
    for folder in ["repos/mall.git", "artifacts/mall", "cache/mall", "logs/apps/mall"] {
        assert!(!world.data_dir().join(folder).exists(), "{folder} is left");
    }
}

#[test]
fn one_report_tells_everything_of_an_app_or_of_the_host() {
    let world = World::new();
    let (root, ada, eve) = (world.developer("root"), world.person("ada"), world.person("eve"));
    ada.ssh(&["apps:create", "shop"]).ok();
    ada.ssh(&["config:set", "shop", "TOKEN=hunter2"]).ok();
    let said = ada.ssh(&["report", "shop"]).ok();
    for topic in [
        "apps",
        "builder",
        "checks",
        "docker options",
        "domains",
        "git",
        "ports",
        "proxy",
        "ps",
        "resource",
        "storage",
    ] {
        assert!(said.contains(&format!("=====> shop {topic} information\n")), "{topic}: {said}");
    }
    assert!(!said.contains("hunter2"), "{said}");
    let json: serde_json::Value =
        serde_json::from_str(&ada.ssh(&["report", "shop", "--format", "json"]).ok()).unwrap();
    assert_eq!((&json["ps"]["deployed"], &json["git"]["app"]), (&"false".into(), &"shop".into()));
    assert_eq!(eve.ssh(&["report", "shop"]).code, Some(20));

    let host = root.ssh(&["report"]).ok();
    for row in ["Version:", "Domain:", "Kernel:", "Memory mib:", "Disk free mib:"] {
        assert!(host.contains(row), "{row}: {host}");
    }
    let of_eve = eve.ssh(&["report", "--format", "json"]).ok();
    assert!(of_eve.contains("\"apps\":\"0\"") && !of_eve.contains("kernel"), "{of_eve}");
}
