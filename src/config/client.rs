//! What the commands that talk to a server are configured with.

use std::time::Duration;

use super::{Fault, Faults, Raw, Surroundings, parse};

/// How an answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// The HTTP answer.
    Json,
    /// One JSON object a line, for lists.
    Jsonl,
    /// The bare essentials, for scripts.
    Plain,
}

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The client's configuration, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientConfig {
    /// The servers' base URLs, at least one, in the order in which they are tried.
    pub addresses: Vec<String>,
    /// Whether somebody named them.
    pub is_addressed: bool,
    /// How to print; `None`: by what stdout is.
    pub format: Option<Format>,
    /// When to colour.
    pub color: Color,
    /// How long one call may take, apart from the waiting that it asks for.
    pub timeout: Duration,
}

impl ClientConfig {
    /// Checks everything once.
    ///
    /// # Errors
    /// Every fault there is.
    pub fn resolve(raw: &Raw, surroundings: &Surroundings) -> Result<Self, Faults> {
        let mut faults = vec![];
        let addresses = take(raw, &mut faults, "addr", addresses);
        let format = take(raw, &mut faults, "output", parse::word);
        let color = take(raw, &mut faults, "color", parse::word);
        let timeout = take(raw, &mut faults, "timeout", timeout);
        if !faults.is_empty() {
            return Err(Faults(faults));
        }
        let no_color = surroundings.variable("NO_COLOR").map(|_| Color::Never);
        Ok(Self {
            is_addressed: addresses.is_some(),
            addresses: addresses.unwrap_or_else(|| vec!["http://127.0.0.1:8770".into()]),
            format,
            color: color.filter(|color| *color != Color::Auto).or(no_color).unwrap_or(Color::Auto),
            timeout: timeout.unwrap_or(Duration::from_secs(10)),
        })
    }
}

fn take<T>(
    raw: &Raw,
    faults: &mut Vec<Fault>,
    key: &str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Option<T> {
    let given = raw.values.get(key)?;
    let parsed = parse(&given.value);
    parsed
        .map_err(|reason| {
            faults.push(Fault { key: key.into(), reason, origin: Some(given.origin.clone()) });
        })
        .ok()
}

fn timeout(text: &str) -> Result<Duration, String> {
    let range = Duration::from_millis(1)..=Duration::from_hours(24);
    let value = parse::duration(text)?;
    if range.contains(&value) { Ok(value) } else { Err(format!("`{text}` is not 1ms to 24h")) }
}

fn addresses(text: &str) -> Result<Vec<String>, String> {
    let addresses = parse::list(text).map(parse::base_url).collect::<Result<Vec<_>, _>>()?;
    if addresses.is_empty() { Err("names no server".into()) } else { Ok(addresses) }
}

#[cfg(test)]
mod tests {
    use super::{super::*, *};

    fn resolve(flags: &[Flag], variables: &[(&str, &str)]) -> Result<ClientConfig, Faults> {
        let variables = variables.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let surroundings = Surroundings { variables, host_name: None };
        let raw = Raw::layered(Side::Client, flags, ConfigFile::default(), &surroundings);
        ClientConfig::resolve(&raw, &surroundings)
    }

    /// api 4.addr.list
    #[test]
    fn addresses_are_a_list_and_a_bare_host_is_http() {
        let config = resolve(&[("addr", "n1:1, http://n2:2/".into())], &[]).unwrap();
        assert_eq!(config.addresses, ["http://n1:1", "http://n2:2"]);
        for (given, complaint) in [
            ("", "names no server"),
            ("https://a:1", "speaks http only"),
            ("http://a:1/work", "has a path"),
            ("ftp://a", "is not `http"),
            ("n1", "is not `host:port`"),
            ("http://a b:1", "is not `host:port`"),
        ] {
            let fault = resolve(&[("addr", given.into())], &[]).unwrap_err().to_string();
            assert!(fault.starts_with("addr: ") && fault.contains(complaint), "{fault}");
        }
    }

    #[test]
    fn no_color_counts_until_a_colour_is_asked_for() {
        let of = |flags: &[Flag], variables: &[_]| resolve(flags, variables).unwrap().color;
        assert_eq!(of(&[], &[]), Color::Auto);
        assert_eq!(of(&[], &[("NO_COLOR", "1")]), Color::Never);
        assert_eq!(of(&[("color", "always".into())], &[("NO_COLOR", "1")]), Color::Always);
        assert_eq!(of(&[("color", "auto".into())], &[("NO_COLOR", "1")]), Color::Never);
    }

    #[test]
    fn a_timeout_needs_a_unit_and_its_origin_is_named() {
        let fault = resolve(&[], &[("QUEUE_TIMEOUT", "30")]).unwrap_err().to_string();
        assert_eq!(fault, "timeout: `30` has no unit: write `30s` or `30ms` (from QUEUE_TIMEOUT)");
        assert_eq!(
            resolve(&[("timeout", "250ms".into())], &[]).unwrap().timeout,
            Duration::from_millis(250)
        );
    }
}
