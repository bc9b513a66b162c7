//! Domains of apps: whose a host is, wildcards, paths, and the domains of the host.

use crate::world::{World, apps, http_get};

fn status(world: &World, host: &str, path: &str) -> u16 {
    http_get(world.http(), host, path, &[]).unwrap().status
}

fn body(world: &World, host: &str, path: &str) -> String {
    http_get(world.http(), host, path, &[]).unwrap().body
}

#[test]
fn an_app_is_reached_at_the_domains_that_its_people_give_it() {
    let world = World::new();
    let ada = world.person("ada");
    ada.app_of(apps::node("shop")).push("shop").accepted();
    ada.app_of(apps::node("blog")).push("blog").accepted();

    let added = ada.ssh(&["domains:add", "shop", "Example.test", "*.example.test"]);
    assert!(added.all().contains("-----> Added example.test to shop"), "{added}");
    let urls = ada.ssh(&["urls", "shop"]).ok();
    let port = world.http().port();
    assert_eq!(urls, format!("http://example.test:{port}\nhttp://shop.localhost:{port}\n"), "no wildcard");
    assert_eq!(ada.ssh(&["url", "shop"]).ok(), format!("http://example.test:{port}\n"));
    for host in ["example.test", "www.example.test", "a.b.example.test", "shop.localhost"] {
        assert_eq!(status(&world, host, "/"), 200, "{host}");
    }
    // One hand may split a host among its apps.
    ada.ssh(&["domains:add", "blog", "example.test/blog"]).ok();
    ada.ssh(&["domains:add", "--strip-prefix", "blog", "example.test/news"]).ok();
    assert_eq!(body(&world, "example.test", "/blog/x"), "blog");
    assert_eq!(body(&world, "example.test", "/news"), "blog");
    assert_eq!(body(&world, "example.test", "/blogger"), "shop");

    let report = ada.ssh(&["domains:report", "shop"]).ok();
    assert!(report.contains("=====> shop domains information"), "{report}");
    assert!(report.contains("example.test *.example.test shop.localhost"), "{report}");
    let one = ada.ssh(&["domains:report", "shop", "--domains-app-vhosts"]).ok();
    assert_eq!(one, "example.test *.example.test shop.localhost\n");
    let all = ada.ssh(&["domains:report", "--format", "json"]).ok();
    let all: serde_json::Value = serde_json::from_str(&all).unwrap();
    assert_eq!(all.as_array().unwrap().len(), 2, "{all}");

    ada.ssh(&["domains:remove", "shop", "*.example.test"]).ok();
    assert_eq!(status(&world, "www.example.test", "/"), 404);
    assert_eq!(ada.ssh(&["domains:remove", "shop", "*.example.test"]).code, Some(1));
    ada.ssh(&["domains:disable", "shop"]).ok();
    assert_eq!(status(&world, "example.test", "/"), 404);
    assert_eq!(body(&world, "example.test", "/blog"), "blog", "another app's address stays");
    ada.ssh(&["domains:enable", "shop"]).ok();
    assert_eq!(status(&world, "example.test", "/"), 200);
    ada.ssh(&["domains:clear", "shop"]).ok();
    assert_eq!(status(&world, "shop.localhost", "/"), 404);
    let gone = ada.ssh(&["url", "shop"]);
    assert!(gone.code == Some(1) && gone.stderr.contains("domains:add shop"), "{gone}");
    ada.ssh(&["domains:set", "shop", "new.test"]).ok();
    assert_eq!((status(&world, "new.test", "/"), status(&world, "shop.localhost", "/")), (200, 404));
    ada.ssh(&["domains:reset", "shop"]).ok();
    assert_eq!((status(&world, "new.test", "/"), status(&world, "shop.localhost", "/")), (404, 200));
}

#[test]
fn d3_nobody_takes_over_what_is_somebody_elses() {
    let world = World::new();
    let (ada, eve) = (world.person("ada"), world.person("eve"));
    ada.ssh(&["apps:create", "shop"]).ok();
    eve.ssh(&["apps:create", "thief"]).ok();
    ada.ssh(&["domains:add", "shop", "example.test", "*.wild.test"]).ok();
    for taken in [
        "example.test",
        "example.test/path",
        "www.example.test",
        "*.example.test",
        "x.wild.test",
        "*.x.wild.test",
        "wild.test",
        "shop.localhost",
        "www.shop.localhost",
        "*.shop.localhost",
        "nobody-yet.localhost",
        "localhost",
    ] {
        let before = eve.ssh(&["domains:report", "thief"]).ok();
        let refused = eve.ssh(&["domains:add", "thief", "free.test", taken]);
        assert!(matches!(refused.code, Some(1 | 2)), "{taken}: {refused}");
        assert_eq!(eve.ssh(&["domains:report", "thief"]).ok(), before, "{taken}");
        let refused = eve.ssh(&["redirect:set", "thief", taken, "evil.test"]);
        assert!(matches!(refused.code, Some(1 | 2)), "{taken}: {refused}");
    }
    for bad in [
        "http://x.test",
        "x.test:80",
        "*",
        "*.com",
        "a..b",
        "$(id).test",
        "x.test/../y",
        "'a b.test'",
        "-x.test",
    ] {
        assert_eq!(eve.ssh(&["domains:add", "thief", "--", bad]).code, Some(2), "{bad}");
    }
    assert_eq!(eve.ssh(&["domains:add", "thief"]).code, Some(2));
    // A viewer sees where it is, a deployer may say so.
    let (vic, dee) = (world.person("vic"), world.person("dee"));
    ada.ssh(&["access:add", "shop", "vic", "viewer"]).ok();
    ada.ssh(&["access:add", "shop", "dee", "deployer"]).ok();
    assert!(vic.ssh(&["domains:report", "shop"]).ok().contains("example.test"));
    let refused = vic.ssh(&["domains:add", "shop", "vic.test"]);
    assert!(refused.code == Some(1) && refused.stderr.contains("may not"), "{refused}");
    dee.ssh(&["domains:add", "shop", "dee.test"]).ok();
    dee.ssh(&["domains:remove", "shop", "dee.test"]).ok();
    // To a stranger the app is not there, whatever is asked.
    for words in [
        &["domains:add", "shop", "evil.test"][..],
        &["domains:remove", "shop", "example.test"],
        &["domains:set", "shop", "evil.test"],
        &["domains:clear", "shop"],
        &["domains:reset", "shop"],
        &["domains:disable", "shop"],
        &["domains:report", "shop"],
        &["urls", "shop"],
        &["proxy:disable", "shop"],
        &["proxy:report", "shop"],
        &["ports:list", "shop"],
    ] {
        let refused = eve.ssh(words);
        assert_eq!(refused.code, Some(20), "{words:?}: {refused}");
        assert!(!refused.all().contains("example.test"), "{refused}");
    }
    for words in [
        &["domains:add-global", "evil.test"][..],
        &["domains:add", "--global", "evil.test"],
        &["domains:clear-global"],
    ] {
        assert_eq!(eve.ssh(words).code, Some(1), "{words:?}");
    }
    assert!(ada.ssh(&["domains:report", "shop"]).ok().contains("example.test *.wild.test shop.localhost"));
}

#[test]
fn the_domains_of_the_host_are_its_admins() {
    let world = World::new();
    let (root, ada) = (world.developer("root"), world.person("ada"));
    ada.app_of(apps::node("shop")).push("shop").accepted();
    root.ssh(&["domains:add-global", "apps.test"]).ok();
    assert_eq!((status(&world, "shop.localhost", "/"), status(&world, "shop.apps.test", "/")), (200, 200));
    root.ssh(&["domains:set", "--global", "apps.test"]).ok();
    assert_eq!((status(&world, "shop.localhost", "/"), status(&world, "shop.apps.test", "/")), (404, 200));
    assert!(ada.ssh(&["domains:report", "--global"]).ok().contains("apps.test"));
    assert_eq!(ada.ssh(&["domains:add", "shop", "other.apps.test"]).code, Some(1));
    ada.ssh(&["domains:add", "shop", "www.example.test"]).ok();
    assert_eq!(root.ssh(&["domains:add-global", "example.test"]).code, Some(1), "an app has a part of it");
    assert_eq!(root.ssh(&["domains:remove-global", "nothing.test"]).code, Some(2));
    root.ssh(&["domains:clear-global"]).ok();
    assert_eq!((status(&world, "shop.localhost", "/"), status(&world, "shop.apps.test", "/")), (200, 404));
}

#[test]
fn domains_outlive_the_agent() {
    let world = World::new();
    let ada = world.person("ada");
    ada.app_of(apps::node("shop")).push("shop").accepted();
    ada.ssh(&["domains:add", "shop", "example.test"]).ok();
    ada.ssh(&["maintenance:on", "shop"]).ok();
    world.kill9_and_restart();
    assert_eq!(status(&world, "example.test", "/"), 503);
    assert_eq!(status(&world, "shop.localhost", "/"), 503);
}
