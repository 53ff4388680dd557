//! Durations as people write them.

use jiff::{Span, SpanRelativeTo};

/// Reads `"30s"`, `"1h 5m"`, `"1.5s"` or `"PT30S"` as milliseconds; a fraction of one is cut off. A day
/// has 24 hours. `None` when it is no duration, or a negative one.
pub fn parse_duration_ms(text: &str) -> Option<u64> {
    let span: Span = text.trim().parse().ok()?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    u64::try_from(duration.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// api 1.time.strings
    #[test]
    fn durations_are_read_as_people_write_them() {
        let cases = [
            ("30s", Some(30_000)),
            ("1h 5m", Some(3_900_000)),
            ("250ms", Some(250)),
            ("1.5s", Some(1500)),
            ("1d", Some(86_400_000)),
            ("PT30S", Some(30_000)),
            ("-1s", None),
            ("30", None),
            ("soon", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_duration_ms(text), expected, "{text}");
        }
    }
}
