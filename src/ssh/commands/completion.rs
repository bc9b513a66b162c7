//! What a shell on a developer's own machine completes: commands, their options, apps. From the same table as `help`.

use crate::commands::{
    self,
    command::{COMMON, Command, Needs, Words},
    invocation::Invocation,
    refusal::Refusal,
};

pub(crate) const COMMANDS: &[&Command] = &[&COMPLETION];

const COMPLETION: Command = Command {
    name: "completion",
    arguments: "bash|zsh",
    summary: "show a script that completes commands in your own shell",
    details: &[
        "It completes what you call autostack or dokku there, such as",
        "autostack() { ssh -t -p PORT git@HOST -- \"$@\"; }",
        "In ~/.bashrc or ~/.zshrc:  source <(ssh -p PORT git@HOST completion bash)",
    ],
    options: &[],
    needs: Needs::Nothing,
    words: Words::Mixed,
    run: |invocation| Box::pin(completion(invocation)),
};

/// Ends the script for bash; in zsh its own `bashcompinit` stands before it.
const REGISTER: &str = "complete -F _autostack autostack dokku\n";

/// What begins the script for zsh, which understands the rest of it then.
const FOR_ZSH: &str = "autoload -U +X compinit && compinit -u\nautoload -U +X bashcompinit && bashcompinit\n";

async fn completion(mut invocation: Invocation) -> Result<(), Refusal> {
    let shell = invocation.word("the name of a shell: bash or zsh")?;
    invocation.end()?;
    let begin = match shell.as_str() {
        "bash" => "",
        "zsh" => FOR_ZSH,
        _ => return Err(invocation.usage("There are completions for bash and zsh.")),
    };
    Ok(invocation.output.text(&format!("{begin}{}{REGISTER}", script())).await?)
}

/// The names in it are the platform's own: letters, digits, colons and dashes, which no shell evaluates.
fn script() -> String {
    let names: Vec<&str> = commands::all().map(|command| command.name).collect();
    let with_app = commands::all().filter(|command| command.arguments.contains("APP"));
    let with_app: Vec<&str> = with_app.map(|command| command.name).collect();
    let options: String = commands::all()
        .filter(|command| !command.options.is_empty())
        .map(|command| {
            let own: Vec<&str> = command.options.iter().map(|flag| flag.long).collect();
            format!("    {}) options=\"{}\" ;;\n", command.name, own.join(" "))
        })
        .collect();
    let common: Vec<&str> = COMMON.iter().map(|flag| flag.long).collect();
    // A colon ends a word for bash; the line is cut at spaces instead, and what stands before the colon is not repeated.
    format!(
        r#"# Completion for autostack. The apps are asked for once in a minute.
_autostack() {{
  local line="${{COMP_LINE:0:COMP_POINT}}" word command options="" candidates=""
  local words
  read -r -a words <<< "$line"
  word=""
  [[ "$line" == *" " ]] || word="${{words[${{#words[@]}}-1]}}"
  command="${{words[1]}}"
  case "$command" in
{options}    *) ;;
  esac
  if [[ ${{#words[@]}} -lt 2 || ( ${{#words[@]}} -eq 2 && -n "$word" ) || "$command" == help ]]; then
    candidates="{names}"
  elif [[ "$word" == -* ]]; then
    candidates="$options {common}"
  elif [[ " {with_app} " == *" $command "* ]]; then
    if [[ -z "$_autostack_apps" || $((SECONDS - _autostack_asked)) -gt 60 ]]; then
      _autostack_apps="$("${{words[0]}}" --quiet apps:list 2>/dev/null < /dev/null)"
      _autostack_asked=$SECONDS
    fi
    candidates="$_autostack_apps"
  fi
  COMPREPLY=($(compgen -W "$candidates" -- "$word"))
  if [[ "$word" == *:* && "$COMP_WORDBREAKS" == *:* ]]; then
    local before="${{word%"${{word##*:}}"}}" at
    for at in "${{!COMPREPLY[@]}}"; do COMPREPLY[$at]="${{COMPREPLY[$at]#"$before"}}"; done
  fi
}}
"#,
        names = names.join(" "),
        common = common.join(" "),
        with_app = with_app.join(" "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_means_anything_to_a_shell() {
        let is_plain =
            |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b':' | b'-' | b'_'));
        for command in commands::all() {
            assert!(is_plain(command.name), "{}", command.name);
            assert!(command.options.iter().all(|flag| is_plain(flag.long)), "{}", command.name);
        }
        let script = script();
        assert!(script.contains("    logs) options=\"--tail"), "{script}");
    }
}
