//! Holds `config/autostack.toml` against the code, in both directions, and the units in `systemd/` against both.

use std::collections::BTreeMap;

use super::{
    DEFAULT_FILE, Settings, Sources,
    keys::{self, Effect},
    raw::Given,
};

const FILE: &str = include_str!("../../../config/autostack.toml");

/// A key of the file: its value as written, and the comment before it.
#[derive(Debug, Default)]
struct Documented {
    value: String,
    comment: String,
}

/// Keys by name. A key is a comment of the form `# name = value`.
fn documented() -> BTreeMap<String, Documented> {
    let (mut keys, mut table, mut comment) = (BTreeMap::new(), String::new(), String::new());
    for line in FILE.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            table = format!("{name}.");
        } else if let Some((name, value)) = assignment(line) {
            let value = value.trim_matches('"').to_owned();
            let entry = Documented { value, comment: std::mem::take(&mut comment) };
            assert!(keys.insert(format!("{table}{name}"), entry).is_none(), "{name} stands there twice");
        } else if let Some(text) = line.strip_prefix("# ") {
            comment.push_str(text);
            comment.push(' ');
        } else {
            comment.clear();
        }
    }
    keys
}

fn assignment(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.strip_prefix("# ")?.split_once(" = ")?;
    name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_').then_some((name, value))
}

#[test]
fn names_and_defaults_are_those_of_the_code() {
    let in_file: BTreeMap<_, _> =
        documented().into_iter().map(|(name, documented)| (name, documented.value)).collect();
    let in_code: BTreeMap<_, _> =
        keys::ALL.iter().map(|key| (key.name.to_owned(), key.default.to_owned())).collect();
    assert_eq!(in_file, in_code);
}

#[test]
fn every_key_has_a_comment_that_says_when_it_counts() {
    let documented = documented();
    for key in keys::ALL {
        let comment = &documented[key.name].comment;
        assert!(comment.contains(". ") || comment.ends_with(". "), "{}: {comment:?}", key.name);
        assert_eq!(comment.contains("(restart)"), key.effect == Effect::Restart, "{}", key.name);
    }
}

#[test]
fn the_file_as_it_is_and_with_every_key_uncommented_gives_the_defaults() {
    let defaults = Settings::from_text("none", "").unwrap();
    assert_eq!(Settings::from_text("as it is", FILE).unwrap(), defaults);
    let line = |line| assignment(line).map_or(line, |_| &line[2..]).to_owned() + "\n";
    let uncommented: String = FILE.lines().map(line).collect();
    assert_eq!(Settings::from_text("uncommented", &uncommented).unwrap(), defaults);
    let (mut given, mut errors) = (Given::default(), Vec::new());
    given.add_file("uncommented".as_ref(), &uncommented, &mut errors);
    for key in keys::ALL {
        assert_eq!(given.get(key.name).map(|value| value.text.as_str()), Some(key.default), "{}", key.name);
    }
}

#[test]
fn the_service_file_sets_what_settings_take_and_what_the_sockets_listen_on() {
    let unit = include_str!("../../../systemd/autostack.service");
    let variables = unit.lines().filter_map(|line| line.strip_prefix("Environment=")?.split_once('='));
    let environment = variables.map(|(name, value)| (name.into(), value.into()));
    // Not as root: the unit has a user of its own, and must say where the data is.
    let settings = Sources::new(None, environment, false).load().unwrap();
    assert_eq!(settings.data_dir, std::path::Path::new("/var/lib/autostack"));
    for (socket, name, listen) in [
        (include_str!("../../../systemd/autostack.socket"), "http", settings.http.listen),
        (include_str!("../../../systemd/autostack-ssh.socket"), "ssh", settings.ssh.listen),
    ] {
        assert!(socket.contains(&format!("\nListenStream={}\n", listen.port())), "{name}");
        assert!(socket.contains(&format!("\nFileDescriptorName={name}\n")), "{name}");
    }
    assert!(unit.contains(&format!("--config {DEFAULT_FILE}\n")));
}
