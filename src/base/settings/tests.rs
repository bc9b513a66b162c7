//! Settings as a whole: file and environment in, settings or every mistake out.

use std::{ffi::OsString, path::Path, time::Duration};

use super::*;
use crate::error_chain;

fn environment(variables: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    variables.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn load(file: &str, variables: &[(&str, &str)], is_root: bool) -> Result<Settings, Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.toml");
    std::fs::write(&path, file).unwrap();
    let shorten =
        |error: &SettingsError| error_chain(error).replace(&format!("{}/", folder.path().display()), "");
    Sources::new(Some(path), environment(variables), is_root)
        .load()
        .map_err(|errors| errors.iter().map(shorten).collect())
}

fn errors(file: &str, variables: &[(&str, &str)]) -> Vec<String> {
    load(file, variables, true).unwrap_err()
}

#[test]
fn without_anything_the_defaults_of_the_contract_hold() {
    let settings = load("", &[], true).unwrap();
    assert_eq!(settings.data_dir, Path::new("/var/lib/autostack"));
    assert_eq!(settings.domain.as_str(), "localhost");
    assert_eq!(settings.ssh.listen.to_string(), "0.0.0.0:2222");
    assert_eq!(settings.http.listen.to_string(), "0.0.0.0:8080");
    assert_eq!(settings.api.listen.to_string(), "127.0.0.1:8000");
    assert_eq!((settings.api.hostname, settings.api.cors_origins.len()), (None, 0));
    assert_eq!(settings.runtime.port_range, PortRange(30_000..=39_999));
    assert_eq!(settings.build.timeout, Duration::from_secs(1200));
    assert_eq!(settings.build.concurrency, 1);
    assert_eq!(settings.git.pack_bytes_max, autostack_domain::limits::PACK_BYTES_MAX);
    assert_eq!(settings.auth.refresh_token_ttl, Duration::from_secs(7 * 24 * 3600));
}

#[test]
fn the_environment_wins_over_the_file() {
    let file = "domain = \"file.test\"\nssh = { listen = \"127.0.0.1:1\" }\n[build]\nconcurrency = 2";
    let settings = load(
        file,
        &[("AUTOSTACK_SSH__LISTEN", "[::1]:2"), ("AUTOSTACK_DOMAIN", "env.test"), ("PATH", "/bin")],
        true,
    )
    .unwrap();
    assert_eq!(settings.ssh.listen.to_string(), "[::1]:2");
    assert_eq!(settings.domain.as_str(), "env.test");
    assert_eq!(settings.build.concurrency, 2);
}

#[test]
fn other_variables_are_no_settings_unless_they_look_like_one() {
    let variables =
        [("AUTOSTACK_HOOK_SOCKET", "x"), ("AUTOSTACK_HOOK_TOKEN__X", "x"), ("AUTOSTACK_LOG", "debug")];
    assert!(load("", &variables, true).is_ok());
    // What an instance of an app gets, and what scripts make up.
    assert!(load("", &[("AUTOSTACK_INSTANCE", "x"), ("AUTOSTACK_TEST_FOLDER", "x")], true).is_ok());
    assert_eq!(
        errors("", &[("AUTOSTACK_DATADIR", "/x")]),
        ["environment variable AUTOSTACK_DATADIR: datadir is not a known key; did you mean data_dir?"]
    );
}

#[test]
fn every_mistake_is_reported_with_its_line_and_key() {
    let file = "domian = \"x\"\ndomain = \"a b\"\n\n[ssh]\nlisten = 22\nport = 1\n\n[build]\ntimeout = 5\n";
    assert_eq!(
        errors(file, &[("AUTOSTACK_HTTP__LISTEN", "all"), ("AUTOSTACK_SSH__LISEN", "secret")]),
        [
            "a.toml:1: domian is not a known key; did you mean domain?",
            "a.toml:2: domain: expected a host name of a-z, 0-9, - and dots, without a port, found \"a b\"",
            "a.toml:5: ssh.listen: expected an IP address with a port, such as \"127.0.0.1:8080\" or \
             \"[::]:8080\", found \"22\"",
            "a.toml:6: ssh.port is not a known key",
            "a.toml:9: build.timeout: expected a duration with its unit (ms, s, m, h, d), such as \
             \"30s\", from 1ms to 3650d, found \"5\"",
            "environment variable AUTOSTACK_SSH__LISEN: ssh.lisen is not a known key; did you mean \
             ssh.listen?",
            "environment variable AUTOSTACK_HTTP__LISTEN: http.listen: expected an IP address with a \
             port, such as \"127.0.0.1:8080\" or \"[::]:8080\", found \"all\"",
        ]
    );
}

#[test]
fn shapes_that_no_key_takes_are_refused() {
    let wrong = errors("ssh = 1\ndomain = [\"a\"]\ndata_dir = {a = 1}\n\"http.listen\" = \"x\"", &[]);
    assert_eq!(wrong.len(), 4, "{wrong:?}");
    assert_eq!(wrong[0], "a.toml:1: ssh: expected a table, found 1");
    assert!(wrong[1].ends_with("found an array") && wrong[2].ends_with("found a table"), "{wrong:?}");
    assert_eq!(wrong[3], "a.toml:4: http.listen is not a known key");
    assert_eq!(errors("[colours]\nred = 1", &[]), ["a.toml:2: colours.red is not a known key"]);
    assert_eq!(errors("[colours]", &[]), ["a.toml:1: colours is not a known key"]);
}

#[test]
fn later_features_are_refused_in_so_many_words() {
    let file = "https.listen = \"0.0.0.0:443\"\nruntime.backend = \"swarm\"\n[jenkins]\nurl = \"x\"";
    assert_eq!(
        errors(file, &[("AUTOSTACK_ACME__EMAIL", "secret")]),
        [
            "a.toml:1: https.listen = \"0.0.0.0:443\" is not in this version; remove it",
            "a.toml:2: runtime.backend = \"swarm\" is not in this version; remove it",
            "a.toml:3: jenkins (Jenkins) is not in this version; remove it",
            "environment variable AUTOSTACK_ACME__EMAIL: acme.email (certificates by ACME) is not in this version; \
             remove it",
        ]
    );
    assert!(load("https.listen = \"off\"\nruntime.backend = \"process\"", &[], true).is_ok());
}

#[test]
fn names_and_their_secrets_come_together_and_never_print_themselves() {
    let file =
        "[mail]\nhost = \"smtp.example.com\"\nusername = \"ada\"\n[google]\nclient_secret = \"canary\"";
    let wrong = errors(file, &[]);
    assert!(wrong[0].starts_with("a.toml:3: mail.username: mail.password is missing"), "{wrong:?}");
    assert!(wrong[1].starts_with("a.toml:5: google.client_secret: google.client_id is missing"), "{wrong:?}");
    let file = "domain = \"a.test\"\n[mail]\nhost = \"127.0.0.1\"\nusername = \"ada\"\npassword = \"canary\"";
    let settings = load(file, &[], true).unwrap();
    let mail = settings.mail.as_ref().unwrap();
    assert_eq!((mail.port, mail.from.as_str()), (587, "autostack@a.test"));
    assert!(!format!("{settings:?}").contains("canary"));
}

#[test]
fn a_file_that_is_not_toml_is_reported_with_its_lines() {
    let syntax = errors("domain = \"a\"\ndomain = \"b\"\n[ssh\n", &[]);
    assert!(syntax.len() >= 2, "{syntax:?}");
    assert!(syntax[0].starts_with("a.toml:2: is not valid TOML: "), "{syntax:?}");
    assert!(syntax.iter().any(|error| error.starts_with("a.toml:3: ")), "{syntax:?}");
}

#[test]
fn hostile_text_is_escaped_and_cut() {
    let file = format!("domain = \"\\u001b]0;x{}\"\n\"\\u001b[2J\" = 1", "y".repeat(5000));
    let wrong = errors(&file, &[]);
    assert!(wrong.iter().all(|error| error.len() < 300), "{wrong:?}");
    assert!(wrong.iter().all(|error| !error.contains('\u{1b}')), "{wrong:?}");
}

#[test]
fn two_doors_at_one_address_are_refused() {
    let file = "ssh.listen = \"127.0.0.1:80\"\nhttp.listen = \"127.0.0.1:80\"";
    assert_eq!(
        errors(file, &[]),
        ["a.toml:2: http.listen: ssh.listen listens there too; choose another address"]
    );
    let fresh = "ssh.listen = \"127.0.0.1:0\"\nhttp.listen = \"127.0.0.1:0\"";
    assert!(load(fresh, &[], true).is_ok());
}

#[test]
fn the_data_folder_of_a_user_is_in_the_users_home() {
    let of_user = |variables: &[(&str, &str)]| load("", variables, false).map(|s| s.data_dir);
    assert_eq!(
        of_user(&[("HOME", "/home/a"), ("XDG_DATA_HOME", "/data")]).unwrap(),
        Path::new("/data/autostack")
    );
    // A relative XDG_DATA_HOME does not count, as its specification says.
    assert_eq!(
        of_user(&[("HOME", "/home/a"), ("XDG_DATA_HOME", "data")]).unwrap(),
        Path::new("/home/a/.local/share/autostack")
    );
    assert_eq!(of_user(&[("AUTOSTACK_DATA_DIR", "/x")]).unwrap(), Path::new("/x"));
    assert!(of_user(&[]).unwrap_err()[0].contains("HOME"));
    assert!(of_user(&[("HOME", &format!("/{}", "x".repeat(96)))]).is_err());
}

#[test]
fn a_file_too_large_or_not_text_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.toml");
    std::fs::write(&path, "#".repeat(1024 * 1024 + 1)).unwrap();
    assert!(check(&path).is_err_and(|errors| matches!(errors[..], [SettingsError::TooLarge { .. }])));
    std::fs::write(&path, b"domain = \"\xff\"").unwrap();
    assert!(check(&path).is_err_and(|errors| matches!(errors[..], [SettingsError::NotText { .. }])));
    std::fs::write(&path, "domain = \"a.test\"").unwrap();
    assert_eq!(check(&path).unwrap().domain.as_str(), "a.test");
    assert_eq!(Settings::from_text("a", "domain = \"a.test\"").unwrap().domain.as_str(), "a.test");
}
