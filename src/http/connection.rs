//! What goes on on one connection, and since when: the deadlines that hyper does not keep.
//!
//! hyper's own header timer also runs while a kept-alive connection is idle, its protocol detection
//! has none at all, and it never bounds a write. So each connection carries one [`Activity`], which
//! the stream and the requests report to, and one watchdog that cuts the connection when overdue.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{Limits, delivery::Grants};

/// Which deadline a connection has missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    /// A request's head did not come in time.
    Header,
    /// No request came for long.
    Idle,
    /// A write made no progress.
    Write,
    /// An answer was not taken at the least rate.
    Answer,
}

/// One connection's doings, shared by its stream, its requests and its watchdog.
#[derive(Debug)]
pub(super) struct Activity {
    header_timeout: Duration,
    idle_timeout: Duration,
    write_timeout: Duration,
    answer_bytes_per_second_min: u32,
    now: Mutex<Doing>,
}

#[derive(Debug)]
struct Doing {
    /// Requests whose answers are not written yet.
    in_flight: usize,
    /// By when each answer among them must be written, and its number. A client can refuse answers
    /// without blocking a single write, by its HTTP/2 windows, so writes tell nothing of this.
    answers: BTreeSet<(Instant, u64)>,
    next_answer: u64,
    /// The one among them, over HTTP/1, of which hyper has copied every piece that was ready, and the kernel
    /// does not have all yet.
    copied: Option<(Instant, u64)>,
    /// How much of those pieces the kernel does not have yet, bytes; 0 over HTTP/2. What frames the pieces is
    /// written and not counted, so it may be a little less than the truth.
    unwritten: u64,
    /// Whether bytes of a next request's head may have come; true on a fresh connection.
    is_receiving: bool,
    /// Frames come between an HTTP/2 connection's requests, so they say nothing about a head.
    is_http2: bool,
    /// When the present wait for a request, or for the rest of its head, began.
    since: Instant,
    /// Since when a write has made no progress.
    write_blocked: Option<Instant>,
    /// Grants whose answers hyper has taken and the kernel has not.
    unflushed: Vec<Grants>,
}

impl Activity {
    pub(super) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            header_timeout: limits.header_timeout,
            idle_timeout: limits.idle_timeout,
            write_timeout: limits.write_timeout,
            answer_bytes_per_second_min: limits.answer_bytes_per_second_min,
            now: Mutex::new(Doing {
                in_flight: 0,
                answers: BTreeSet::new(),
                next_answer: 0,
                copied: None,
                unwritten: 0,
                is_receiving: true,
                is_http2: false,
                since: Instant::now(),
                write_blocked: None,
                unflushed: Vec::new(),
            }),
        })
    }

    fn doing(&self) -> MutexGuard<'_, Doing> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes came from the client.
    pub(super) fn on_read(&self) {
        let mut doing = self.doing();
        if doing.in_flight == 0 && !doing.is_receiving && !doing.is_http2 {
            doing.is_receiving = true;
            doing.since = Instant::now();
        }
    }

    /// A write could not go on.
    pub(super) fn on_write_blocked(&self) {
        self.doing().write_blocked.get_or_insert_with(Instant::now);
    }

    /// A write made progress: so many bytes more are with the kernel.
    pub(super) fn on_write_progress(&self, bytes: u64) {
        let mut doing = self.doing();
        doing.write_blocked = None;
        doing.unwritten = doing.unwritten.saturating_sub(bytes);
    }

    /// Everything written so far is with the kernel.
    pub(super) fn on_flushed(&self) {
        let mut doing = self.doing();
        let delivered = std::mem::take(&mut doing.unflushed);
        if let Some(answer) = doing.copied.take() {
            doing.answers.remove(&answer);
        }
        doing.unwritten = 0;
        drop(doing);
        delivered.into_iter().for_each(Grants::delivered);
    }

    /// hyper has taken the answer that carries these grants.
    pub(super) fn on_answer_taken(&self, grants: Grants) {
        self.doing().unflushed.push(grants);
    }

    /// A request's head has come; its time is over when the guard is dropped.
    pub(super) fn begin(self: &Arc<Self>, version: hyper::Version) -> InFlight {
        let mut doing = self.doing();
        doing.in_flight += 1;
        doing.is_http2 = version == hyper::Version::HTTP_2;
        drop(doing);
        InFlight { activity: Arc::clone(self), due: Mutex::default() }
    }

    /// Waits until the connection has missed a deadline.
    pub(super) async fn overdue(&self) -> Overdue {
        // A phase that begins after a look ends no earlier than the shortest timeout after it, so
        // looking that often finds every deadline on time.
        let shortest = self.header_timeout.min(self.write_timeout).min(self.idle_timeout);
        loop {
            let now = Instant::now();
            let next_look = match self.deadline() {
                Some((deadline, overdue)) if deadline <= now => return overdue,
                Some((deadline, _)) => deadline.min(now + shortest),
                None => now + shortest,
            };
            tokio::time::sleep_until(next_look).await;
        }
    }

    /// Waits until the connection can be told to close: at once over HTTP/2, which says so in a frame and
    /// answers what was sent before it was read. Over HTTP/1 a client may just be sending its next request,
    /// so there it must have been quiet for `farewell`.
    pub(super) async fn may_close(&self, farewell: Duration) {
        loop {
            let (in_flight, since) = {
                let doing = self.doing();
                if doing.is_http2 {
                    return;
                }
                (doing.in_flight, doing.since)
            };
            let now = Instant::now();
            let next_look = match in_flight {
                // Its answer closes it, unless the head of that has been written already.
                1.. => now + farewell.max(Duration::from_millis(1)),
                0 if since + farewell <= now => return,
                0 => since + farewell,
            };
            tokio::time::sleep_until(next_look).await;
        }
    }

    /// How long so many bytes take at the least rate.
    fn time_for(&self, bytes: u64) -> Duration {
        let rate = u64::from(self.answer_bytes_per_second_min.max(1));
        Duration::from_millis(bytes.saturating_mul(1000).div_ceil(rate))
    }

    fn deadline(&self) -> Option<(Instant, Overdue)> {
        let doing = self.doing();
        let write = doing.write_blocked.map(|since| (since + self.write_timeout, Overdue::Write));
        let read = match (doing.in_flight, doing.is_receiving && !doing.is_http2) {
            (1.., _) => None,
            (0, true) => Some((doing.since + self.header_timeout, Overdue::Header)),
            (0, false) => Some((doing.since + self.idle_timeout, Overdue::Idle)),
        };
        let answer = doing.answers.first().map(|(deadline, _)| (*deadline, Overdue::Answer));
        [write, read, answer].into_iter().flatten().min_by_key(|(deadline, _)| *deadline)
    }
}

/// A request in flight, from its head to the last of its answer that is written.
#[derive(Debug)]
pub(super) struct InFlight {
    activity: Arc<Activity>,
    due: Mutex<Due>,
}

/// What of an answer the client has yet to take.
#[derive(Debug, Default)]
struct Due {
    /// Its entry in [`Doing::answers`].
    answer: Option<(Instant, u64)>,
    /// The pieces of a stream that hyper is not done with.
    pieces: usize,
}

impl InFlight {
    /// Its answer, of so many bytes, is ready: from now on it is the client's to take it in time.
    pub(super) fn answered(self, bytes: u64) -> Self {
        self.falls_due(&mut self.due(), bytes);
        self
    }

    /// Another piece of its answer, of so many bytes, is ready, and is to be taken in time from now on.
    /// [`InFlight::taken`] follows.
    ///
    /// Over HTTP/2 whatever came before it was taken. Over HTTP/1 hyper asks for the next piece while it
    /// still has some of the last ones, so a piece alone is no sign that the client takes anything.
    pub(super) fn goes_on(&self, bytes: u64) {
        let mut due = self.due();
        due.pieces += 1;
        self.falls_due(&mut due, bytes);
        let mut doing = self.activity.doing();
        if !doing.is_http2 {
            doing.unwritten += bytes;
        }
    }

    /// hyper is done with a piece. When it was the last one that was ready, nothing is due of the client, and
    /// the stream may be silent for as long as it likes: over HTTP/2 at once, and over HTTP/1, where hyper
    /// copies a piece to be done with it, when the copy is with the kernel.
    pub(super) fn taken(&self) {
        let mut due = self.due();
        due.pieces -= 1;
        let Some(answer) = due.answer.filter(|_| due.pieces == 0) else { return };
        let mut doing = self.activity.doing();
        if doing.is_http2 {
            doing.answers.remove(&answer);
        } else {
            doing.copied = Some(answer);
        }
    }

    fn due(&self) -> MutexGuard<'_, Due> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn falls_due(&self, due: &mut Due, bytes: u64) {
        let mut doing = self.activity.doing();
        let allowed = self.activity.write_timeout + self.activity.time_for(doing.unwritten + bytes);
        let mut deadline = Instant::now() + allowed;
        // A client that is behind gets time for the new bytes, and none again for those that it has not taken.
        if let Some((before, _)) = doing.copied.take() {
            deadline = deadline.min(before + self.activity.time_for(bytes));
        }
        let answer = (deadline, doing.next_answer);
        doing.next_answer += 1;
        doing.answers.insert(answer);
        if let Some(before) = due.answer.replace(answer) {
            doing.answers.remove(&before);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut doing = self.activity.doing();
        let due = self.due.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = &due.answer {
            doing.answers.remove(answer);
            if doing.copied == Some(*answer) {
                doing.copied = None;
            }
        }
        doing.in_flight -= 1;
        if doing.in_flight == 0 {
            doing.is_receiving = false;
            doing.since = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn activity() -> Arc<Activity> {
        Activity::new(&Limits::default())
    }

    async fn seconds_until_overdue(activity: &Activity) -> (u64, Overdue) {
        let start = Instant::now();
        let overdue = activity.overdue().await;
        (start.elapsed().as_secs(), overdue)
    }

    #[tokio::test(start_paused = true)]
    async fn a_fresh_connection_has_five_seconds_to_say_something() {
        assert_eq!(seconds_until_overdue(&activity()).await, (5, Overdue::Header));
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_that_trickle_in_do_not_extend_the_heads_deadline() {
        let activity = activity();
        drop(activity.begin(hyper::Version::HTTP_11));
        activity.on_read();
        tokio::time::advance(Duration::from_secs(4)).await;
        activity.on_read();
        assert_eq!(seconds_until_overdue(&activity).await, (1, Overdue::Header));
    }

    #[tokio::test(start_paused = true)]
    async fn a_kept_connection_may_be_idle_for_two_minutes() {
        let activity = activity();
        drop(activity.begin(hyper::Version::HTTP_11));
        assert_eq!(seconds_until_overdue(&activity).await, (120, Overdue::Idle));
    }

    #[tokio::test(start_paused = true)]
    async fn pings_do_not_make_an_idle_http2_connection_live_for_ever() {
        let activity = activity();
        drop(activity.begin(hyper::Version::HTTP_2));
        activity.on_read();
        assert_eq!(seconds_until_overdue(&activity).await, (120, Overdue::Idle));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_in_flight_has_only_the_write_deadline() {
        let activity = activity();
        let _in_flight = activity.begin(hyper::Version::HTTP_11);
        tokio::time::advance(Duration::from_hours(1)).await;
        activity.on_write_blocked();
        assert_eq!(seconds_until_overdue(&activity).await, (10, Overdue::Write));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_takes_ends_the_connection_whatever_else_is_written() {
        let activity = activity();
        let _held = activity.begin(hyper::Version::HTTP_2).answered(16 << 10);
        tokio::time::advance(Duration::from_secs(9)).await;
        activity.on_read();
        activity.on_write_progress(1);
        drop(activity.begin(hyper::Version::HTTP_2).answered(0));
        assert_eq!(seconds_until_overdue(&activity).await, (2, Overdue::Answer));
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_answer_may_take_as_long_as_its_pieces_are_taken() {
        let activity = activity();
        let stream = activity.begin(hyper::Version::HTTP_11).answered(0);
        for _ in 0..100 {
            stream.goes_on(16 << 10);
            stream.taken();
            tokio::time::advance(Duration::from_secs(9)).await;
            activity.on_flushed();
        }
        stream.goes_on(16 << 10);
        assert_eq!(seconds_until_overdue(&activity).await, (11, Overdue::Answer));
    }

    // Situation: a server says goodbye. Claim: a connection over HTTP/1 is closed once it has been quiet for long
    // enough, never with a request in flight; one over HTTP/2 at once.
    #[tokio::test(start_paused = true)]
    async fn a_connection_is_closed_between_two_requests_only() {
        let (activity, farewell) = (activity(), Duration::from_millis(500));
        let waited = async |activity: &Activity| {
            let before = Instant::now();
            activity.may_close(farewell).await;
            before.elapsed().as_millis()
        };
        assert_eq!(waited(&activity).await, 500, "a fresh one may just be sending its first");
        assert_eq!(waited(&activity).await, 0);
        let in_flight = activity.begin(hyper::Version::HTTP_11);
        let still = tokio::time::timeout(Duration::from_mins(1), activity.may_close(farewell));
        assert!(still.await.is_err());
        drop(in_flight);
        assert_eq!(waited(&activity).await, 500);
        let _in_flight = activity.begin(hyper::Version::HTTP_2);
        assert_eq!(waited(&activity).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_whose_pieces_are_all_written_may_be_silent() {
        let activity = activity();
        let stream = activity.begin(hyper::Version::HTTP_11).answered(0);
        stream.goes_on(1);
        stream.goes_on(1);
        stream.taken();
        activity.on_flushed();
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(activity.deadline().is_some(), "one is not");
        stream.taken();
        assert!(activity.deadline().is_some(), "it is with hyper, and not with the kernel");
        activity.on_flushed();
        assert_eq!(activity.deadline(), None);
    }

    /// Has a stream over HTTP/1 go on for at most 100 s, in which hyper, as it does, copies a piece of 64 KiB
    /// whenever it has less than as much, and the client takes as many bytes each second. Returns when it was cut.
    async fn seconds_until_cut(taken_each_second: u64) -> Option<u64> {
        const PIECE_BYTES: u64 = 64 << 10;
        let activity = activity();
        let stream = activity.begin(hyper::Version::HTTP_11).answered(0);
        let mut held = 0;
        for second in 0..100 {
            while held < PIECE_BYTES {
                stream.goes_on(PIECE_BYTES);
                stream.taken();
                held += PIECE_BYTES;
            }
            activity.on_write_blocked();
            tokio::time::advance(Duration::from_secs(1)).await;
            if activity.deadline().is_some_and(|(deadline, _)| deadline <= Instant::now()) {
                return Some(second);
            }
            activity.on_write_progress(taken_each_second);
            held -= taken_each_second;
        }
        None
    }

    // Situation: clients of a long stream that take a little all the time, so that no write is blocked for long
    // and hyper is never without some of what it has copied. Claim: the least rate is what tells them apart.
    #[tokio::test(start_paused = true)]
    async fn a_stream_that_is_taken_more_slowly_than_the_least_rate_is_cut() {
        assert_eq!(seconds_until_cut(17 << 10).await, None);
        assert!(seconds_until_cut(1 << 10).await.is_some_and(|second| second < 20));
        assert!(seconds_until_cut(12 << 10).await.is_some());
    }

    // Situation: a stream is taken fast for long, and then slowly. Claim: what was taken fast is no credit.
    #[tokio::test(start_paused = true)]
    async fn a_client_that_was_fast_may_be_no_slower_later() {
        let activity = activity();
        let stream = activity.begin(hyper::Version::HTTP_11).answered(0);
        for _ in 0..10_000 {
            stream.goes_on(64 << 10);
            stream.taken();
            activity.on_write_progress((64 << 10) - 1);
        }
        activity.on_write_blocked();
        activity.on_write_progress(1);
        // Ten seconds, and one each for 16 KiB of at most what hyper holds.
        assert!(seconds_until_overdue(&activity).await.0 <= 10 + 4);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_was_taken_counts_no_more() {
        let activity = activity();
        drop(activity.begin(hyper::Version::HTTP_2).answered(8 << 20));
        assert_eq!(seconds_until_overdue(&activity).await, (120, Overdue::Idle));
    }
}
