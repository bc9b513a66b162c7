//! Commands with an app's code and config, as a person and as a script uses them.

use nix::sys::signal::Signal;

use crate::world::{Developer, Live, Output, Repo, Terminal, World, apps, live, processes, soon};

/// `ssh HOST LINE`.
fn ssh(developer: &Developer<'_>, line: &str) -> Output {
    developer.ssh(&[line])
}

/// The same with something to read.
fn ssh_with_input(developer: &Developer<'_>, line: &str, input: &[u8]) -> Output {
    live::run(developer.ssh_command(&[], &[line]), input)
}

/// `ssh -tt HOST LINE` in a terminal.
fn in_terminal(developer: &Developer<'_>, line: &[&str], columns: u16, rows: u16) -> Terminal {
    let mut command = developer.ssh_command(&["-tt"], line);
    command.env("TERM", "xterm");
    Terminal::start(command, columns, rows)
}

/// The processes of this one-off or instance.
fn processes_of(world: &World, dyno: &str) -> usize {
    let all = processes::inside(world.folder());
    all.iter().filter(|process| process.variable("DYNO").as_deref() == Some(dyno)).count()
}

/// An app whose `greet` only runs when it is asked to.
fn push<'d>(developer: &'d Developer<'d>) -> Repo<'d> {
    let mut files = apps::procfile("web: node server.js\ngreet: echo hello\n");
    files.push(("app.json", r#"{ "formation": { "greet": { "quantity": 0 } } }"#.into()));
    let repo = developer.app_of(files);
    repo.push("shop").accepted();
    repo
}

#[test]
fn a_command_runs_once_with_the_apps_code_and_config() {
    let world = World::new();
    let ada = world.developer("ada");
    ssh(&ada, "apps:create shop").ok();
    let none = ssh(&ada, "run shop ls");
    assert_eq!((none.code, none.stdout.as_str()), (Some(1), ""), "{none}");
    assert!(none.stderr.contains("no release"), "{none}");
    ssh(&ada, "config:set shop TOKEN='a  b'").ok();
    push(&ada);

    let said = ssh(&ada, "run shop echo \"$DYNO|$TOKEN|$PORT|$APP_NAME\"; ls; echo bad >&2");
    assert_eq!(said.code, Some(0), "{said}");
    assert!(
        said.stdout.starts_with("run.1|a  b||shop\n"),
        "the rest of the line is the app's shell's: {said}"
    );
    assert!(said.stdout.contains("Procfile\n"), "{said}");
    assert_eq!(said.stderr, "bad\n");
    assert_eq!(ssh(&ada, "run --app shop printf '%s|' \"a b\" c").ok(), "a b|c|");
    assert_eq!(ssh(&ada, "run -e A=1 --env 'B=x y' shop 'echo \"$A $B\"'").ok(), "1 x y\n");
    assert_eq!(ssh(&ada, "run shop greet").ok(), "hello\n", "a process type stands for its command");
    assert_eq!(ssh(&ada, "run shop greet ada  '$DYNO'").ok(), "hello ada $DYNO\n");

    for (line, code) in [
        ("run shop exit 7", 7),
        ("run shop kill -TERM $$", 143),
        ("run shop kill -9 $$", 137),
        ("run shop nothing-of-that-name", 127),
        ("run shop", 2),
        ("run", 2),
        ("run nobody ls", 20),
        ("run ../x ls", 2),
        ("run --nonsense shop ls", 2),
        ("run -e NAME shop ls", 2),
        ("run -e 1A=2 shop ls", 2),
        ("run:stop shop run.99", 2),
        ("run:stop shop web.1", 2),
        ("enter shop worker.1", 1),
        ("enter shop web.0", 2),
    ] {
        let said = ssh(&ada, line);
        assert_eq!(said.code, Some(code), "{line}: {said}");
    }
    assert!(ssh(&ada, "run:list shop").ok().contains("none"), "what has ended is not listed");
    assert_eq!(ssh(&ada, "run:list shop --format json").ok(), "[]\n");
    assert_eq!(ssh(&ada, "enter shop web.1 echo $DYNO $TOKEN").ok(), "web.1 a b\n");

    let eve = world.person("eve");
    for line in [
        "run shop ls",
        "run:detached shop ls",
        "run:list shop",
        "run:logs shop",
        "run:stop shop",
        "enter shop",
    ] {
        let said = ssh(&eve, line);
        assert_eq!((said.code, said.stdout.as_str()), (Some(20), ""), "{line}: {said}");
    }
    assert_eq!(processes_of(&world, "run.1"), 0);
}

#[test]
fn what_is_piped_through_a_command_arrives_whole() {
    let world = World::new();
    let ada = world.developer("ada");
    push(&ada);
    assert_eq!(ssh_with_input(&ada, "run shop cat", b"one\ntwo").ok(), "one\ntwo");
    let long: String = (0..4_000_000).map(|number| format!("{number}\n")).collect();
    assert!(ssh_with_input(&ada, "run shop cat", long.as_bytes()).ok() == long, "both ways at once");
    assert_eq!(ssh_with_input(&ada, "run shop wc -c", long.as_bytes()).ok().trim(), long.len().to_string());
    assert_eq!(ssh_with_input(&ada, "run shop head -c 3", long.as_bytes()).ok(), "0\n1", "it reads no more");
    let flood = ssh(&ada, "run shop head -c 20000000 /dev/zero | tr '\\0' x").ok();
    assert!(flood.len() == 20_000_000 && flood.bytes().all(|byte| byte == b'x'));
    let no_tty = in_terminal(&ada, &["run --no-tty shop 'test -t 0 || echo piped; echo two'"], 80, 24);
    assert_eq!(no_tty.end().1, "piped\r\ntwo\r\n");
}

#[test]
fn a_person_works_in_a_terminal() {
    let world = World::new();
    let ada = world.developer("ada");
    push(&ada);
    assert_eq!(in_terminal(&ada, &["run shop stty size"], 97, 31).end(), (Some(0), "31 97\r\n".to_owned()));

    let mut shell = in_terminal(&ada, &["run shop PS1='at> ' sh"], 80, 24);
    shell.wait_for("at> ");
    shell.type_in("echo $((40 + 2)) $TERM\r");
    shell.wait_for("42 xterm\r\n");
    assert!(shell.shown().contains("echo $((40 + 2))"), "what is typed is shown: {}", shell.shown());
    shell.resize(101, 41);
    // It may arrive after a line that is typed now.
    shell.type_in("until [ \"$(stty size)\" = '41 101' ]; do sleep 0.05; done; echo resized $((1 + 1))\r");
    shell.wait_for("resized 2");
    shell.type_in("sleep 1000; echo slept $?\r");
    soon("the program in the foreground", || (processes_of(&world, "run.2") >= 3).then_some(()));
    shell.type_in("\u{3}");
    shell.wait_for("^C");
    shell.type_in("echo still $((1 + 1))\r");
    shell.wait_for("still 2\r\n");
    shell.type_in("exit 3\r");
    assert_eq!(shell.end().0, Some(3));

    let mut inside = in_terminal(&ada, &["enter shop"], 80, 24);
    inside.type_in("echo in $DYNO; exit\r");
    let (code, shown) = inside.end();
    assert!(code == Some(0) && shown.contains("in web.1\r\n"), "{code:?} {shown}");
    // A one-off ends with its client, and so does all that it started.
    let mut left = in_terminal(&ada, &["run shop sh"], 80, 24);
    left.type_in("trap '' HUP TERM; (setsid sleep 1000) & echo ready $((1 + 1))\r");
    left.wait_for("ready 2");
    assert!(ssh(&ada, "run:list shop").ok().contains("run.3  running  sh "));
    drop(left);
    soon("the one-off to end with its client", || (processes_of(&world, "run.3") == 0).then_some(()));
    soon("the list to be empty", || ssh(&ada, "run:list shop").ok().contains("none").then_some(()));
}

#[test]
fn a_detached_one_off_outlives_its_client_and_the_agent() {
    let world = World::new();
    let ada = world.developer("ada");
    let app = push(&ada);
    let first = ssh(&ada, "run:detached shop 'echo from $DYNO; sleep 1000'").ok();
    assert_eq!(first, "run.1\n");
    soon("its output in the log", || {
        ssh(&ada, "run:logs shop run.1").ok().contains("app[run.1]: from run.1").then_some(())
    });
    assert!(ssh(&ada, "logs shop -p run.1").ok().contains("from run.1"));
    assert!(!ssh(&ada, "logs shop -p web").ok().contains("from run.1"));
    let attached: Live = ada.ssh_live(&["run shop 'echo up; sleep 1000'"]);
    attached.wait_for("up");
    let list = ssh(&ada, "run:list shop --format json").ok();
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list[0]["name"], "run.1");
    assert_eq!(list[1]["attached"], "true");

    world.kill9_and_restart();
    drop(attached);
    soon("the attached one to end with the agent", || (processes_of(&world, "run.2") == 0).then_some(()));
    assert!(processes_of(&world, "run.1") > 0, "the detached one runs on");
    let list = ssh(&ada, "run:list shop").ok();
    assert!(list.contains("run.1") && !list.contains("run.2"), "{list}");
    assert_eq!(world.get("shop", "/").status, 200, "the app itself is as it was");

    let ended = ssh(&ada, "run:detached shop exit 5").ok();
    assert_eq!(ended, "run.3\n", "no number is given twice");
    soon("its end in the log", || {
        ssh(&ada, "logs shop").ok().contains("run.3 exited with code 5").then_some(())
    });
    app.commit();
    app.push("shop").accepted();
    assert!(ssh(&ada, "run:list shop").ok().contains("run.1"), "a deployment leaves it alone");
    assert!(ssh(&ada, "run:stop shop shop.run.1").ok().contains("Ended run.1"));
    assert_eq!(processes_of(&world, "run.1"), 0);
    assert!(ssh(&ada, "run:list shop").ok().contains("none"));

    for number in 4..20 {
        assert_eq!(ssh(&ada, "run:detached shop sleep 1000").ok(), format!("run.{number}\n"));
    }
    let refused = ssh(&ada, "run shop ls");
    assert_eq!(refused.code, Some(1), "{refused}");
    assert!(refused.stderr.contains("16 one-offs of shop run already"), "{refused}");
    ssh(&ada, "apps:destroy shop --force").ok();
    assert_eq!(processes_of(&world, "run.7"), 0, "they go with the app");
}

#[test]
fn somebody_else_ends_a_one_off() {
    let world = World::new();
    let ada = world.developer("ada");
    push(&ada);
    let attached = ada.ssh_live(&["run shop 'echo up; trap \"\" TERM; sleep 1000; sleep 1000'"]);
    attached.wait_for("up");
    assert!(ssh(&ada, "run:stop shop").ok().contains("Ended run.1"));
    let said = attached.end();
    assert_eq!(said.code, Some(1), "{said}");
    assert!(said.stderr.contains("run.1 was ended"), "{said}");
    assert_eq!(processes_of(&world, "run.1"), 0);
    // A client that is stopped by a signal is a client that goes.
    let interrupted = ada.ssh_live(&["run shop 'echo up; sleep 1000'"]);
    interrupted.wait_for("up");
    interrupted.signal(Signal::SIGINT);
    soon("the one-off to end with its client", || (processes_of(&world, "run.2") == 0).then_some(()));
}
