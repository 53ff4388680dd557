//! Numbers in `OpenMetrics` text.

/// The sum of the samples of this name that carry all of these labels; `None` when there is none.
pub(crate) fn sum(text: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let mut sum = None;
    for line in text.lines() {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let (found, braces) = series.split_once('{').unwrap_or((series, ""));
        let carries = |(label, value): &(&str, &str)| {
            braces
                .trim_end_matches('}')
                .split(',')
                .any(|pair| pair == format!("{label}=\"{value}\""))
        };
        if let (true, true, Ok(value)) =
            (found == name, labels.iter().all(carries), value.parse::<f64>())
        {
            *sum.get_or_insert(0.0) += value;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# TYPE queue_gossip_datagrams counter
queue_gossip_datagrams_total{fate=\"sent\"} 7
queue_gossip_datagrams_total{fate=\"unopened\"} 3
queue_raft_term 5
queue_http_requests_total{method=\"GET\",route=\"/a\"} 2
queue_http_requests_total{method=\"POST\",route=\"/a\"} 4
# EOF
";

    #[test]
    fn samples_are_found_by_name_and_labels() {
        let at = |name, labels: &[_]| sum(TEXT, name, labels).map(|value| value.to_string());
        assert_eq!(at("queue_raft_term", &[]).as_deref(), Some("5"));
        let fate = [("fate", "unopened")];
        assert_eq!(at("queue_gossip_datagrams_total", &fate).as_deref(), Some("3"));
        assert_eq!(at("queue_gossip_datagrams_total", &[]).as_deref(), Some("10"));
        assert_eq!(at("queue_http_requests_total", &[("route", "/a")]).as_deref(), Some("6"));
        assert_eq!(at("queue_http_requests_total", &[("route", "/b")]), None);
        assert_eq!(at("queue_raft", &[]), None);
    }
}
