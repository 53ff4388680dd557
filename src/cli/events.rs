//! `queue events`: what happens, a line each.

use clap::Args;

use super::{
    Exit, Failure,
    report::{Reader, complain, print_to_reader, serde_name},
    session::{Session, cannot_print},
};
use crate::{
    client::{EventsRequest, Told},
    config::Format,
    queue::{JobId, QueueName},
    wire::{Event, EventType},
};

const NOTES: &str = "\
Examples:
  queue events --types leader_elected,host_*    who leads, who is there
  queue events --queue mail --types job_failed -o jsonl

Each node tells what it sees itself. When it goes away, or hangs and --addr names another, the next
of --addr is asked, and a line on stderr says so; what nobody can tell any more is an event `gap`.";

/// Show what happens, as it happens: changes of leader, members, jobs.
#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub(super) struct EventsArgs {
    /// Only these, comma-separated; `job_*` stands for all that begin so.
    #[arg(long, value_name = "TYPE,…", value_delimiter = ',')]
    types: Vec<String>,
    /// Of jobs, only those of these queues, comma-separated.
    #[arg(long = "queue", value_name = "QUEUE,…", value_delimiter = ',', value_parser = QueueName::parse)]
    queues: Vec<QueueName>,
    /// Go on after the event of this id.
    #[arg(long, value_name = "ID")]
    after: Option<String>,
    /// End after so many.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

impl EventsArgs {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let Self { types, queues, after, limit } = self;
        let mut events = session.client.events(EventsRequest { types, queues, after });
        let mut has_lost = false;
        let mut shown = 0;
        loop {
            match events.next().await? {
                Told::Listening { address } if has_lost => {
                    complain(&format!("note: listening to {address} now\n"));
                }
                Told::Listening { .. } => {}
                Told::Lost { address, reason } => {
                    complain(&format!("note: {address} is gone: {reason}\n"));
                    has_lost = true;
                }
                Told::Event { event, json } => {
                    let line = line(session.look.format, &event, json);
                    let reader = print_to_reader(&line).map_err(|error| cannot_print(&error))?;
                    shown += 1;
                    if reader == Reader::Gone || limit.is_some_and(|limit| shown >= limit) {
                        return Ok(Exit::OK);
                    }
                }
            }
        }
    }
}

fn line(format: Format, event: &Event, json: String) -> String {
    let (at, name) = (time(event.at_ms), type_name(event, &json));
    let (subject, details) = (subject(event), details(event).join(" "));
    let line = match format {
        Format::Json | Format::Jsonl => json,
        Format::Plain => format!("{at} {name} {subject} {details}"),
        Format::Table => format!(" {at}  {name:<17}  {subject:<26}  {details}"),
    };
    format!("{}\n", line.trim_end())
}

/// The name of its type, also of one that only a newer server knows.
fn type_name(event: &Event, json: &str) -> String {
    if event.event_type != EventType::Other {
        return event.event_type.as_str().to_owned();
    }
    let fields: serde_json::Value = serde_json::from_str(json).unwrap_or_default();
    fields["type"].as_str().unwrap_or("-").to_owned()
}

/// UTC, to the millisecond.
fn time(at_ms: u64) -> String {
    let at = i64::try_from(at_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    at.map_or_else(|| at_ms.to_string(), |at| format!("{at:.3}"))
}

/// The job, member or leader that it is about.
fn subject(event: &Event) -> &str {
    let job = event.work_id.as_ref().map(JobId::as_str);
    let member = event.node_id.as_deref().filter(|_| job.is_none());
    job.or(member).or(event.leader_id.as_deref()).unwrap_or("-")
}

fn details(event: &Event) -> Vec<String> {
    let worker = event.node_id.as_ref().filter(|_| event.work_id.is_some());
    let number = |name: &str, value: Option<u64>| value.map(|value| format!("{name}={value}"));
    let text = |name: &str, value: Option<&str>| value.map(|value| format!("{name}={value}"));
    let details = [
        text("queue", event.queue.as_ref().map(QueueName::as_str)),
        text("state", event.state.as_ref().map(serde_name).as_deref()),
        number("attempt", event.attempt.map(u64::from)),
        text("worker", worker.map(String::as_str)),
        number("token", event.token.map(|token| token.0)),
        text("end", event.end.as_ref().map(serde_name).as_deref()),
        text("kind", event.kind.as_ref().map(serde_name).as_deref()),
        number("incarnation", event.incarnation),
        number("term", event.term),
        text("cause", event.cause.as_deref()),
        number("gap_ms", event.gap_ms),
        text("reason", event.reason.as_deref()),
        number("missed", event.missed),
        number("rev", event.rev.map(|rev| rev.0)),
    ];
    details.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(format: Format, json: &str) -> String {
        line(format, &serde_json::from_str(json).unwrap(), json.to_owned())
    }

    #[test]
    fn an_event_is_one_line_in_every_format() {
        let json = r#"{"id":"a-1","type":"job_claimed","at_ms":1700000000123,"work_id":"j","queue":"q",
            "state":"claimed","rev":9,"attempt":2,"token":9,"node_id":"w1"}"#;
        let json = json.replace("\n            ", "");
        let plain = "2023-11-14T22:13:20.123Z job_claimed j queue=q state=claimed attempt=2 worker=w1 \
                     token=9 rev=9\n";
        assert_eq!(shown(Format::Plain, &json), plain);
        assert_eq!(shown(Format::Jsonl, &json), format!("{json}\n"));
        assert_eq!(shown(Format::Json, &json), format!("{json}\n"));
        let table = shown(Format::Table, &json);
        assert!(table.starts_with(" 2023-11-14T22:13:20.123Z  job_claimed        j  "), "{table}");
    }

    #[test]
    fn a_member_a_leader_and_a_gap_are_shown_with_what_is_known_of_them() {
        for (json, line) in [
            (
                r#"{"id":"a-1","type":"host_suspect","at_ms":0,"node_id":"n2","kind":"voter","incarnation":5}"#,
                "1970-01-01T00:00:00.000Z host_suspect n2 kind=voter incarnation=5\n",
            ),
            (
                r#"{"id":"a-1","type":"leader_elected","at_ms":0,"leader_id":"n1","term":4,"gap_ms":17,"cause":"crash"}"#,
                "1970-01-01T00:00:00.000Z leader_elected n1 term=4 cause=crash gap_ms=17\n",
            ),
            (
                r#"{"id":"a-1","type":"gap","at_ms":0,"reason":"too_slow","missed":3,"rev":8}"#,
                "1970-01-01T00:00:00.000Z gap - reason=too_slow missed=3 rev=8\n",
            ),
            (
                r#"{"id":"a-1","type":"moon_rose","at_ms":0}"#,
                "1970-01-01T00:00:00.000Z moon_rose -\n",
            ),
        ] {
            assert_eq!(shown(Format::Plain, json), line);
        }
    }
}
