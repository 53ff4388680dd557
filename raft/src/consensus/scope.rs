//! Tasks. In simulation each carries the seed from which openraft draws its random choices; a task
//! of ours that calls openraft must carry one, too.

use std::future::Future;

use tokio::task::JoinHandle;

/// Starts a task on the caller's runtime.
pub(crate) fn spawn<F>(task: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(in_scope(task))
}

/// Hands a seed drawn from the present task's to `task`. Without simulation, `task` as it is.
#[cfg(not(feature = "simulation"))]
pub(crate) fn in_scope<F: Future>(task: F) -> F {
    task
}

/// Hands a seed drawn from the present task's to `task`.
#[cfg(feature = "simulation")]
pub(crate) fn in_scope<F: Future>(task: F) -> impl Future<Output = F::Output> {
    use openraft_rt::AsyncRuntime;
    use rand::Rng;

    seeded(super::types::Runtime::thread_rng().next_u64(), task)
}

/// Gives `task` the seed of a whole replica. Without simulation, `task` as it is.
#[cfg(not(feature = "simulation"))]
pub(crate) fn seeded<F: Future>(_seed: u64, task: F) -> F {
    task
}

/// Gives `task` the seed of a whole replica.
#[cfg(feature = "simulation")]
pub(crate) fn seeded<F: Future>(seed: u64, task: F) -> impl Future<Output = F::Output> {
    super::types::Runtime::scope(seed, task)
}
