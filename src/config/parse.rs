//! From a setting's text to its value. Every error is a fragment that follows the key.

use std::{
    fmt::Display,
    net::{Ipv6Addr, SocketAddr},
    ops::RangeInclusive,
    str::FromStr,
    time::Duration,
};

use clap::ValueEnum;
use jiff::SignedDuration;

/// A duration for people: `30s`, `1h 5m`, `250ms`. A bare number has no unit and is refused.
///
/// # Errors
/// A sentence fragment that quotes the text.
pub fn duration(text: &str) -> Result<Duration, String> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("`{text}` has no unit: write `{text}s` or `{text}ms`"));
    }
    text.trim()
        .parse::<SignedDuration>()
        .ok()
        .and_then(|signed| Duration::try_from(signed).ok())
        .ok_or_else(|| format!("`{text}` is not a duration such as `30s` or `1h 5m`"))
}

/// A whole number of milliseconds, or a duration for people.
pub(super) fn milliseconds(text: &str, range: RangeInclusive<u64>) -> Result<u64, String> {
    let is_bare = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_bare {
        return within(text, range);
    }
    let value = u64::try_from(duration(text)?.as_millis()).unwrap_or(u64::MAX);
    in_range(value, text, range)
}

/// A number within a range.
pub(super) fn within<T>(text: &str, range: RangeInclusive<T>) -> Result<T, String>
where
    T: FromStr + PartialOrd + Display,
{
    let value = text.parse().map_err(|_| {
        format!("`{text}` is not a whole number from {} to {}", range.start(), range.end())
    })?;
    in_range(value, text, range)
}

fn in_range<T: PartialOrd + Display>(
    value: T,
    text: &str,
    range: RangeInclusive<T>,
) -> Result<T, String> {
    if range.contains(&value) {
        Ok(value)
    } else {
        Err(format!("`{text}` is out of range: {} to {}", range.start(), range.end()))
    }
}

/// `true` or `false`, as people write them.
pub(super) fn truth(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err(format!("`{text}` is neither `true` nor `false`")),
    }
}

/// Any text.
#[expect(clippy::unnecessary_wraps, reason = "it stands where the others do, which can fail")]
pub(super) fn text(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

/// One of a few words, in any case of letters.
pub(super) fn word<T: ValueEnum>(text: &str) -> Result<T, String> {
    T::from_str(text, true).map_err(|_| {
        let words: Vec<String> = T::value_variants().iter().map(spelling).collect();
        format!("`{text}` is none of {}", words.join(", "))
    })
}

/// How a word is written.
pub(super) fn spelling<T: ValueEnum>(word: &T) -> String {
    word.to_possible_value().map_or_else(String::new, |word| word.get_name().to_owned())
}

/// An address to listen on: `127.0.0.1:8770`, `[::1]:8770`, `localhost:8770`, or a bare port of
/// 127.0.0.1.
pub(super) fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let spelled = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None if text.parse::<u16>().is_ok() => format!("127.0.0.1:{text}"),
        None => text.to_owned(),
    };
    let address: SocketAddr = spelled
        .parse()
        .map_err(|_| format!("`{text}` is not an address such as `127.0.0.1:8770`"))?;
    if address.port() == 0 {
        return Err(format!("`{text}`: a port is 1 to 65535"));
    }
    Ok(address)
}

/// An address to dial: `host:port`, the host a name or a number.
pub(super) fn dial_address(text: &str) -> Result<String, String> {
    let is_good = text.rsplit_once(':').is_some_and(|(host, port)| {
        is_host(host) && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    if is_good { Ok(text.to_owned()) } else { Err(format!("`{text}` is not `host:port`")) }
}

/// A name, an IPv4 address, or an IPv6 address in brackets.
fn is_host(text: &str) -> bool {
    if let Some(address) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !text.is_empty() && text.bytes().all(is_plain)
}

/// The base URL of a server: `http://host:port`, `http://host` (port 80), or `host:port` alone.
pub(super) fn base_url(text: &str) -> Result<String, String> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    match scheme {
        "http" if authority.contains('/') => {
            Err(format!("`{text}` has a path: only `http://host:port` is meant"))
        }
        "http" if text.contains("://") && is_host(authority) => Ok(format!("http://{authority}")),
        "http" => dial_address(authority).map(|authority| format!("http://{authority}")),
        "https" => Err(format!("`{text}`: this version speaks http only")),
        _ => Err(format!("`{text}` is not `http://host:port`")),
    }
}

/// The items of a comma-separated list, trimmed; empty ones are passed over.
pub(super) fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// A node's name: 1–128 of `A-Z a-z 0-9 . _ -`, and no name of a folder's relative.
pub(super) fn node_id(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let is_good =
        (1..=128).contains(&text.len()) && text.bytes().all(is_plain) && !text.starts_with('.');
    if is_good {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is not 1 to 128 characters of A-Z a-z 0-9 . _ - (no dot in front)"))
    }
}
