//! Certificates of apps, brought and made.

use std::fs;

use crate::world::{Developer, Output, World, live};

/// Sends bytes to a command.
fn send(developer: &Developer<'_>, words: &[&str], bytes: &[u8]) -> Output {
    live::run(developer.ssh_command(&[], words), bytes)
}

#[test]
fn a_certificate_is_looked_at_before_anything_changes() {
    let world = World::new();
    let ada = world.person("ada");
    for app in ["shop", "blog"] {
        ada.ssh(&["apps:create", app]).ok();
    }
    ada.ssh(&["domains:add", "shop", "example.test", "*.example.test"]).ok();
    assert!(ada.ssh(&["certs:report", "shop"]).ok().contains("false"));
    assert_eq!(ada.ssh(&["certs:show", "shop", "crt"]).code, Some(1));
    assert_eq!(ada.ssh(&["certs:remove", "shop"]).code, Some(1));

    ada.ssh(&["certs:generate", "shop"]).ok();
    let (chain, key) =
        (ada.ssh(&["certs:show", "shop", "crt"]).ok(), ada.ssh(&["certs:show", "shop", "key"]).ok());
    assert!(chain.starts_with("-----BEGIN CERTIFICATE-----") && key.contains("PRIVATE KEY"));
    let report = ada.ssh(&["certs:report", "shop"]).ok();
    assert!(
        report.contains("example.test *.example.test shop.localhost") && report.contains("self signed"),
        "{report}"
    );
    assert_eq!(ada.ssh(&["certs:report", "shop", "--ssl-enabled"]).ok(), "true\n");

    // What one app has made another one cannot use: it is not reached there.
    let wrong_app = send(&ada, &["certs:add", "blog"], format!("{chain}{key}").as_bytes());
    assert!(
        wrong_app.code == Some(1) && wrong_app.stderr.contains("blog is not reached there"),
        "{wrong_app}"
    );
    ada.ssh(&["certs:generate", "blog"]).ok();
    let other_key = ada.ssh(&["certs:show", "blog", "key"]).ok();
    for (bad, why) in [
        (format!("{chain}{other_key}"), "does not belong"),
        (chain.clone(), "no private key"),
        (key.clone(), "no -----BEGIN CERTIFICATE-----"),
        (format!("{chain}{key}{other_key}"), "more than one private key"),
        (format!("{}{key}", chain.replacen('M', "N", 1)), "cannot be read"),
        ("x".repeat(300_000), "KiB at most"),
        (String::new(), "CERTIFICATE"),
    ] {
        let refused = send(&ada, &["certs:update", "shop"], bad.as_bytes());
        assert!(matches!(refused.code, Some(1 | 2)) && refused.stderr.contains(why), "{why}: {refused}");
        assert!(!refused.all().contains("PRIVATE KEY-----"), "{refused}");
    }
    // Dokku's way: a tar archive with both files.
    ada.ssh(&["certs:remove", "shop"]).ok();
    assert_eq!(send(&ada, &["certs:update", "shop"], format!("{chain}{key}").as_bytes()).code, Some(1));
    let folder = ada.home().join("tls");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("server.crt"), &chain).unwrap();
    fs::write(folder.join("server.key"), &key).unwrap();
    let mut tar = ada.command("tar");
    tar.args(["c", "-C"]).arg(&folder).args(["server.key", "server.crt"]);
    let archive = tar.output().unwrap().stdout;
    assert_eq!(send(&ada, &["certs:add", "shop"], &archive).code, Some(0));
    assert_eq!(ada.ssh(&["certs:show", "shop", "crt"]).ok(), chain);
    assert_eq!(ada.ssh(&["certs:add", "shop", "server.crt", "server.key"]).code, Some(2));
    assert_eq!(ada.ssh(&["certs:generate", "shop", "foreign.test"]).code, Some(1));
}
