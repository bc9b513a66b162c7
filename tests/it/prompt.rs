//! The prompt, as a person meets it who comes with a terminal and without a command.

use crate::world::{Developer, Terminal, World, apps};

fn prompt(developer: &Developer<'_>, columns: u16) -> Terminal {
    let mut command = developer.ssh_command(&["-t", "-t"], &[]);
    command.env("TERM", "xterm");
    let terminal = Terminal::start(command, columns, 24);
    terminal.wait_for("autostack> ");
    terminal
}

#[test]
fn a_person_works_at_the_prompt() {
    let world = World::new();
    let ada = world.developer("ada");
    ada.app_of(apps::node("hello")).push("shop").accepted();
    let mut at = prompt(&ada, 100);
    assert!(at.shown().contains("You are"), "{}", at.shown());
    at.type_in("apps:li\t\r");
    at.wait_for("apps:list ");
    at.wait_for("My Apps\r\nshop\r\n");
    // The mistake is taken back, the app is completed.
    at.type_in("urll\u{7f} sh\t\r");
    at.wait_for("url shop");
    at.type_in("versoin\r");
    at.wait_for("Did you mean version?");
    at.type_in("apps:destroy shop --help\r");
    at.wait_for("for good");
    at.type_in("config:set shop 'A=1\r");
    at.wait_for("not closed");

    // Ctrl-C ends what follows for ever, and only that; what was typed ahead is for the line after it.
    at.type_in("logs shop -t\r");
    at.wait_for("Release v1");
    at.type_in("\u{3}");
    at.type_in("run shop sh\r");
    at.type_in("echo in $DYNO; sleep 1000\r");
    at.wait_for("in run.1");
    at.type_in("\u{3}");
    at.type_in("echo still $((1 + 1)); exit\r");
    // What is typed while `sh` still ends would be for it.
    at.wait_for_next("still 2", "autostack> ");
    at.type_in("history\r");
    at.wait_for("  run shop sh");
    at.type_in("half a line\u{3}\u{1b}[A\u{1b}[A\u{1b}[D\u{1b}[C\u{15}exit\r");
    let (code, shown) = at.end();
    assert_eq!(code, Some(0), "{shown}");

    let mut at = prompt(&ada, 20);
    at.type_in("a line that is longer than its row is shown in part\u{15}");
    at.type_in("\u{4}");
    assert_eq!(at.end().0, Some(0));
    let greeted = ada.ssh_with(&["-T"], &[]).ok();
    assert!(greeted.contains("There is no shell here"), "without a terminal it is a list: {greeted}");
}

#[test]
fn shells_complete_commands() {
    let world = World::new();
    let ada = world.developer("ada");
    for shell in ["bash", "zsh"] {
        let script = ada.ssh(&["completion", shell]).ok();
        assert!(script.contains("apps:create") && script.contains("run:detached"), "{script}");
    }
    assert_eq!(ada.ssh(&["completion", "fish"]).code, Some(2));
    let script = ada.ssh(&["completion", "bash"]).ok();
    let test = format!(
        "{script}\nautostack() {{ echo shop; }}\n\
         COMP_WORDS=(autostack apps:cr); COMP_CWORD=1; COMP_LINE='autostack apps:cr'; COMP_POINT=${{#COMP_LINE}}; _autostack; echo \"${{COMPREPLY[@]}}\"\n\
         COMP_WORDS=(autostack logs sh); COMP_CWORD=2; COMP_LINE='autostack logs sh'; COMP_POINT=${{#COMP_LINE}}; _autostack; echo \"${{COMPREPLY[@]}}\"\n\
         COMP_WORDS=(autostack logs shop --nu); COMP_CWORD=3; COMP_LINE='autostack logs shop --nu'; COMP_POINT=${{#COMP_LINE}}; _autostack; echo \"${{COMPREPLY[@]}}\"\n"
    );
    let mut bash = ada.command("bash");
    bash.args(["--norc", "-c", &test]);
    let said = crate::world::live::run(bash, b"");
    // Bash takes a colon for the beginning of a word.
    assert_eq!(said.stdout, "create\nshop\n--num\n", "{said}");
}
