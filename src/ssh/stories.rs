//! What a client of flesh and blood sees: OpenSSH against the server.

use std::{process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::{
    limits::Limits,
    testing::{LONG, World, make_key, said, wait_until},
};

#[tokio::test]
async fn a_command_answers_with_its_output_and_exit_code() {
    let world = World::new(Limits::default()).await;
    let answer = world.run("ada", "say good morning").await;
    assert_eq!((answer.stdout.as_str(), answer.code), ("good morning\n", Some(0)), "{answer:?}");
    for code in [0, 1, 2, 10, 20, 128, 255] {
        assert_eq!(world.run("ada", &format!("exit {code}")).await.code, Some(code));
    }
    let answer = world.run("ada", "trouble no such thing").await;
    assert_eq!((answer.stdout.as_str(), answer.stderr.as_str()), ("", " !     no such thing\n"));
    world.stop().await;
}

#[tokio::test]
async fn the_key_decides_and_the_user_name_does_not() {
    let world = World::new(Limits::default()).await;
    for user in ["git", "dokku", "root", "ada"] {
        let answer = said(world.ssh("bob").args(["-l", user, "127.0.0.1", "whoami"])).await;
        assert_eq!(answer.stdout, "bob\n", "{answer:?}");
    }
    world.stop().await;
}

#[tokio::test]
async fn c1_who_offers_an_admins_key_without_owning_it_is_only_himself() {
    let world = World::new(Limits::default()).await;
    // The private half of ada.pub is not there: the client offers it and cannot sign.
    let stolen = world.key("stolen");
    std::fs::copy(world.key("bob"), &stolen).unwrap();
    std::fs::copy(world.key("ada.pub"), world.key("stolen.pub")).unwrap();
    let mut ssh = world.ssh("stolen");
    let answer = said(ssh.arg("-i").arg(world.key("bob")).args(["127.0.0.1", "whoami"])).await;
    assert!(answer.stdout == "bob\n" || answer.code == Some(255), "{answer:?}");
    let alone = said(world.ssh("stolen").args(["127.0.0.1", "whoami"])).await;
    assert_ne!(alone.stdout, "ada\n", "{alone:?}");
    world.stop().await;
}

#[tokio::test]
async fn an_unknown_key_is_refused_and_told_why() {
    let world = World::new(Limits::default()).await;
    let batch = world.run("eve", "whoami").await;
    assert_eq!((batch.stdout.as_str(), batch.code), ("", Some(255)));
    assert!(batch.stderr.contains("Permission denied (publickey"), "{batch:?}");

    let fingerprint = said(tokio::process::Command::new("ssh-keygen").arg("-lf").arg(world.key("eve"))).await;
    let fingerprint = fingerprint.stdout.split(' ').nth(1).unwrap().to_owned();
    let person = said(world.person("eve").args(["127.0.0.1", "whoami"])).await;
    assert_eq!((person.stdout.as_str(), person.code), ("", Some(255)));
    let told = format!(" !     This key is not known here: {fingerprint}");
    assert!(person.stderr.contains(&told), "{}", person.stderr);
    assert!(person.stderr.contains("autostack admin key add"), "{}", person.stderr);
    assert!(person.stderr.contains("Permission denied (publickey)."), "{}", person.stderr);
    world.stop().await;
}

#[tokio::test]
async fn a_known_key_gets_in_behind_unknown_ones_and_six_refusals_are_enough() {
    let world = World::new(Limits::default()).await;
    for at in 0..6 {
        make_key(&world.key(&format!("unknown{at}")), "ed25519").await;
    }
    let with = |count: usize| {
        let mut ssh = world.ssh("unknown0");
        for at in 1..count {
            ssh.arg("-i").arg(world.key(&format!("unknown{at}")));
        }
        ssh.arg("-i").arg(world.key("ada")).args(["127.0.0.1", "whoami"]);
        ssh
    };
    let answer = said(&mut with(5)).await;
    assert_eq!(answer.stdout, "ada\n", "{answer:?}");
    let answer = said(&mut with(6)).await;
    assert_eq!((answer.stdout.as_str(), answer.code), ("", Some(255)), "{answer:?}");
    world.stop().await;
}

#[tokio::test]
async fn passwords_and_other_methods_open_nothing() {
    let world = World::new(Limits::default()).await;
    for method in ["password", "keyboard-interactive", "none", "hostbased"] {
        let option = format!("PreferredAuthentications={method}");
        let answer = said(world.person("ada").args(["-o", &option, "127.0.0.1", "whoami"])).await;
        assert_eq!((answer.stdout.as_str(), answer.code), ("", Some(255)), "{method}: {answer:?}");
        assert!(answer.stderr.contains("Permission denied (publickey)."), "{method}: {answer:?}");
    }
    world.stop().await;
}

#[tokio::test]
async fn keys_that_cannot_be_looked_up_let_nobody_in() {
    let world = World::new(Limits::default()).await;
    world.seen.note("keys are out of reach");
    let answer = said(world.person("ada").args(["127.0.0.1", "whoami"])).await;
    assert_eq!((answer.stdout.as_str(), answer.code), ("", Some(255)));
    assert!(answer.stderr.contains("try again in a minute"), "{answer:?}");
    world.stop().await;
}

#[tokio::test]
async fn a_shell_greets_with_and_without_a_terminal() {
    let world = World::new(Limits::default()).await;
    let plain = said(world.ssh("ada").arg("127.0.0.1")).await;
    assert_eq!((plain.stdout.as_str(), plain.code), ("hello\n", Some(0)), "{plain:?}");
    let terminal = said(world.ssh("ada").args(["-tt", "127.0.0.1"])).await;
    assert_eq!((terminal.stdout.as_str(), terminal.code), ("hello\r\n", Some(0)), "{terminal:?}");
    world.stop().await;
}

#[tokio::test]
async fn c3_of_the_clients_environment_four_kinds_arrive() {
    let world = World::new(Limits::default()).await;
    for (name, arrives) in
        [("GIT_PROTOCOL", true), ("LC_ALL", true), ("GIT_SSH_COMMAND", false), ("LD_PRELOAD", false)]
    {
        let mut ssh = world.ssh("ada");
        ssh.args(["-o", &format!("SetEnv={name}=version=2"), "127.0.0.1", &format!("variable {name}")]);
        let answer = said(&mut ssh).await;
        assert_eq!(answer.stdout, if arrives { "version=2\n" } else { "(unset)\n" }, "{name}");
    }
    world.stop().await;
}

#[tokio::test]
async fn c5_what_is_not_offered_is_refused_and_the_session_lives() {
    let world = World::new(Limits::default()).await;
    let forward = said(world.ssh("ada").args(["-W", "127.0.0.1:22", "127.0.0.1"])).await;
    assert_eq!(forward.code, Some(255));
    assert!(forward.stderr.contains("dministratively prohibited"), "{forward:?}");

    let sftp = said(world.ssh("ada").args(["-s", "127.0.0.1", "sftp"])).await;
    assert_eq!(sftp.code, Some(255));
    assert!(sftp.stderr.contains("subsystem request failed"), "{sftp:?}");

    let reverse =
        said(world.ssh("ada").args(["-R", "127.0.0.1:0:127.0.0.1:22", "127.0.0.1", "say alive"])).await;
    assert_eq!((reverse.stdout.as_str(), reverse.code), ("alive\n", Some(0)));
    assert!(reverse.stderr.contains("remote port forwarding failed"), "{reverse:?}");

    let socket = world.dir().join("socket").display().to_string();
    let unix =
        said(world.ssh("ada").args(["-R", &format!("/tmp/x:{socket}"), "127.0.0.1", "say alive"])).await;
    assert_eq!(unix.stdout, "alive\n", "{unix:?}");

    let mut x11 = world.ssh("ada");
    let x11 =
        said(x11.args(["-X", "-o", "XAuthLocation=/bin/true", "127.0.0.1", "refusals"]).env("DISPLAY", ":9"))
            .await;
    assert_eq!(x11.code, Some(0), "{x11:?}");
    assert!(x11.stdout.contains("X11 forwarding is not offered"), "{x11:?}");
    assert!(x11.stderr.contains("X11 forwarding request failed"), "{x11:?}");
    world.stop().await;
}

#[tokio::test]
async fn a_command_that_does_not_read_costs_its_client_nothing() {
    let world = World::new(Limits::default()).await;
    let mut ssh = world.ssh("ada");
    ssh.args(["127.0.0.1", "ignore-input"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut client = ssh.spawn().unwrap();
    let mut stdin = client.stdin.take().unwrap();
    let feed = async {
        let megabyte = vec![b'x'; 1024 * 1024];
        for _ in 0..60 {
            // The session may have ended in the middle of it.
            if stdin.write_all(&megabyte).await.is_err() {
                break;
            }
        }
        drop(stdin);
    };
    let ((), ended) = timeout(LONG, async { tokio::join!(feed, client.wait_with_output()) }).await.unwrap();
    let ended = ended.unwrap();
    assert_eq!((ended.stdout.as_slice(), ended.status.code()), (&b"done\n"[..], Some(0)));
    world.stop().await;
}

#[tokio::test]
async fn a_command_that_leaves_its_input_unread_is_ended() {
    let limits = Limits { input_stall: Duration::from_millis(200), ..Limits::default() };
    let world = World::new(limits).await;
    let mut ssh = world.ssh("ada");
    ssh.args(["127.0.0.1", "keep-input-unread"]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut client = ssh.spawn().unwrap();
    let mut stdin = client.stdin.take().unwrap();
    let feed = async {
        let megabyte = vec![b'x'; 1024 * 1024];
        while stdin.write_all(&megabyte).await.is_ok() {}
    };
    let ((), ended) = timeout(LONG, async { tokio::join!(feed, client.wait()) }).await.unwrap();
    assert_eq!(ended.unwrap().code(), Some(3));
    assert!(world.seen.has("let go"));
    world.stop().await;
}

#[tokio::test]
async fn sixty_megabytes_arrive_whole() {
    let world = World::new(Limits::default()).await;
    let input = world.key("input");
    let bytes = vec![b'x'; 60 * 1024 * 1024];
    std::fs::write(&input, &bytes).unwrap();
    for command in ["child wc -c", "count"] {
        let mut ssh = world.ssh("ada");
        ssh.args(["127.0.0.1", command]).stdin(std::fs::File::open(&input).unwrap());
        let ended = timeout(LONG, ssh.output()).await.unwrap().unwrap();
        assert_eq!(ended.status.code(), Some(0), "{command}: {}", String::from_utf8_lossy(&ended.stderr));
        assert_eq!(ended.stdout, format!("{}\n", bytes.len()).into_bytes(), "{command}");
    }
    world.stop().await;
}

#[tokio::test]
async fn a_childs_streams_and_code_arrive_in_order() {
    let world = World::new(Limits::default()).await;
    let missing = world.run("ada", "child ls /nowhere/at/all").await;
    assert_eq!(missing.code, Some(2));
    assert!(missing.stderr.contains("/nowhere/at/all") && missing.stdout.is_empty(), "{missing:?}");
    world.stop().await;
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_within_a_second() {
    let world = World::new(Limits::default()).await;
    let mut ssh = world.ssh("ada");
    let mut client = ssh.args(["127.0.0.1", "until-gone"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(client.stdout.as_mut().unwrap()).read_line(&mut line).await.unwrap();
    assert_eq!(line, "waiting\n");
    client.start_kill().unwrap();
    timeout(Duration::from_secs(1), world.seen.wait_for("gone")).await.expect("not noticed");
    client.wait().await.unwrap();
    world.stop().await;
}

#[tokio::test]
async fn control_c_on_a_terminal_ends_the_command() {
    let world = World::new(Limits::default()).await;
    let mut ssh = world.ssh("ada");
    ssh.args(["-tt", "127.0.0.1", "until-gone"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut client = ssh.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(client.stdout.as_mut().unwrap()).read_line(&mut line).await.unwrap();
    client.stdin.as_mut().unwrap().write_all(b"\x03").await.unwrap();
    world.seen.wait_for("gone").await;
    timeout(LONG, client.wait()).await.unwrap().unwrap();
    world.stop().await;
}

#[tokio::test]
async fn a_panic_ends_one_session_with_a_sentence() {
    let world = World::new(Limits::default()).await;
    let mut other = world.ssh("bob");
    let mut other = other.args(["127.0.0.1", "until-stopping"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut others_output = BufReader::new(other.stdout.take().unwrap());
    let mut said = String::new();
    others_output.read_line(&mut said).await.unwrap();
    let answer = world.run("ada", "panic").await;
    assert_eq!(answer.code, Some(1));
    assert!(answer.stderr.contains(" !     The platform failed at this command"), "{answer:?}");
    assert_eq!(world.tasks.panics(), 1);
    assert_eq!(world.run("ada", "say alive").await.stdout, "alive\n");
    assert!(other.try_wait().unwrap().is_none());
    world.stopping.cancel();
    others_output.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "waiting\nstopped in order\n");
    assert_eq!(other.wait().await.unwrap().code(), Some(0));
    world.stop().await;
}

#[tokio::test]
async fn several_sessions_share_a_connection_up_to_the_limit() {
    let world = World::new(Limits { sessions_per_connection_max: 2, ..Limits::default() }).await;
    let control = world.key("control").display().to_string();
    let shared = || {
        let mut ssh = world.ssh("ada");
        ssh.args(["-o", "ControlMaster=auto", "-o", "ControlPersist=no", "-S", &control]);
        ssh
    };
    let mut master = shared().args(["127.0.0.1", "until-stopping"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(master.stdout.as_mut().unwrap()).read_line(&mut line).await.unwrap();
    wait_until("the master's socket", || std::path::Path::new(&control).exists()).await;
    for _ in 0..5 {
        assert_eq!(said(shared().args(["127.0.0.1", "say shared"])).await.stdout, "shared\n");
    }
    let mut second = shared().args(["127.0.0.1", "until-stopping"]).stdout(Stdio::piped()).spawn().unwrap();
    BufReader::new(second.stdout.as_mut().unwrap()).read_line(&mut line).await.unwrap();
    let third = said(shared().args(["127.0.0.1", "say one too many"])).await;
    assert!(third.stderr.contains("Session open refused by peer"), "{third:?}");
    world.stopping.cancel();
    assert_eq!(timeout(LONG, master.wait()).await.unwrap().unwrap().code(), Some(0));
    world.stop().await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_loses_its_command() {
    let limits = Limits { output_stall: Duration::from_millis(300), ..Limits::default() };
    let world = World::new(limits).await;
    let mut ssh = world.ssh("ada");
    // Nobody reads the pipe: it fills, then the client's window closes.
    let mut client = ssh.args(["127.0.0.1", "send 1000000000"]).stdout(Stdio::piped()).spawn().unwrap();
    world.seen.wait_for("nobody listens").await;
    client.start_kill().unwrap();
    client.wait().await.unwrap();
    world.stop().await;
}

/// Connects from `127.0.0.LAST`.
async fn connect_from(last: u8, world: &World) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, last], 0).into()).unwrap();
    socket.connect(world.address).await.unwrap()
}

#[tokio::test]
async fn c8_silent_connections_are_closed_and_an_honest_client_gets_through() {
    let limits = Limits { login_grace: Duration::from_secs(2), ..Limits::default() };
    let world = World::new(limits).await;
    let mut silent = Vec::new();
    for at in 0..2_000u32 {
        let last = u8::try_from(1 + at % 200).unwrap();
        silent.push(connect_from(last, &world).await);
        if at == 1_000 || at == 1_900 {
            let honest = timeout(Duration::from_secs(3), world.run("ada", "say hello")).await;
            assert_eq!(honest.expect("too slow").stdout, "hello\n");
        }
    }
    // One that sends a byte now and then is not better off.
    let mut slow = connect_from(1, &world).await;
    slow.write_all(b"S").await.unwrap();
    silent.push(slow);
    let all_closed = async {
        for stream in &mut silent {
            let mut rest = Vec::new();
            // A reset is an end too.
            let _ended = stream.read_to_end(&mut rest).await;
        }
    };
    timeout(Duration::from_secs(5), all_closed).await.expect("some are still open");
    world.stop().await;
}

#[tokio::test]
async fn many_honest_clients_of_one_address_all_get_in() {
    let world = World::new(Limits::default()).await;
    let clients = (0..40).map(|n| {
        let (world, command) = (&world, format!("say {n}"));
        async move { (n, world.run("ada", &command).await) }
    });
    for (n, answer) in futures_util::future::join_all(clients).await {
        assert_eq!(answer.stdout, format!("{n}\n"), "{answer:?}");
    }
    world.stop().await;
}

#[tokio::test]
async fn who_speaks_another_protocol_is_sent_away_at_once() {
    let world = World::new(Limits::default()).await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut said = Vec::new();
    let read = timeout(Duration::from_millis(900), stream.read_to_end(&mut said)).await.expect("still open");
    assert!(read.is_err() || said.starts_with(b"SSH-2.0-autostack"), "{said:?}");
    world.stop().await;
}

#[tokio::test]
async fn c7_broken_packets_end_their_own_connection_only() {
    let world = World::new(Limits { login_grace: Duration::from_secs(3), ..Limits::default() }).await;
    let lengths: [u32; 6] = [0, 1, 12, 35_001, 0x7fff_ffff, u32::MAX];
    let mut broken: Vec<Vec<u8>> = lengths
        .iter()
        .map(|length| [&length.to_be_bytes()[..], &[4, 20], &[0xff; 400][..]].concat())
        .collect();
    // A key exchange whose lists claim to be longer than the packet, and one that is all zeros.
    broken.push([&[0, 0, 0, 44, 4, 20][..], &[0; 16], &u32::MAX.to_be_bytes(), &[b'a'; 400]].concat());
    broken.push(vec![0; 70_000]);
    for packet in broken {
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        stream.write_all(b"SSH-2.0-broken\r\n").await.unwrap();
        // The server may have closed before the last byte; that is what is wanted.
        let _sent = stream.write_all(&packet).await;
        let mut said = Vec::new();
        let _closed = timeout(LONG, stream.read_to_end(&mut said)).await.expect("still open");
    }
    let mut endless = TcpStream::connect(world.address).await.unwrap();
    endless.write_all(b"SSH-2.0-").await.unwrap();
    let mut sent = 0;
    while endless.write_all(&[b'S'; 4096]).await.is_ok() && sent < 64 * 1024 * 1024 {
        sent += 4096;
    }
    assert!(sent < 16 * 1024 * 1024, "took {sent} bytes of an identification without an end");
    assert_eq!(world.run("ada", "say alive").await.stdout, "alive\n");
    assert_eq!(world.tasks.panics(), 0);
    world.stop().await;
}

#[tokio::test]
async fn who_logs_in_keeps_the_connection_beyond_the_grace_time() {
    let world = World::new(Limits { login_grace: Duration::from_secs(3), ..Limits::default() }).await;
    let mut ssh = world.ssh("ada");
    let mut client = ssh.args(["127.0.0.1", "until-stopping"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(client.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).await.unwrap();
    tokio::time::sleep(Duration::from_millis(3_300)).await;
    world.stopping.cancel();
    line.clear();
    stdout.read_line(&mut line).await.unwrap();
    assert_eq!(line, "stopped in order\n");
    client.wait().await.unwrap();
    world.stop().await;
}

#[tokio::test]
async fn a_stop_waits_for_sessions_within_its_budget() {
    let world = World::new(Limits { stop_budget: Duration::from_millis(300), ..Limits::default() }).await;
    let mut ssh = world.ssh("ada");
    let mut client = ssh.args(["127.0.0.1", "until-gone"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(client.stdout.as_mut().unwrap()).read_line(&mut line).await.unwrap();
    let seen = std::sync::Arc::clone(&world.seen);
    world.stop().await;
    assert!(seen.has("gone"));
    assert_eq!(timeout(LONG, client.wait()).await.unwrap().unwrap().code(), Some(255));
}
