//! Where lifelines run: on a thread of their own, so that no load on Raft delays a sign of life.

use std::{future::Future, io, sync::Mutex, thread};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
    task::JoinHandle,
};

use crate::consensus::{self, blocking::Blocking, in_scope};

/// Where lifelines run.
#[derive(Debug)]
pub(super) enum Home {
    /// On a runtime of one thread.
    Thread { runtime: Handle, stop: Mutex<Option<Stop>> },
    /// On the caller's runtime (simulation).
    Inline,
}

/// Ends the thread of a [`Home`].
#[derive(Debug)]
pub(super) struct Stop {
    /// Dropped, it ends the thread.
    _running: oneshot::Sender<()>,
    /// Ends when the thread has closed all that ran on it.
    ended: oneshot::Receiver<()>,
}

impl Home {
    /// A thread where this disk has threads, else nothing.
    ///
    /// # Errors
    /// When the operating system gives none.
    pub(super) fn of(blocking: Blocking) -> io::Result<Self> {
        if blocking == Blocking::Inline {
            return Ok(Self::Inline);
        }
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (running, stops) = oneshot::channel::<()>();
        let (closed, ended) = oneshot::channel::<()>();
        thread::Builder::new().name("raft-lifeline".to_owned()).spawn(move || {
            let _ = runtime.block_on(stops);
            drop(runtime);
            drop(closed);
        })?;
        let stop = Mutex::new(Some(Stop { _running: running, ended }));
        Ok(Self::Thread { runtime: handle, stop })
    }

    /// Starts a task there.
    pub(super) fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        match self {
            Self::Thread { runtime, .. } => runtime.spawn(in_scope(task)),
            Self::Inline => consensus::spawn(task),
        }
    }

    /// Ends the thread, if there is one, and all that runs on it.
    pub(super) async fn stop(&self) {
        let Self::Thread { stop, .. } = self else { return };
        let Some(stop) = stop.lock().expect("held for this only").take() else { return };
        let Stop { _running: running, ended } = stop;
        drop(running);
        // It is dropped, never sent.
        let _ = ended.await;
    }
}
