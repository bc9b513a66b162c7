//! One-offs in containers of their own, and commands inside of running ones.

use crate::world::{Developer, Output, Terminal, World, apps, live, soon};

/// `ssh HOST LINE`.
fn ssh(developer: &Developer<'_>, line: &str) -> Output {
    developer.ssh(&[line])
}

fn in_terminal(developer: &Developer<'_>, line: &str, columns: u16, rows: u16) -> Terminal {
    let mut command = developer.ssh_command(&["-tt"], &[line]);
    command.env("TERM", "xterm");
    Terminal::start(command, columns, rows)
}

#[test]
fn a_command_runs_once_in_a_container_of_its_own() {
    let world = World::with_docker();
    let ada = world.developer("ada");
    ada.app_of(apps::dockerfile("web")).push("shop").accepted();
    ssh(&ada, "config:set shop TOKEN='a  b'").ok();
    let before = world.settled("shop");

    let said = ssh(&ada, "run shop 'echo \"$DYNO|$PORT\"; cat /www/index.html; echo bad >&2; exit 7'");
    assert_eq!(
        (said.code, said.stdout.as_str(), said.stderr.as_str()),
        (Some(7), "run.1|\nweb", "bad\n"),
        "{said}"
    );
    assert_eq!(ssh(&ada, "run shop kill -9 $$").code, Some(137));
    assert_eq!(ssh(&ada, "run -e 'A=x y' shop 'echo \"$A\"'").ok(), "x y\n");
    assert_eq!(ssh(&ada, "enter shop web 'echo $DYNO'").ok(), "web.1\n");
    let long: String = (0..300_000).map(|number| format!("{number}\n")).collect();
    let piped = live::run(ada.ssh_command(&[], &["run shop cat"]), long.as_bytes());
    assert!(piped.ok() == long, "both ways at once");
    let flood = ssh(&ada, "run shop 'head -c 5000000 /dev/zero | tr \"\\0\" x'").ok();
    assert!(flood.len() == 5_000_000 && flood.bytes().all(|byte| byte == b'x'));
    world.assert_nothing_left("shop", &before);

    assert_eq!(in_terminal(&ada, "run shop stty size", 97, 31).end(), (Some(0), "31 97\r\n".to_owned()));
    let mut shell = in_terminal(&ada, "run shop PS1='at> ' sh", 80, 24);
    shell.wait_for("at> ");
    shell.resize(101, 41);
    shell.type_in("until [ \"$(stty size)\" = '41 101' ]; do sleep 0.05; done; echo resized $((1 + 1))\r");
    shell.wait_for("resized 2");
    shell.type_in("echo begins $((1 + 1)); sleep 1000\r");
    shell.wait_for("begins 2");
    shell.type_in("\u{3}");
    shell.type_in("echo still $((1 + 1)) $TERM\r");
    shell.wait_for("still 2 xterm\r\n");
    shell.type_in("exit 3\r");
    assert_eq!(shell.end().0, Some(3));
    let left = in_terminal(&ada, "run shop 'echo ready; sleep 1000'", 80, 24);
    left.wait_for("ready");
    assert_eq!(world.containers("shop").len(), 2);
    drop(left);
    soon("the one-off to end with its client", || (world.containers("shop").len() == 1).then_some(()));
    world.assert_nothing_left("shop", &before);
}

#[test]
fn a_detached_container_outlives_the_agent_and_an_attached_one_does_not() {
    let world = World::with_docker();
    let ada = world.developer("ada");
    ada.app_of(apps::dockerfile("web")).push("shop").accepted();
    let before = world.settled("shop");
    assert_eq!(ssh(&ada, "run:detached shop 'echo from $DYNO; sleep 1000'").ok(), "run.1\n");
    soon("its output", || {
        ssh(&ada, "run:logs shop run.1").ok().contains("app[run.1]: from run.1").then_some(())
    });
    let attached = ada.ssh_live(&["run shop 'echo up; sleep 1000'"]);
    attached.wait_for("up");
    assert_eq!(world.containers("shop").len(), 3);
    world.kill9_and_restart();
    drop(attached);
    soon("the attached one to be cleared away", || (world.containers("shop").len() == 2).then_some(()));
    let list = ssh(&ada, "run:list shop").ok();
    assert!(list.contains("run.1") && !list.contains("run.2"), "{list}");
    assert_eq!(world.get("shop", "/").body, "web");
    assert!(ssh(&ada, "run:stop shop run.1").ok().contains("Ended run.1"));
    assert_eq!(ssh(&ada, "run:detached shop exit 5").ok(), "run.3\n");
    soon("its end in the log", || {
        ssh(&ada, "logs shop").ok().contains("run.3 exited with code 5").then_some(())
    });
    soon("the list to be empty", || (ssh(&ada, "run:list shop --format json").ok() == "[]\n").then_some(()));
    world.assert_nothing_left("shop", &before);
}
