//! What the calls about one queue have in common: which it is, and how their answer looks.

use clap::Args;

use super::report::{Cell, Report, Table, serde_name};
use crate::{client::Answer, queue::QueueName, wire::QueueOperated};

/// A queue.
#[derive(Debug, Args)]
pub(super) struct QueueArg {
    /// The queue.
    #[arg(value_name = "QUEUE", value_parser = QueueName::parse)]
    pub(super) queue: QueueName,
}

/// The answer of a call about a queue.
pub(super) fn report(answer: &Answer<QueueOperated>) -> Report {
    let QueueOperated { status, queue, count, duplicate, rev } = &answer.value;
    let done = serde_name(status);
    let mut pairs: Vec<(&'static str, Cell)> =
        vec![("queue", queue.into()), ("status", done.as_str().into())];
    pairs.extend(count.map(|count| ("cancelled", count.into())));
    if *duplicate {
        pairs.push(("duplicate", "yes: an earlier call had done it".into()));
    }
    pairs.push(("rev", rev.0.into()));
    Report {
        json: answer.body.clone(),
        items: None,
        plain: vec![count.map_or(done, |count| count.to_string())],
        table: Table::of_pairs(pairs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: &'static str) -> Answer<QueueOperated> {
        Answer { value: serde_json::from_str(body).unwrap(), body: body.into() }
    }

    #[test]
    fn plain_is_what_was_done_and_of_a_purge_how_many_it_cancelled() {
        let paused = report(&answer(r#"{"status":"paused","queue":"q","rev":7}"#));
        assert_eq!(paused.plain, ["paused"]);
        let purged = report(&answer(r#"{"status":"purged","queue":"q","count":12,"rev":7}"#));
        assert_eq!(purged.plain, ["12"]);
        let rows = format!("{:?}", purged.table.rows);
        assert!(rows.contains("cancelled") && rows.contains("purged"), "{rows}");
    }
}
