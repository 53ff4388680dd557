//! How long something took: by the wall clock, and of the processor.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// By the wall clock; and of this thread's processor time, which leaves out the moments when the
/// machine ran somebody else.
pub(crate) type Took = [Duration; 2];

/// Does something, and says how long it took.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, Took) {
    let (started, used) = (Instant::now(), processor_time());
    let done = work();
    (done, [started.elapsed(), processor_time().saturating_sub(used)])
}

/// What this thread has used of the processor so far.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let whole = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or_default());
    whole + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or_default())
}
