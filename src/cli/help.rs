//! The page that `queue --help` prints: the verbs in groups, so that each is found where it is looked for.

use clap::{
    Subcommand as _,
    builder::{StyledStr, Styles},
};

use super::args::Command;

/// Every verb, in one of them.
const GROUPS: &[(&str, &[&str])] = &[
    ("Start here", &["serve", "run", "worker", "completions"]),
    ("Jobs", &["add", "get", "list", "history", "cancel", "retry"]),
    ("What a worker calls", &["claim", "heartbeat", "complete", "fail", "release"]),
    ("Queues", &["queues", "set-queue", "delete-queue", "pause", "resume", "purge"]),
    ("Workers", &["workers", "drain", "undrain"]),
    (
        "The cluster",
        &[
            "status",
            "leader",
            "transfer",
            "members",
            "events",
            "add-voter",
            "remove-voter",
            "replace-voter",
            "keygen",
            "backup",
        ],
    ),
];

/// The template of the page.
pub(super) fn template() -> StyledStr {
    let verbs = Command::augment_subcommands(clap::Command::new("queue"));
    let header = *Styles::default().get_header();
    let groups = GROUPS.iter().map(|(title, names)| {
        let lines: String = names.iter().filter_map(|name| line(&verbs, name)).collect();
        format!("\n{header}{title}:{header:#}\n{lines}")
    });
    let groups: String = groups.collect();
    let text = "{about-with-newline}\n{usage-heading} {usage}\n".to_owned();
    (text + &groups + "\n{options}{after-help}").into()
}

fn line(verbs: &clap::Command, name: &str) -> Option<String> {
    let about = verbs.find_subcommand(name)?.get_about()?;
    Some(format!("  {name:<12}  {about}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_is_in_one_group() {
        let verbs = Command::augment_subcommands(clap::Command::new("queue"));
        for verb in verbs.get_subcommands().map(clap::Command::get_name) {
            let groups = GROUPS.iter().filter(|(_, names)| names.contains(&verb)).count();
            assert_eq!(groups, 1, "src/cli/help.rs has a place for `{verb}`");
        }
    }
}
