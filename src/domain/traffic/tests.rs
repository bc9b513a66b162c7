//! Who may have which host, and what the addresses of an app are.

use super::*;

fn app(name: &str) -> AppName {
    name.parse().unwrap()
}

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

fn host(text: &str) -> Host {
    text.parse().unwrap()
}

fn shown(addresses: &[Address]) -> Vec<String> {
    addresses.iter().map(ToString::to_string).collect()
}

fn with(own: &[&str]) -> Traffic {
    Traffic { own: own.iter().map(|text| address(text)).collect(), ..Traffic::default() }
}

#[test]
fn an_app_is_at_its_own_addresses_and_below_every_domain() {
    let global = [host("localhost"), host("apps.test")];
    let mut traffic = Traffic::default();
    assert_eq!(shown(&traffic.addresses(&app("shop"), &global)), ["shop.localhost", "shop.apps.test"]);
    assert!(traffic.add(&app("shop"), &global, address("shop.example.com")).unwrap());
    assert!(!traffic.add(&app("shop"), &global, address("shop.example.com")).unwrap());
    assert!(!traffic.add(&app("shop"), &global, address("shop.localhost")).unwrap(), "it has that already");
    assert!(traffic.remove(&app("shop"), &global, &address("shop.localhost")));
    assert_eq!(shown(&traffic.addresses(&app("shop"), &global)), ["shop.example.com"]);
    assert!(!traffic.remove(&app("shop"), &global, &address("shop.localhost")));
    assert!(traffic.add(&app("shop"), &global, address("shop.localhost")).unwrap());
    traffic.domains_enabled = false;
    assert!(traffic.published(&app("shop"), &global).is_empty());
}

#[test]
fn there_is_a_last_domain() {
    let mut traffic = Traffic::default();
    for number in 0..limits::DOMAINS_PER_APP_MAX {
        traffic.add(&app("shop"), &[], address(&format!("d{number}.example.com"))).unwrap();
    }
    assert!(traffic.add(&app("shop"), &[], address("more.example.com")).is_err());
}

#[test]
fn d3_the_platforms_own_hosts_cannot_be_claimed() {
    let names = HostNames { global: vec![host("apps.test")], api: Some(host("panel.example.com")) };
    let refusal = |claimed: &str| names.refusal(&app("shop"), &claimed.parse().unwrap());
    for bad in [
        "apps.test",
        "*.apps.test",
        "blog.apps.test",
        "*.blog.apps.test",
        "www.blog.apps.test",
        "x.shop.blog.apps.test",
        "panel.example.com",
        "*.panel.example.com",
        "x.panel.example.com",
        "*.example.com",
    ] {
        assert!(refusal(bad).is_some(), "{bad}");
    }
    for good in ["shop.apps.test", "www.shop.apps.test", "*.shop.apps.test", "example.com", "notapps.test"] {
        assert_eq!(refusal(good), None, "{good}");
    }
    let below = HostNames { global: vec![host("apps.example.com")], api: None };
    assert!(below.refusal(&app("shop"), &"*.example.com".parse().unwrap()).is_some(), "it covers the domain");
}

#[test]
fn d3_a_domain_of_another_team_is_not_free_nor_what_lies_above_or_below() {
    let (theirs, name) = (with(&["example.com", "*.wild.test", "deep.a.test"]), app("theirs"));
    let free = |wanted: &str, is_ours| check_free(&[address(wanted)], [(&name, &theirs, is_ours)]);
    for taken in [
        "example.com",
        "example.com/api",
        "www.example.com",
        "*.example.com",
        "x.wild.test",
        "wild.test",
        "a.test",
    ] {
        let why = free(taken, false).unwrap_err();
        assert!(!why.contains("theirs"), "a stranger does not learn the name: {why}");
    }
    assert_eq!(free("other.test", false), Ok(()));
    assert_eq!(free("example.com/api", true), Ok(()), "one hand may split a host by paths");
    assert_eq!(free("www.example.com", true), Ok(()));
    assert_eq!(free("example.com", true), Err("example.com belongs to the app theirs".into()));
}

#[test]
fn hosts_that_are_sent_on_from_are_claimed_and_published() {
    let mut traffic = with(&["example.com"]);
    traffic.rules.redirects.push(Redirect {
        from: "www.example.com".parse().unwrap(),
        to: "example.com".parse().unwrap(),
        code: RedirectCode::default(),
    });
    let name = app("theirs");
    assert!(check_free(&[address("www.example.com")], [(&name, &traffic, true)]).is_err());
    assert_eq!(shown(&traffic.published(&name, &[])), ["example.com", "www.example.com"]);
    assert_eq!(shown(&traffic.addresses(&name, &[])), ["example.com"]);
}

#[test]
fn a_redirect_is_the_nearest_and_leads_nobody_in_circles() {
    let redirect = |from: &str, to: &str| Redirect {
        from: from.parse().unwrap(),
        to: to.parse().unwrap(),
        code: RedirectCode::default(),
    };
    let rules = Rules {
        redirects: vec![
            redirect("*.example.com", "www.example.com"),
            redirect("old.example.com", "https://new.test"),
        ],
        ..Rules::default()
    };
    let to = |from: &str| rules.redirect_of(&host(from)).map(|redirect| redirect.to.to_string());
    assert_eq!(to("old.example.com").as_deref(), Some("https://new.test"));
    assert_eq!(to("x.example.com").as_deref(), Some("www.example.com"));
    assert_eq!(to("www.example.com"), None);
    assert_eq!(to("example.com"), None);
}

#[test]
fn redirect_targets_are_hosts() {
    for good in ["example.com", "https://example.com", "http://example.com:8080", "example.com:81"] {
        assert_eq!(good.parse::<RedirectTarget>().unwrap().to_string(), good);
    }
    for bad in
        ["", "ftp://x.com", "https://", "example.com/x", "example.com:0", "example.com:x", "a b", "//x.com"]
    {
        assert!(bad.parse::<RedirectTarget>().is_err(), "{bad:?}");
    }
    assert!("300".parse::<RedirectCode>().is_err() && "x".parse::<RedirectCode>().is_err());
}

#[test]
fn what_is_set_survives_storage_and_hashes_do_not_show() {
    let mut traffic = with(&["example.com/api"]);
    traffic.rules.http_auth.insert("ada".parse().unwrap(), PasswordHash::new("$argon2id$x".into()));
    let stored = serde_json::to_string(&traffic).unwrap();
    assert_eq!(serde_json::from_str::<Traffic>(&stored).unwrap(), traffic);
    assert_eq!(serde_json::from_str::<Traffic>("{}").unwrap(), Traffic::default());
    assert!(!format!("{traffic:?}").contains("argon2"));
    for bad in ["", "a:b", "a\nb", &"x".repeat(limits::HTTP_USER_BYTES_MAX + 1)] {
        assert!(bad.parse::<HttpUser>().is_err(), "{bad:?}");
    }
}
