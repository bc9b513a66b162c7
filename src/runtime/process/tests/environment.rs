//! What a program finds when it starts.

use std::{
    collections::BTreeMap,
    env, fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
};

use autostack_domain::{Program, env_map::SYSTEM_PATH};

use super::world::World;
use crate::{Backend, RuntimeError};

/// The variables that a shell of an instance was given.
fn environment_of(dump: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let variables = dump.split(|byte| *byte == 0).filter(|variable| !variable.is_empty());
    let split = variables.map(|variable| {
        let at = variable.iter().position(|byte| *byte == b'=').unwrap();
        (String::from_utf8(variable[..at].to_vec()).unwrap(), variable[at + 1..].to_vec())
    });
    split.collect()
}

#[tokio::test]
async fn b7_it_gets_its_environment_byte_for_byte_and_nothing_of_the_agents() {
    let world = World::new().await;
    let mut spec = world.spec("cat /proc/self/environ > environ");
    spec.env.set("BYTES", b"a\xff\n $(id) `id` 'x' \"y\"".to_vec()).unwrap();
    spec.env.set("EMPTY", "").unwrap();
    let endpoint = world.backend.start(&spec).await.unwrap().endpoint;
    world.backend.wait(&spec.id).await.unwrap();
    let found = environment_of(&fs::read(world.app_dir().join("environ")).unwrap());
    let tmp = world.instance_dir(&spec.id).join("tmp");
    let expected: [(&str, &[u8]); 8] = [
        ("AUTOSTACK_INSTANCE", spec.id.as_str().as_bytes()),
        ("BYTES", b"a\xff\n $(id) `id` 'x' \"y\""),
        ("EMPTY", b""),
        ("HOME", world.app_dir().as_os_str().as_encoded_bytes()),
        ("PATH", SYSTEM_PATH.as_bytes()),
        ("PORT", endpoint.port().to_string().as_bytes()),
        // The shell's own.
        ("PWD", world.app_dir().as_os_str().as_encoded_bytes()),
        ("TMPDIR", tmp.as_os_str().as_encoded_bytes()),
    ]
    .map(|(name, value)| (name, value.to_vec().leak() as &[u8]));
    let found: Vec<(&str, &[u8])> = found
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_slice()))
        .filter(|(n, _)| *n != "_")
        .collect();
    assert_eq!(found, expected);
    assert!(env::vars_os().count() > 0, "this process has variables to leak");
}

#[tokio::test]
async fn its_own_values_win_but_for_the_port() {
    let world = World::new().await;
    let mut spec = world.spec("echo $PORT $HOME $TMPDIR $PATH $AUTOSTACK_INSTANCE");
    for (name, value) in
        [("PORT", "1"), ("HOME", "/h"), ("TMPDIR", "/t"), ("PATH", "/p"), ("AUTOSTACK_INSTANCE", "x")]
    {
        spec.env.set(name, value).unwrap();
    }
    let port = world.backend.start(&spec).await.unwrap().endpoint.port();
    world.backend.wait(&spec.id).await.unwrap();
    assert_eq!(world.lines(&spec), [format!("{port} /h /t /p {}", spec.id)]);
}

#[tokio::test]
async fn a_command_keeps_the_port_that_its_spec_names() {
    let world = World::new().await;
    let log = world.logs.build_log(&"01890000-0000-7000-8000-000000000004".parse().unwrap()).unwrap();
    let cancel = tokio_util::sync::CancellationToken::new();
    let mut spec = world.spec("echo port ${PORT-none}");
    world.backend.run(&spec, &log, &cancel).await.unwrap();
    spec.env.set("PORT", "4711").unwrap();
    world.backend.run(&spec, &log, &cancel).await.unwrap();
    let (said, _) = log.stream().tail(10, &autostack_logs::Filter::all()).unwrap();
    let said: Vec<_> = said.iter().map(|(_, entry)| entry.text_lossy()).collect();
    assert_eq!(said, ["port none", "port 4711"]);
}

#[tokio::test]
async fn it_starts_with_a_clean_slate() {
    let world = World::new().await;
    let spec = world
        .start(
            "umask; ulimit -c; ulimit -n; readlink /proc/self/fd/0; \
             grep -E '^Sig(Blk|Ign)' /proc/self/status | tr -s '\\t' ' '; cat /proc/self/oom_score_adj; \
             ls -m /proc/$$/fd; \
             set -- $(cat /proc/$$/stat); echo session $(($4 == $6)) group $(($1 == $5)); pwd",
        )
        .await;
    world.backend.wait(&spec.id).await.unwrap();
    let said = world.lines(&spec);
    let (_, hard) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    let app_dir = world.app_dir();
    let expected = [
        "0022",
        "0",
        &hard.min(65_536).to_string(),
        "/dev/null",
        "SigBlk: 0000000000000000",
        "SigIgn: 0000000000000000",
        "200",
        "0, 1, 2",
        "session 1 group 1",
        app_dir.to_str().unwrap(),
    ];
    assert_eq!(said, expected);
}

#[tokio::test]
async fn its_secrets_are_readable_for_the_owner_alone() {
    let world = World::new().await;
    let mut spec = world.spec("exec sleep 600");
    spec.env.set("TOKEN", "hunter2").unwrap();
    world.backend.start(&spec).await.unwrap();
    let dir = world.instance_dir(&spec.id);
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(dir.parent().unwrap()), 0o700);
    for entry in fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path) & 0o077, 0, "{path:?}");
        assert_eq!(fs::metadata(&path).unwrap().uid(), nix::unistd::geteuid().as_raw());
    }
    let shim = crate::process::layout::InstanceDir::new(dir).shim_record().unwrap().unwrap().shim.pid;
    for file in ["cmdline", "environ"] {
        let told = fs::read(format!("/proc/{shim}/{file}")).unwrap();
        assert!(!told.windows(7).any(|part| part == b"hunter2"), "{file}");
    }
    world.backend.stop(&spec.id, std::time::Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn a_start_that_cannot_be_says_why_and_leaves_nothing() {
    let world = World::new().await;
    let mut spec = world.spec("echo never");
    spec.program = Program::Folder { dir: world.dir.path().join("missing"), command: "true".into() };
    let error = world.backend.start(&spec).await.unwrap_err();
    let RuntimeError::Start { why, .. } = &error else { panic!("{error:?}") };
    assert!(why.contains("missing") && why.contains("No such file"), "{why}");
    assert!(!world.instance_dir(&spec.id).exists());
    assert!(world.backend.list().await.unwrap().is_empty());
    assert!(super::world::marked(&spec.id).is_empty());
    let mut too_long = world.spec(&"x".repeat(200_000));
    too_long.index = 2;
    let error = world.backend.start(&too_long).await.unwrap_err();
    assert!(error.to_string().contains("Argument list too long"), "{error}");
    assert!(!world.instance_dir(&too_long.id).exists());
}

#[tokio::test]
async fn ports_run_out_and_come_back() {
    let world = World::new().await;
    let mut started = Vec::new();
    let refused = loop {
        let spec = world.spec("exec sleep 600");
        match world.backend.start(&spec).await {
            Ok(_) => started.push(spec),
            Err(error) => break error,
        }
        assert!(started.len() <= 25);
    };
    assert!(matches!(refused, RuntimeError::NoPort { .. }), "{refused}");
    let last = started.pop().unwrap();
    world.backend.stop(&last.id, std::time::Duration::ZERO).await.unwrap();
    world.backend.start(&last).await.unwrap();
    started.push(last);
    for spec in started {
        world.backend.stop(&spec.id, std::time::Duration::ZERO).await.unwrap();
    }
}
