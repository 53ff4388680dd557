//! Which jobs to list, as the path of a request.

use crate::queue::{JobState, QueueName, WorkType};

/// A page of `GET /work/list`: the jobs that agree with everything named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListRequest {
    /// In this queue.
    pub queue: Option<QueueName>,
    /// In one of these states; none: in any.
    pub states: Vec<JobState>,
    /// Of this kind.
    pub work_type: Option<WorkType>,
    /// With all of these tags and values.
    pub tags: Vec<(String, String)>,
    /// How many at the most, 1–1000.
    pub limit: u32,
    /// The `next` of the page before, as it came; `None`: from the first job on.
    pub after: Option<String>,
}

impl ListRequest {
    pub(super) fn path(&self) -> String {
        let mut path = format!("/work/list?limit={}", self.limit);
        let mut add = |name: &str, value: &str| {
            path.extend(["&", name, "="]);
            path.extend(value.bytes().map(encoded));
        };
        if let Some(queue) = &self.queue {
            add("queue", queue.as_str());
        }
        for state in &self.states {
            add("state", state.as_str());
        }
        if let Some(work_type) = &self.work_type {
            add("work_type", work_type.as_str());
        }
        for (key, value) in &self.tags {
            add("tag", &format!("{key}:{value}"));
        }
        if let Some(after) = &self.after {
            add("after", after);
        }
        path
    }
}

/// RFC 3986 §2.3: the unreserved stand for themselves, any other byte for its percent-encoding.
pub(super) fn encoded(byte: u8) -> String {
    match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ListQuery;

    #[test]
    fn a_server_reads_what_was_asked_for() {
        let request = ListRequest {
            queue: QueueName::parse("mail").ok(),
            states: vec![JobState::Pending, JobState::Failed],
            work_type: WorkType::parse("send").ok(),
            tags: vec![("a".into(), "b, &=%é:c".into()), ("d".into(), String::new())],
            limit: 7,
            after: Some("c1-1f".into()),
        };
        let path = request.path();
        let query = path.strip_prefix("/work/list?").unwrap();
        let read = ListQuery::parse(Some(query)).unwrap();
        assert_eq!((read.queue, read.work_type), (request.queue, request.work_type));
        assert_eq!((read.states, read.tags), (request.states, request.tags));
        assert_eq!((read.limit, read.after.unwrap().to_string()), (7, "c1-1f".to_owned()));
    }
}
