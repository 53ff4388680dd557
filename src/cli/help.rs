//! The page that `queue --help` prints: the verbs in groups, so that each is found where it is looked for.

use clap::{
    Subcommand as _,
    builder::{StyledStr, Styles},
};

use super::args::Command;

/// Every verb, once.
const GROUPS: &[(&str, &[&str])] = &[
    ("Start here", &["serve", "run"]),
    ("Jobs", &["add", "get", "list", "cancel", "retry"]),
    ("Workers", &["claim", "heartbeat", "complete", "fail", "release"]),
    (
        "Running it",
        &[
            "status",
            "leader",
            "queues",
            "set-queue",
            "delete-queue",
            "pause",
            "resume",
            "purge",
            "workers",
            "drain",
            "undrain",
            "completions",
        ],
    ),
];

/// The template of the page.
pub(super) fn template() -> StyledStr {
    let verbs = Command::augment_subcommands(clap::Command::new("queue"));
    let header = *Styles::default().get_header();
    let groups = GROUPS.iter().map(|(title, names)| {
        let lines: String = names.iter().map(|name| line(&verbs, name)).collect();
        format!("\n{header}{title}:{header:#}\n{lines}")
    });
    let groups: String = groups.collect();
    let text = "{about-with-newline}\n{usage-heading} {usage}\n".to_owned();
    (text + &groups + "\n{options}{after-help}").into()
}

fn line(verbs: &clap::Command, name: &str) -> String {
    let about = verbs.find_subcommand(name).and_then(clap::Command::get_about);
    let about = about.map(StyledStr::to_string).unwrap_or_default();
    format!("  {name:<12}  {about}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_is_in_one_group() {
        let verbs = Command::augment_subcommands(clap::Command::new("queue"));
        let mut expected: Vec<&str> =
            verbs.get_subcommands().map(clap::Command::get_name).collect();
        let mut grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| *names).copied().collect();
        expected.sort_unstable();
        grouped.sort_unstable();
        assert_eq!(grouped, expected, "src/cli/help.rs names every verb");
    }
}
