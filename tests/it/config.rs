//! Config: read and changed in every way, byte for byte from the command line to the app, without a lost request.

use std::{
    collections::BTreeMap,
    process::{Command, Stdio},
};

use crate::world::{Developer, World, apps};

/// A Node app that answers with its environment, each entry in base64, and with the release's variables in `A`.
fn mirror() -> apps::Files {
    apps::node_program(
        r#"const http = require("node:http");
const fs = require("node:fs");
const server = http.createServer((request, response) => {
  if (request.url === "/a") return response.end(process.env.A ?? "unset");
  const entries = fs.readFileSync("/proc/self/environ", "latin1").split("\0");
  response.end(entries.map((entry) => Buffer.from(entry, "latin1").toString("base64")).join("\n"));
});
server.listen(process.env.PORT);
process.on("SIGTERM", () => server.close(() => process.exit(0)));
"#,
    )
}

/// What the app has in its environment.
fn environment(world: &World, app: &str) -> BTreeMap<String, Vec<u8>> {
    let body = world.get(app, "/").body;
    let entries = body.lines().filter(|line| !line.is_empty()).map(decode);
    entries
        .filter_map(|entry| {
            let at = entry.iter().position(|byte| *byte == b'=')?;
            Some((String::from_utf8(entry[..at].to_vec()).ok()?, entry[at + 1..].to_vec()))
        })
        .collect()
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn encode(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let digit = DIGITS[usize::try_from(word >> (18 - 6 * at) & 63).unwrap()];
            text.push(if at <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

fn decode(text: &str) -> Vec<u8> {
    let value = |letter: u8| DIGITS.iter().position(|digit| *digit == letter);
    let (mut bytes, mut word, mut bits) = (Vec::new(), 0usize, 0);
    for digit in text.bytes().map_while(value) {
        (word, bits) = ((word << 6 | digit) & 0xff_ffff, bits + 6);
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(word >> bits & 255).unwrap());
        }
    }
    bytes
}

/// One word for the shell that cuts the line at the other end.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[track_caller]
fn set(ada: &Developer<'_>, options: &[&str], values: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = values.iter().map(|(name, value)| quoted(&format!("{name}={value}"))).collect();
    let words: Vec<&str> = ["config:set", "shop"]
        .into_iter()
        .chain(options.iter().copied())
        .chain(pairs.iter().map(String::as_str))
        .collect();
    ada.ssh(&words).ok()
}

#[test]
fn values_reach_the_app_byte_for_byte() {
    let world = World::new();
    let ada = world.person("ada");
    ada.app_of(mirror()).push("shop").accepted();
    let long = "ä€\n'\"$x`\\ ".repeat(64 * 1024 / 15);
    let values = [
        ("HASH", "$2a$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW"),
        ("QUOTES", "it's \"quoted\" \\ and `ticked`"),
        ("LINES", "-----BEGIN KEY-----\nabc\r\n\tdef\n-----END KEY-----\n"),
        ("UNICODE", "žluťoučký kůň 🐎 \u{202e}"),
        ("SPACES", "  two  spaces  "),
        ("EMPTY", ""),
        ("EQUALS", "a=b==c"),
        ("DASH", "--force"),
        ("EVIL", "$(touch /tmp/pwned);`id`|&><*?[]{}~!#%"),
    ];
    let said = set(&ada, &[], &values);
    assert!(said.contains("=====> Application deployed:"), "{said}");
    for (_, value) in values.iter().filter(|(_, value)| value.len() > 5) {
        assert!(!said.contains(value), "a value is shown to nobody: {said}");
    }
    let bytes: Vec<u8> = (1..=255).cycle().take(1000).collect();
    let encoded = [("BYTES", encode(&bytes)), ("LONG", encode(long.as_bytes()))];
    let encoded: Vec<(&str, &str)> = encoded.iter().map(|(name, value)| (*name, value.as_str())).collect();
    set(&ada, &["--encoded"], &encoded);

    let found = environment(&world, "shop");
    for (name, value) in values {
        assert_eq!(found.get(name).map(Vec::as_slice), Some(value.as_bytes()), "{name}");
        assert_eq!(ada.ssh(&["config:get", "shop", name]).ok(), format!("{value}\n"), "{name}");
    }
    assert_eq!(found["BYTES"], bytes);
    assert_eq!(found["LONG"], long.as_bytes());

    // Through every text and back: a second app has the very same.
    let exported = ada.ssh(&["config:export", "shop", "--format", "envfile"]);
    assert_eq!(exported.code, Some(0));
    ada.ssh(&["config:unset", "shop", "BYTES", "--no-restart"]).ok();
    for format in ["exports", "envfile", "shell", "docker-args", "json", "json-list"] {
        let text = ada.ssh(&["config:export", "shop", "--format", format]).ok();
        ada.ssh(&["apps:create", format]).ok();
        ada.ssh_input(&["config:import", format], text.as_bytes()).ok();
        let json = |app: &str| ada.ssh(&["config:show", app, "--format", "json"]).ok();
        assert_eq!(json(format), json("shop"), "{format}");
    }
    let sourced = sh(&format!("{}\nprintf %s \"$LINES_OF\"", {
        let text = ada.ssh(&["config:export", "shop"]).ok();
        text.replace("export LINES=", "export LINES_OF=")
    }));
    assert_eq!(sourced, "-----BEGIN KEY-----\nabc\r\n\tdef\n-----END KEY-----\n");
}

/// What a real shell prints for a script.
fn sh(script: &str) -> String {
    use std::io::Write;
    let mut shell = Command::new("/bin/sh").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    shell.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    String::from_utf8(shell.wait_with_output().unwrap().stdout).unwrap()
}

#[test]
fn any_value_survives_the_way_to_the_app() {
    // A plain generator: each round sets a handful of values in one release.
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % below as u64).unwrap()
    };
    let letters: Vec<char> =
        "'\"\\$`\n\r\t #=!*?[]{}()<>|&;~%^-ab0äß€漢🐎\u{1b}\u{7f}\u{a0}\u{2028}".chars().collect();
    let world = World::new();
    let ada = world.person("ada");
    ada.app_of(mirror()).push("shop").accepted();
    for _round in 0..4 {
        let values: Vec<(String, String)> = (0..12)
            .map(|at| {
                let length = next(40);
                (format!("V{at}"), (0..length).map(|_| letters[next(letters.len())]).collect())
            })
            .collect();
        let pairs: Vec<(&str, &str)> =
            values.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        set(&ada, &["--quiet"], &pairs);
        let found = environment(&world, "shop");
        for (name, value) in &values {
            assert_eq!(found.get(name).map(Vec::as_slice), Some(value.as_bytes()), "{value:?}");
        }
    }
}

#[test]
fn a_change_makes_a_release_of_the_same_artifact_and_loses_no_request() {
    let world = World::new();
    let ada = world.person("ada");
    ada.ssh(&["apps:create", "shop"]).ok();
    assert!(set(&ada, &[], &[("A", "0")]).contains("The first release gets it"));
    ada.app_of(mirror()).push("shop").accepted();
    assert_eq!(world.get("shop", "/a").body, "0");

    set(&ada, &["--no-restart"], &[("A", "1")]);
    assert_eq!(world.get("shop", "/a").body, "0", "it waits");
    assert_eq!(ada.ssh(&["config:get", "shop", "A"]).ok(), "1\n");
    let said = set(&ada, &[], &[("A", "1")]);
    assert!(said.contains("Application deployed"), "what waited counts now: {said}");
    assert_eq!(world.get("shop", "/a").body, "1");
    assert!(set(&ada, &[], &[("A", "1")]).contains("Nothing to change"));

    let (lost, answered) = while_visited(&world, || {
        for value in ["2", "3", "4"] {
            set(&ada, &["--quiet"], &[("A", value)]);
            assert_eq!(world.get("shop", "/a").body, value);
        }
        ada.ssh(&["config:unset", "shop", "A"]).ok();
    });
    assert_eq!(world.get("shop", "/a").body, "unset");
    assert!(lost.is_empty() && answered > 20, "{answered} answered, lost: {lost:?}");
    assert_eq!(ada.ssh(&["apps:report", "shop", "--apps-release"]).ok(), "v6\n");

    // One that the app cannot live with leaves it as it was.
    let broken = ada.ssh(&["config:set", "shop", "NODE_OPTIONS=--no-such-option"]);
    assert_eq!(broken.code, Some(1), "{broken}");
    assert!(broken.stderr.contains("goes on with the one before"), "{broken}");
    assert_eq!(world.get("shop", "/a").body, "unset");
    ada.ssh(&["config:clear", "shop"]).ok();
    assert_eq!(ada.ssh(&["config:keys", "shop"]).ok(), "");

    ada.ssh(&["apps:lock", "shop"]).ok();
    assert!(set(&ada, &[], &[("A", "5")]).contains("shop is locked"));
    assert_eq!(world.get("shop", "/a").body, "unset");
}

/// Visits the app again and again while something happens: what went wrong, and how many were answered.
fn while_visited(world: &World, happens: impl FnOnce()) -> (Vec<String>, usize) {
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let visit = || {
        let (mut lost, mut answered) = (Vec::new(), 0);
        while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
            match world.try_get("shop", "/a") {
                Ok(response) if response.status == 200 => answered += 1,
                Ok(response) => lost.push(response.status.to_string()),
                Err(error) => lost.push(error.to_string()),
            }
        }
        (lost, answered)
    };
    std::thread::scope(|scope| {
        let visitor = scope.spawn(visit);
        happens();
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        visitor.join().unwrap()
    })
}

#[test]
fn what_the_host_gives_every_app_stands_beneath_its_own() {
    let world = World::new();
    let (root, ada) = (world.developer("root"), world.person("ada"));
    ada.app_of(mirror()).push("shop").accepted();
    assert_eq!(
        ada.ssh(&["config:set", "--global", "A=host"]).code,
        Some(1),
        "she runs her app, not the host"
    );
    assert_eq!(ada.ssh(&["config:show", "--global"]).code, Some(1));
    root.ssh(&["config:set", "--global", "A=host", "B=host"]).ok();
    assert_eq!(world.get("shop", "/a").body, "host");
    set(&ada, &["--quiet"], &[("A", "own")]);
    assert_eq!(world.get("shop", "/a").body, "own");
    assert_eq!(ada.ssh(&["config:keys", "shop"]).ok(), "A\n");
    assert_eq!(ada.ssh(&["config:export", "shop", "--merged"]).ok(), "export A='own'\nexport B='host'\n");
    assert_eq!(root.ssh(&["config:show", "--global"]).ok(), "=====> global env vars\nA:  host\nB:  host\n");
    ada.ssh(&["config:unset", "shop", "A", "--no-restart"]).ok();
    root.ssh(&["config:clear", "--global"]).ok();
    assert_eq!(world.get("shop", "/a").body, "unset");
}

#[test]
fn config_is_shown_in_the_shapes_that_scripts_expect() {
    let world = World::new();
    let ada = world.person("ada");
    ada.ssh(&["apps:create", "shop"]).ok();
    ada.ssh(&["config:set", "shop", "A=1", "LONGER='x y'"]).ok();
    let shown = "=====> shop env vars\nA:       1\nLONGER:  x y\n";
    assert_eq!(ada.ssh(&["config:show", "shop"]).ok(), shown);
    assert_eq!(ada.ssh(&["config", "shop"]).ok(), shown);
    assert_eq!(ada.ssh(&["config:show", "shop", "--quiet"]).ok(), "A:       1\nLONGER:  x y\n");
    assert_eq!(ada.ssh(&["config:show", "shop", "--shell"]).ok(), "A='1' LONGER='x y'\n");
    assert_eq!(ada.ssh(&["config:get", "shop", "LONGER", "--quoted"]).ok(), "'x y'\n");
    assert_eq!(ada.ssh(&["config:keys", "--app", "shop"]).ok(), "A\nLONGER\n");
    assert_eq!(
        ada.ssh(&["config:export", "shop", "--format", "docker-args-keys"]).ok(),
        "--env=A --env=LONGER\n"
    );
    ada.ssh_input(&["config:import", "shop", "--replace"], b"# mine\nexport B='two words'\nC=3 # three\n")
        .ok();
    assert_eq!(
        ada.ssh(&["config:show", "shop", "--format", "json"]).ok(),
        "{\"B\":\"two words\",\"C\":\"3\"}\n"
    );

    let archive = ada.home().join("config.tar");
    let mut tar = ada.ssh_command(&[], &["config:bundle", "shop"]);
    tar.stdout(std::fs::File::create(&archive).unwrap());
    assert!(tar.status().unwrap().success());
    let mut unpack = ada.command("tar");
    unpack.args(["-xOf"]).arg(&archive).arg("B");
    assert_eq!(unpack.output().unwrap().stdout, b"two words");
}

#[test]
fn bad_changes_are_refused_and_change_nothing() {
    let world = World::new();
    let ada = world.person("ada");
    ada.ssh(&["apps:create", "shop"]).ok();
    ada.ssh(&["config:set", "shop", "A=1"]).ok();
    let long = format!("B={}", "x".repeat(64 * 1024 + 1));
    for (words, code) in [
        (&["config:set", "shop"][..], 2),
        (&["config:set", "shop", "hunter2"], 2),
        (&["config:set", "shop", "B=1", "1C=2"], 2),
        (&["config:set", "shop", "B=1", "'C D=2'"], 2),
        (&["config:set", "shop", "'=x'"], 2),
        (&["config:set", "shop", &long], 2),
        (&["config:set", "shop", "--encoded", "B=!!"], 2),
        (&["config:set", "--global", "shop", "B=1"], 2),
        (&["config:set", "none", "B=1"], 20),
        (&["config:unset", "shop"], 2),
        (&["config:unset", "shop", "a-b"], 2),
        (&["config:get", "shop"], 2),
        (&["config:get", "shop", "NONE"], 1),
        (&["config:export", "shop", "--format", "yaml"], 2),
        (&["config:import", "shop"], 2),
        (&["config:show", "shop", "--shell", "--export"], 2),
    ] {
        let refused = ada.ssh(words);
        assert_eq!(refused.code, Some(code), "{words:?}: {refused}");
        assert!(refused.stdout.is_empty() && refused.stderr.starts_with(" !     "), "{words:?}: {refused}");
        assert!(!refused.stderr.contains("hunter2"), "it may be a secret: {refused}");
    }
    let garbage = ada.ssh_input(&["config:import", "shop"], b"B=1\nhunter2\n");
    assert_eq!(garbage.code, Some(2), "{garbage}");
    assert!(garbage.stderr.contains("line 2") && !garbage.stderr.contains("hunter2"), "{garbage}");
    assert_eq!(ada.ssh(&["config:show", "shop", "--format", "json"]).ok(), "{\"A\":\"1\"}\n");
    assert!(!world.log().contains("hunter2"));
}
