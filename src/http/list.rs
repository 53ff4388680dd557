//! `GET /work/list`.
//!
//! A look at the state is kept short, for `apply` waits for it, and a filter that fits few jobs may
//! need many looks for one page. Between them the state goes on. The page's place is a job's number
//! in the order of adding, which never changes: so no job comes twice, and none that was there and
//! fitted all the while is missed. A job that changes meanwhile shows as it is when it is reached.

use serde_json::value::{RawValue, to_raw_value};
use tokio::task::yield_now;

use super::{
    answer::{Answer, Failure},
    call::Call,
    command,
    present::look,
    read::consistency,
};
use crate::{
    node::{Consistency, View},
    queue::{Filter, JobNumber, Rev, State},
    wire::{Cursor, Freshness, ListQuery, ListResponse},
};

/// How many looks one page takes at the most: a million jobs.
const LOOKS_MAX: usize = 100;
/// The bytes of one page's items; a single job may have more.
const PAGE_BYTES: usize = 8 << 20;

pub(super) async fn list(call: Call) -> Result<Answer, Failure> {
    let query = ListQuery::parse(call.query.as_deref())?;
    let (freshness, after, limit) = (query.freshness, query.after, query.limit as usize);
    let mut page = Page { after: after.map(|Cursor(number)| number), ..Page::new(limit) };
    let rev = fill(&call, &mut page, &command::filter(query), freshness).await?;
    let next = page.after.filter(|_| !page.is_at_end).map(|number| Cursor(number).to_string());
    let body = ListResponse { items: page.items, next, rev };
    Ok(Answer::ok(&body).at(rev).seen(freshness))
}

/// Fills a page, look by look. Returns the revision of the first: all that was done by then is in it.
async fn fill(
    call: &Call,
    page: &mut Page,
    filter: &Filter,
    freshness: Freshness,
) -> Result<Rev, Failure> {
    let mut consistency = consistency(freshness);
    let mut first = None;
    for _ in 0..LOOKS_MAX {
        let (after, limit) = (page.after, page.room());
        let looked = |state: &State| look::listed(state, filter, after, limit);
        let View { value, rev } = call.site.handle.read(consistency, call.hold, looked).await?;
        // This replica never goes back, so later looks are at least as fresh as the first.
        consistency = Consistency::Stale;
        first.get_or_insert(rev);
        page.take(value);
        if page.is_over() {
            break;
        }
        yield_now().await;
    }
    Ok(first.expect("there is at least one look"))
}

/// What there is of a page so far.
struct Page {
    limit: usize,
    items: Vec<Box<RawValue>>,
    bytes: usize,
    /// Everything up to this number was looked at.
    after: Option<JobNumber>,
    is_full: bool,
    is_at_end: bool,
}

impl Page {
    fn new(limit: usize) -> Self {
        Self { limit, items: Vec::new(), bytes: 0, after: None, is_full: false, is_at_end: false }
    }

    fn room(&self) -> usize {
        self.limit - self.items.len()
    }

    fn is_over(&self) -> bool {
        self.is_full || self.is_at_end
    }

    /// Takes what a look saw, as far as there is room for its bytes.
    fn take(&mut self, (seen, next): (Vec<(JobNumber, look::Seen)>, Option<JobNumber>)) {
        for (number, seen) in seen {
            let item = to_raw_value(&look::job(seen)).expect("a job has string keys");
            let bytes = self.bytes + item.get().len();
            if bytes > PAGE_BYTES && !self.items.is_empty() {
                self.is_full = true;
                return;
            }
            (self.bytes, self.after) = (bytes, Some(number));
            self.items.push(item);
        }
        self.is_at_end = next.is_none();
        self.is_full = self.room() == 0;
        self.after = next.or(self.after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        queue::{Add, ClockMs, Command, Entry, JobId, Stamp, WallMs},
        wire::AddRequest,
    };

    /// A state with jobs that have these payloads.
    fn state(payloads: &[&str]) -> State {
        let jobs = payloads.iter().enumerate().map(|(number, payload)| {
            let body = format!(r#"{{"payload":"{payload}"}}"#);
            let request = AddRequest::parse(body.as_bytes()).unwrap();
            command::new_job(JobId::parse(&format!("j{number}")).unwrap(), request)
        });
        let add = Command::Add(Add { jobs: jobs.collect() });
        let stamp = Stamp { clock: ClockMs(1), wall: WallMs(1) };
        let mut state = State::default();
        state.apply(&Entry { stamp, commands: vec![add] });
        state
    }

    fn look(state: &State, page: &mut Page) {
        page.take(look::listed(state, &Filter::default(), page.after, page.room()));
    }

    #[test]
    fn a_page_is_full_at_its_limit_and_goes_on_from_there() {
        let state = state(&["a", "b", "c"]);
        let mut page = Page::new(2);
        look(&state, &mut page);
        assert!(page.is_full && !page.is_at_end);
        assert_eq!((page.items.len(), page.after), (2, Some(JobNumber(1))));
        let mut rest = Page { after: page.after, ..Page::new(2) };
        look(&state, &mut rest);
        assert!(rest.is_at_end && rest.items[0].get().contains(r#""work_id":"j2""#));
    }

    #[test]
    fn a_page_of_all_there_is_is_the_last() {
        let mut page = Page::new(3);
        look(&state(&["a", "b", "c"]), &mut page);
        assert!(page.is_full && page.is_at_end);
    }

    // Situation: nine jobs of a mebibyte each. Claim: a page ends before the one that would take it
    // over its bytes, and the next page begins with that one.
    #[test]
    fn a_page_ends_before_the_job_that_is_too_much() {
        let large = "x".repeat((1 << 20) - 2);
        let state = state(&[large.as_str(); 9]);
        let mut page = Page::new(9);
        look(&state, &mut page);
        assert!(page.is_full && !page.is_at_end);
        assert_eq!((page.items.len(), page.after), (7, Some(JobNumber(6))));
        let mut rest = Page { after: page.after, ..Page::new(9) };
        look(&state, &mut rest);
        assert_eq!(rest.items.len(), 2);
        assert!(rest.items[0].get().contains(r#""work_id":"j7""#));
    }
}
