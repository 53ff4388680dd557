//! What happens: `GET /events`.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    ApiError, MemberKind,
    fields::Fields,
    query::{self, Kinds},
};
use crate::queue::{AttemptEnd, JobId, JobState, QueueName, Rev, Token, WorkType};

const KINDS: Kinds = Kinds { lists: &["types", "queue"], repeated: &[], numbers: &[] };

macro_rules! types {
    ($($(#[doc = $doc:literal])* $name:ident $text:literal;)*) => {
        /// What can happen.
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
        )]
        pub enum EventType {
            $($(#[doc = $doc])* #[serde(rename = $text)] $name,)*
            /// Something that only a newer server knows.
            #[serde(other)]
            #[schemars(skip)]
            Other,
        }

        impl EventType {
            /// Every type that a server of this version tells of.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Its name.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* Self::Other => "other" }
            }
        }
    };
}

types! {
    /// There is another leader.
    LeaderElected "leader_elected";
    /// A member of gossip has come, has come back, or answers again.
    HostOnline "host_online";
    /// A member does not answer, and has a while to say that it is alive.
    HostSuspect "host_suspect";
    /// A member did not, or it has left.
    HostOffline "host_offline";
    /// A job was added.
    JobAdded "job_added";
    /// A job is no longer blocked, and waits for its time.
    JobScheduled "job_scheduled";
    /// A job's time has come, or the last of its dependencies has ended: it may be claimed.
    JobPending "job_pending";
    /// A job was leased to a worker.
    JobClaimed "job_claimed";
    /// Its worker has said that it runs it.
    JobStarted "job_started";
    /// A job is completed.
    JobCompleted "job_completed";
    /// An attempt failed; another one follows.
    JobRetrying "job_retrying";
    /// The worker gave the job back.
    JobReleased "job_released";
    /// A lease ran out; another attempt follows.
    JobLeaseExpired "job_lease_expired";
    /// The worker's session ended; another attempt follows.
    JobWorkerDown "job_worker_down";
    /// A job is a dead letter.
    JobFailed "job_failed";
    /// A job was called off, alone or by a purge.
    JobCancelled "job_cancelled";
    /// A job was not claimed in time.
    JobExpired "job_expired";
    /// A finished job was put back.
    JobRetried "job_retried";
    /// Events were missed.
    Gap "gap";
}

/// The query of `GET /events`.
#[derive(Debug, Clone, PartialEq, Eq, Default, JsonSchema)]
pub struct EventsQuery {
    /// Of these types; a name that ends in `*` stands for all that begin so. All, when none is named; a
    /// gap is told in any case. Comma-separated or repeated.
    #[schemars(with = "Vec<String>")]
    pub types: BTreeSet<EventType>,
    /// Of what happens to jobs, only in these queues; in any, when none is named. Comma-separated or
    /// repeated. Leaders and members are in no queue and are told all the same, unless `types` leaves
    /// them out.
    #[schemars(rename = "queue")]
    pub queues: BTreeSet<QueueName>,
    /// Go on after the event of this id; the header `Last-Event-ID` beats it.
    pub after: Option<String>,
}

impl EventsQuery {
    /// Reads the query.
    pub fn parse(query: Option<&str>) -> Result<Self, ApiError> {
        let parameters = query::parameters(query.unwrap_or_default(), KINDS)?;
        let mut fields = Fields::of_parameters(&parameters)?;
        let patterns: Vec<String> =
            fields.value("types", "names of types, such as \"job_*\"")?.unwrap_or_default();
        let read = Self {
            types: types(&patterns)?,
            queues: fields.names("queue", QueueName::parse)?.into_iter().collect(),
            after: fields.value("after", "the id of an event")?,
        };
        fields.finish().map(|()| read)
    }

    /// Whether this was asked for.
    pub fn wants(&self, event_type: EventType, queue: Option<&QueueName>) -> bool {
        let is_type = self.types.is_empty() || self.types.contains(&event_type);
        let is_queue = self.queues.is_empty() || queue.is_none_or(|it| self.queues.contains(it));
        event_type == EventType::Gap || (is_type && is_queue)
    }
}

/// The types that these patterns stand for.
fn types(patterns: &[String]) -> Result<BTreeSet<EventType>, ApiError> {
    let mut types = BTreeSet::new();
    for pattern in patterns {
        let fits = |event_type: &&EventType| match pattern.strip_suffix('*') {
            Some(beginning) => event_type.as_str().starts_with(beginning),
            None => event_type.as_str() == pattern,
        };
        let fitting: Vec<_> = EventType::ALL.iter().filter(fits).collect();
        types.extend(fitting.iter().copied());
        if fitting.is_empty() {
            let known: Vec<_> = EventType::ALL.iter().map(|known| known.as_str()).collect();
            let reason = format!("has `{pattern}`, which is none of {}", known.join(", "));
            return Err(ApiError::invalid("types", reason));
        }
    }
    Ok(types)
}

/// One event, the `data` of a server-sent event. What it is not about is absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// The id of the server-sent event: hand it back as `Last-Event-ID` or `after` to go on. It means
    /// something to the node that gave it, until that is started again.
    pub id: String,
    /// What happened.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// When, ms since the Unix epoch: of a job's event by the clock of the leader that proposed it, of any
    /// other by that of the node that answers.
    pub at_ms: u64,
    /// `job_*`: the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work_id: Option<JobId>,
    /// `job_*`: its queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueName>,
    /// `job_*`: its kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work_type: Option<WorkType>,
    /// `job_*`: its state since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<JobState>,
    /// `job_*`: the revision that it made; `gap`: what the node had applied as it said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rev: Option<Rev>,
    /// `job_*`, when it is about an attempt: which, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// The attempt's token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Token>,
    /// How the attempt ended, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<AttemptEnd>,
    /// `host_*`: the member, a node or an agent; `job_*`: the attempt's worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_id: Option<String>,
    /// `host_*`: what it is, as `/peers` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<MemberKind>,
    /// `host_*`: which life of it this is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<u64>,
    /// `leader_elected`: who leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader_id: Option<String>,
    /// `leader_elected`: the Raft term.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term: Option<u64>,
    /// `leader_elected`: from the last sign of the leader before to the first of this one, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap_ms: Option<u64>,
    /// `leader_elected`: why, as in `GET /election/status`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// `gap`: why: `other_run`, `too_old`, `too_slow`, `snapshot`, `overrun`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// `gap`: the id of the last event before it; those up to the gap's own id are missing. Absent when
    /// the node has missed them itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// `gap`: how many are missing, whatever they were; absent when nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<u64>,
}

impl Event {
    /// An event about which nothing else is known.
    pub fn new(id: String, event_type: EventType, at_ms: u64) -> Self {
        Self {
            id,
            event_type,
            at_ms,
            work_id: None,
            queue: None,
            work_type: None,
            state: None,
            rev: None,
            attempt: None,
            token: None,
            end: None,
            node_id: None,
            kind: None,
            incarnation: None,
            leader_id: None,
            term: None,
            gap_ms: None,
            cause: None,
            reason: None,
            after: None,
            missed: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<EventsQuery, ApiError> {
        EventsQuery::parse(Some(query))
    }

    #[test]
    fn a_star_stands_for_all_that_begin_so() {
        let read = parse("types=host_*,leader_elected&types=job_expired").unwrap();
        let names: Vec<_> = read.types.iter().map(|event_type| event_type.as_str()).collect();
        let expected =
            ["leader_elected", "host_online", "host_suspect", "host_offline", "job_expired"];
        assert_eq!(names, expected);
        assert_eq!(parse("types=*").unwrap().types.len(), EventType::ALL.len());
        assert_eq!(EventsQuery::parse(None).unwrap(), EventsQuery::default());
    }

    #[test]
    fn what_is_not_known_is_named() {
        for (query, field) in [
            ("types=job_lost", "types"),
            ("types=x*", "types"),
            ("types=other", "types"),
            ("queue=a%20b", "queue"),
            ("limit=1", "limit"),
        ] {
            assert_eq!(parse(query).unwrap_err().details["field"], field, "{query}");
        }
        let error = parse("types=job_lost").unwrap_err().error;
        assert!(error.contains("job_lost") && error.contains("job_added"), "{error}");
    }

    #[test]
    fn a_queue_is_a_filter_of_jobs_and_a_gap_passes_every_filter() {
        let [mail, other] = ["mail", "other"].map(|name| QueueName::parse(name).unwrap());
        let query = parse("queue=mail,more").unwrap();
        assert!(query.wants(EventType::JobAdded, Some(&mail)));
        assert!(!query.wants(EventType::JobAdded, Some(&other)));
        assert!(query.wants(EventType::HostOnline, None));
        let query = parse("queue=mail&types=job_added").unwrap();
        assert!(!query.wants(EventType::HostOnline, None));
        assert!(!query.wants(EventType::JobFailed, Some(&mail)));
        assert!(query.wants(EventType::Gap, None));
    }

    #[test]
    fn a_type_is_on_the_wire_what_its_name_is_and_a_newer_one_is_read() {
        for event_type in EventType::ALL {
            assert_eq!(serde_json::to_value(event_type).unwrap(), event_type.as_str());
        }
        let newer = r#"{"id": "x", "type": "job_moved", "at_ms": 1, "to": "q"}"#;
        let read: Event = serde_json::from_str(newer).unwrap();
        assert_eq!(read.event_type, EventType::Other);
    }

    #[test]
    fn an_event_has_what_it_is_about_and_nothing_else() {
        let event = Event { missed: Some(3), ..Event::new("a-1".into(), EventType::Gap, 7) };
        let json = serde_json::to_string(&event).unwrap();
        assert_eq!(json, r#"{"id":"a-1","type":"gap","at_ms":7,"missed":3}"#);
    }
}
