//! `kennel completions`: writes a completion script.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::Shell;

use super::outcome::CliResult;
use crate::output;

/// Write a script for command line completion in a shell to standard output.
///
/// In bash, zsh and fish it also completes the command after "memo --" and "lock --" in the shell's usual way.
///
/// Example: kennel completions bash > /etc/bash_completion.d/kennel
#[derive(Args)]
pub struct CompletionsArgs {
    /// The shell to write the script for.
    shell: Shell,
}

/// Writes the script for the whole command line `cli`.
pub fn run(args: &CompletionsArgs, cli: Command) -> CliResult {
    let mut out = output::stdout();
    out.write_all(&script(args.shell, cli)?)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn script(shell: Shell, mut cli: Command) -> Result<Vec<u8>, String> {
    let mut script = Vec::new();
    // The generator panics if it cannot write; writing to memory never fails.
    clap_complete::generate(shell, &mut cli, "kennel", &mut script);
    match shell {
        Shell::Bash => at_begin_of_function(&script, BASH),
        Shell::Zsh => at_begin_of_function(&script, ZSH),
        Shell::Fish => Ok([&script[..], FISH.as_bytes()].concat()),
        _ => Ok(script),
    }
}

/// Inserts lines at the start of the completing function, before it interprets the words as our options.
fn at_begin_of_function(script: &[u8], lines: &str) -> Result<Vec<u8>, String> {
    const FUNCTION: &str = "\n_kennel() {\n";
    let script = String::from_utf8_lossy(script);
    // In some scripts the function is in the first line.
    let script = format!("\n{script}");
    match script.split_once(FUNCTION) {
        Some((before, after)) => Ok(format!("{}{FUNCTION}{lines}{after}", before.trim_start()).trim_start().into()),
        None => Err("the generator of the script has changed: expected a function _kennel, found none".into()),
    }
}

/// Completes another command with the functions of bash-completion, if they are loaded.
const BASH: &str = r#"    if [[ ${COMP_WORDS[1]} == memo || ${COMP_WORDS[1]} == lock ]]; then
        local at
        for ((at = 2; at < COMP_CWORD; at++)); do
            if [[ ${COMP_WORDS[at]} == -- ]]; then
                if declare -F _comp_command_offset >/dev/null; then
                    _comp_command_offset $((at + 1))
                elif declare -F _command_offset >/dev/null; then
                    _command_offset $((at + 1))
                elif ((COMP_CWORD == at + 1)); then
                    COMPREPLY=($(compgen -A command -- "${COMP_WORDS[COMP_CWORD]}"))
                fi
                return 0
            fi
        done
    fi
"#;

const ZSH: &str = r#"    local -i after=${words[(i)--]}
    if [[ $words[2] == (memo|lock) ]] && (( after < CURRENT )); then
        shift $after words
        (( CURRENT -= after ))
        _normal
        return
    fi
"#;

const FISH: &str = r#"
function __fish_kennel_is_at_command
    set -l words (commandline -opc)
    contains -- "$words[2]" memo lock; and contains -- -- $words[3..-1]
end

function __fish_kennel_complete_command
    set -l words (commandline -opc)
    set -l after (math (contains -i -- -- $words) + 1)
    complete -C (string join ' ' -- (string escape -- $words[$after..-1]) (commandline -ct))
end

complete -c kennel -n __fish_kennel_is_at_command -f -a '(__fish_kennel_complete_command)'
"#;
