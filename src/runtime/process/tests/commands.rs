//! Commands beside instances: what they find, and what is left of them.

use std::{
    env,
    fs::{self, OpenOptions},
    process::Command,
    time::{Duration, Instant},
};

use autostack_domain::{Exit, InstanceSpec, Program};
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::{
    tree::kill,
    world::{SOON, World, until},
};
use crate::{
    Backend, ExecRequest, ExecSession, RuntimeError, TerminalSize,
    process::procfs::{Stat, mark_of, processes},
};

const SIZE: TerminalSize = TerminalSize { columns: 80, rows: 24 };

fn request(command: &str) -> ExecRequest {
    ExecRequest { command: command.to_owned(), ..ExecRequest::default() }
}

fn in_terminal(command: &str) -> ExecRequest {
    ExecRequest { terminal: Some(SIZE), ..request(command) }
}

async fn start(world: &World, beside: &InstanceSpec, request: ExecRequest) -> ExecSession {
    world.backend.exec(&beside.id, request).await.unwrap()
}

/// All that it prints, and how it ends.
async fn all(mut session: ExecSession) -> (String, Exit) {
    let mut found = Vec::new();
    let reading = async {
        while let Some((_, piece)) = session.output().await {
            found.extend_from_slice(&piece);
        }
        session.wait().await.unwrap()
    };
    let exit = tokio::time::timeout(SOON, reading).await.unwrap();
    (String::from_utf8(found).unwrap(), exit)
}

/// Reads until it has printed a line.
async fn line(session: &mut ExecSession) -> String {
    let mut found = String::new();
    while !found.ends_with('\n') {
        let (_, piece) = tokio::time::timeout(SOON, session.output()).await.unwrap().unwrap();
        found.push_str(&String::from_utf8_lossy(&piece));
    }
    found.trim().to_owned()
}

/// The folders of instances and commands.
fn folders(world: &World) -> usize {
    fs::read_dir(world.dir.path().join("instances")).unwrap().count()
}

/// The processes of a command, its shim included, by one of them.
fn with_mark_of(pid: &str) -> impl Fn() -> Vec<Stat> + use<> {
    let mark = mark_of(pid.parse().unwrap()).unwrap();
    move || {
        let all = processes().unwrap().into_iter();
        all.filter(|stat| mark_of(stat.pid).as_deref() == Some(mark.as_str())).collect()
    }
}

#[tokio::test]
async fn an_image_is_refused_before_anything_is_made() {
    let world = World::new().await;
    let mut spec = world.spec("true");
    let image = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
    spec.program = Program::Image { image, command: None, port: 80 };
    let refused = world.backend.start(&spec).await.unwrap_err();
    assert!(matches!(refused, RuntimeError::NoEngine { .. }), "{refused:?}");
    assert!(refused.to_string().contains("runtime.backend = process"), "{refused}");
    let log = world.logs.build_log(&"01890000-0000-7000-8000-000000000006".parse().unwrap()).unwrap();
    let refused = world.backend.run(&spec, &log, &CancellationToken::new()).await.unwrap_err();
    assert!(matches!(refused, RuntimeError::NoEngine { .. }), "{refused:?}");
    assert_eq!(folders(&world), 0);
}

#[tokio::test]
async fn a_command_is_at_home_where_its_instance_is() {
    let world = World::new().await;
    let spec = world.start("exec sleep 600").await;
    let endpoint = world.backend.list().await.unwrap()[0].endpoint;
    let asks = "pwd; echo $TMPDIR; echo $PORT; readlink /proc/self/fd/0 | cut -c 1-4; echo ${TERM-none}; \
                set -- $(cat /proc/$$/stat); echo $(($1 == $5)); ls -m /proc/$$/fd; true";
    let (said, exit) = all(start(&world, &spec, request(asks)).await).await;
    let tmp = world.instance_dir(&spec.id).join("tmp");
    let expected = format!(
        "{}\n{}\n{}\npipe\nnone\n1\n0, 1, 2\n",
        world.app_dir().display(),
        tmp.display(),
        endpoint.port()
    );
    assert_eq!((said, exit), (expected, Exit::Code(0)));
    let mut asked = request("echo $PORT");
    asked.env.set("PORT", "4711").unwrap();
    assert_eq!(all(start(&world, &spec, asked).await).await.0, "4711\n");
    world.backend.stop(&spec.id, Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn a_terminal_is_there_from_the_first_moment() {
    let world = World::new().await;
    let spec = world.start("exec sleep 600").await;
    // Size, name, kind; a session of its own, whose leader's group is in the foreground.
    let asks = "stty size; tty | cut -c 1-9; echo $TERM; set -- $(cat /proc/$$/stat); \
                echo $(($1 == $6)) $(($5 == $8)); ls -m /proc/$$/fd; true";
    let (said, exit) = all(start(&world, &spec, in_terminal(asks)).await).await;
    // Descriptor 10 or 255 is the shell's own hold on its terminal, where it wants one.
    assert_eq!(said.trim_end(), "24 80\r\n/dev/pts/\r\nxterm\r\n1 1\r\n0, 1, 2");
    assert_eq!(exit, Exit::Code(0));
    let mut asked = in_terminal("echo $TERM");
    asked.env.set("TERM", "vt100").unwrap();
    assert_eq!(all(start(&world, &spec, asked).await).await.0, "vt100\r\n");
    world.backend.stop(&spec.id, Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn a_resize_is_told_and_keys_reach_the_foreground() {
    let world = World::new().await;
    let spec = world.start("exec sleep 600").await;
    let asks = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.01; done";
    let mut session = start(&world, &spec, in_terminal(asks)).await;
    assert_eq!(line(&mut session).await, "ready");
    session.resize(TerminalSize { columns: 132, rows: 50 });
    assert_eq!(line(&mut session).await, "50 132");
    let keys = session.take_stdin().unwrap();
    keys.send(Bytes::from_static(b"\x03")).await.unwrap();
    let (_, exit) = all(session).await;
    assert_eq!(exit, Exit::Signal(2));
    // Ctrl-D is the end of a terminal's input; that nobody types any more is not.
    let mut session = start(&world, &spec, in_terminal("stty -echo; echo ready; cat; echo over")).await;
    assert_eq!(line(&mut session).await, "ready");
    let keys = session.take_stdin().unwrap();
    keys.send(Bytes::from_static(b"typed\n\x04")).await.unwrap();
    drop(keys);
    assert_eq!(all(session).await, ("typed\r\nover\r\n".to_owned(), Exit::Code(0)));
    world.backend.stop(&spec.id, Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn the_last_words_of_a_terminal_are_not_lost() {
    let world = World::new().await;
    let spec = world.start("exec sleep 600").await;
    for _ in 0..20 {
        let session = start(&world, &spec, in_terminal("head -c 20000 /dev/zero | tr '\\0' x; exit 5")).await;
        let (said, exit) = all(session).await;
        assert_eq!((said.len(), exit), (20_000, Exit::Code(5)));
    }
    world.backend.stop(&spec.id, Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn who_does_not_read_holds_up_the_command_alone() {
    let world = World::new().await;
    let spec = world.start("exec sleep 600").await;
    let mut session = start(&world, &spec, request("echo $$; exec cat /dev/zero")).await;
    let pid = line(&mut session).await;
    let written = || fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    let deadline = Instant::now() + SOON;
    loop {
        let before = written();
        tokio::time::sleep(Duration::from_millis(50)).await;
        if written() == before {
            break;
        }
        assert!(Instant::now() < deadline, "it never waits");
    }
    let other = start(&world, &spec, request("echo here")).await;
    assert_eq!(all(other).await.0, "here\n");
    let left = with_mark_of(&pid);
    // Held up at its output, it ends with its instance all the same.
    world.backend.stop(&spec.id, Duration::ZERO).await.unwrap();
    assert!(left().is_empty());
    assert!(!tokio::time::timeout(SOON, session.wait()).await.unwrap().unwrap().is_success());
}

#[tokio::test]
async fn a_stop_waits_for_the_commands_beside_it() {
    let world = World::new().await;
    let spec = world.start("exec sleep 600").await;
    let deaf = "trap '' TERM HUP; sleep 600 & echo $$; while :; do sleep 600; done";
    let mut sessions =
        [start(&world, &spec, request(deaf)).await, start(&world, &spec, in_terminal(deaf)).await];
    let mut left = Vec::new();
    for session in &mut sessions {
        left.push(with_mark_of(&line(session).await));
    }
    assert!(left.iter().all(|left| left().len() >= 3));
    assert_eq!(folders(&world), 3);
    world.backend.stop(&spec.id, Duration::ZERO).await.unwrap();
    assert!(left.iter().all(|left| left().is_empty()));
    assert_eq!(folders(&world), 0);
    for session in sessions {
        assert_eq!(session.wait().await.unwrap(), Exit::Signal(9));
    }
}

#[tokio::test]
async fn a_command_ends_with_an_instance_that_ends_by_itself() {
    let world = World::new().await;
    nix::unistd::mkfifo(&world.app_dir().join("go"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let spec = world.start("read line < go; exit 0").await;
    let session = start(&world, &spec, request("exec sleep 600")).await;
    fs::write(world.app_dir().join("go"), "now\n").unwrap();
    assert_eq!(all(session).await.1, Exit::Signal(15));
    assert_eq!(world.backend.wait(&spec.id).await.unwrap(), Exit::Code(0));
    assert_eq!(folders(&world), 1);
    world.backend.stop(&spec.id, Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn a_killed_shim_takes_its_command_along() {
    let world = World::new().await;
    let spec = world.start("exec sleep 600").await;
    let mut session = start(&world, &spec, request("sleep 600 & echo $$; wait")).await;
    let pid = line(&mut session).await;
    let left = with_mark_of(&pid);
    kill(Stat::read(pid.parse().unwrap()).unwrap().parent);
    assert_eq!(all(session).await.1, Exit::Unknown);
    assert!(left().is_empty());
    assert_eq!(folders(&world), 1);
    world.backend.stop(&spec.id, Duration::ZERO).await.unwrap();
}

#[test]
fn a_command_ends_with_its_agent_and_the_instance_does_not() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (world, spec, left) = runtime.block_on(async {
        let world = World::new().await;
        let spec = world.start("exec sleep 600").await;
        let deaf = "trap '' TERM HUP; sleep 600 & echo $$; while :; do sleep 600; done";
        let mut session = start(&world, &spec, in_terminal(deaf)).await;
        let left = with_mark_of(&line(&mut session).await);
        // Nobody gets to end it: the runtime goes down with everything in it, below.
        std::mem::forget(session);
        (world, spec, left)
    });
    assert!(left().len() >= 3);
    runtime.shutdown_timeout(SOON);
    until("the command outlives the agent", || left().is_empty());
    assert!(!super::world::marked(&spec.id).is_empty());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let world = world.reopened(|_| {}).await;
        assert_eq!(folders(&world), 1, "what the command left was cleared away");
        world.backend.stop(&spec.id, Duration::ZERO).await.unwrap();
    });
}

#[tokio::test]
async fn an_output_that_somebody_else_holds_open_ends_all_the_same() {
    let world = World::new().await;
    let spec = world.start("exec sleep 600").await;
    let mut session = start(&world, &spec, request("echo $$; read line; echo last")).await;
    let pid = line(&mut session).await;
    let held = OpenOptions::new().write(true).open(format!("/proc/{pid}/fd/1")).unwrap();
    drop(session.take_stdin());
    let began = Instant::now();
    assert_eq!(all(session).await, ("last\n".to_owned(), Exit::Code(0)));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    drop(held);
    world.backend.stop(&spec.id, Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn dropped_starts_of_commands_leave_nothing() {
    let world = World::new().await;
    let spec = world.start("exec sleep 600").await;
    for micros in [0, 100, 400, 1_500, 2_500, 4_000, 8_000, 20_000] {
        let starting = world.backend.exec(&spec.id, in_terminal("exec sleep 600"));
        drop(tokio::time::timeout(Duration::from_micros(micros), starting).await);
    }
    until_async(|| folders(&world) == 1).await;
    world.backend.stop(&spec.id, Duration::ZERO).await.unwrap();
    until_async(|| world.tasks.running() == ["watch instances"]).await;
}

#[test]
fn a_hundred_commands_leave_nothing_open() {
    // Alone in a process, as descriptors are counted.
    let alone = Command::new(env::current_exe().unwrap())
        .args(["process::tests::commands::a_hundred_commands", "--exact", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    assert!(alone.status.success(), "{}", String::from_utf8_lossy(&alone.stderr));
}

#[tokio::test]
#[ignore = "the child process of another test"]
async fn a_hundred_commands() {
    let world = World::new().await;
    let spec = world.start("exec sleep 600").await;
    let descriptors = || fs::read_dir("/proc/self/fd").unwrap().count();
    let children = || {
        let own = i32::try_from(std::process::id()).unwrap();
        processes().unwrap().iter().filter(|stat| stat.parent == own).count()
    };
    // Once before, for what is opened on first use.
    all(start(&world, &spec, in_terminal("true")).await).await;
    let before = (descriptors(), children());
    for round in 0..100 {
        let asked = if round % 2 == 0 { request("echo x") } else { in_terminal("echo x") };
        let session = start(&world, &spec, asked).await;
        // Some are read to the end, some are dropped.
        if round % 3 != 0 {
            assert_eq!(all(session).await.0.trim(), "x");
        }
    }
    until_async(|| folders(&world) == 1 && (descriptors(), children()) == before).await;
    world.backend.stop(&spec.id, Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn what_is_used_counts_the_whole_tree_and_those_that_ended() {
    let world = World::new().await;
    let burn = "i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done";
    let spec = world.start(&format!("sh -c '{burn}'; (sleep 600 &); echo burnt; exec sleep 600")).await;
    world.said(&spec, 1).await;
    let used = world.backend.stats(&spec.id).await.unwrap();
    assert_eq!(used.processes, 2, "{used:?}");
    assert!(used.cpu >= Duration::from_millis(50), "the shell that ended counts: {used:?}");
    assert!(used.memory_bytes > 64 << 10 && used.memory_bytes < 64 << 20, "{used:?}");
    world.backend.stop(&spec.id, Duration::ZERO).await.unwrap();
}

async fn until_async(mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !is_so() {
        assert!(Instant::now() < deadline, "it never came to be");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
