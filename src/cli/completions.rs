//! `queue completions`: what a shell completes after `queue`.

use clap::{Args, CommandFactory as _};
use clap_complete::{Shell, generate};
use serde_json::json;

use super::{
    Exit, Failure,
    args::Cli,
    report::print,
    session::{Session, cannot_print},
};

const EXAMPLES: &str = "\
Examples:
  queue completions bash >~/.local/share/bash-completion/completions/queue
  queue completions zsh >~/.zfunc/_queue          # with `fpath+=~/.zfunc` before `compinit`
  queue completions fish >~/.config/fish/completions/queue.fish";

/// Print what a shell needs to complete the words after `queue`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CompletionsArgs {
    /// For which shell.
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl CompletionsArgs {
    pub(super) fn run(&self, session: &Session) -> Result<Exit, Failure> {
        let script = script(self.shell);
        let text = if session.look.is_json() {
            json!({"shell": self.shell.to_string(), "script": script}).to_string() + "\n"
        } else {
            script
        };
        print(&text).map_err(|error| cannot_print(&error))?;
        Ok(Exit::OK)
    }
}

fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "queue", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn every_shells_script_knows_every_verb_and_a_flag() {
        for shell in Shell::value_variants() {
            let script = script(*shell);
            let verbs = Cli::command();
            for verb in verbs.get_subcommands().map(clap::Command::get_name) {
                assert!(script.contains(verb), "{shell}: {verb}");
            }
            assert!(script.contains("max-attempts"), "{shell}");
        }
    }
}
