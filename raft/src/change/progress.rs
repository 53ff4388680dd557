//! What a change is, and how far it is.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::ChangeError;
use crate::LogIndex;

/// A change of the voters. Appended to, never reordered: it is sent between nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// One more voter: the node of this label at this address, whose directory is fresh or already of
    /// this cluster.
    Add {
        /// Its label.
        label: String,
        /// Where it listens: `host:port`.
        address: String,
    },
    /// One voter less. A node of this label that has no vote, and still replicates, is let go, too.
    Remove {
        /// Its label.
        label: String,
    },
    /// A fresh directory takes the place of a voter that is not heard of.
    Replace {
        /// The label of both.
        label: String,
        /// Where the new one listens; `None`: where the old one did.
        address: Option<String>,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add { label, address } => write!(formatter, "add {label} at {address}"),
            Self::Remove { label } => write!(formatter, "remove {label}"),
            Self::Replace { label, .. } => write!(formatter, "replace {label}"),
        }
    }
}

/// Where a change is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ChangePhase {
    /// It looks at the configuration and asks the newcomer who it is.
    #[default]
    Checking,
    /// The newcomer replicates, and is behind.
    CatchingUp,
    /// The new configuration is being committed.
    Committing,
}

/// How far a change is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ChangeProgress {
    /// Where it is.
    pub phase: ChangePhase,
    /// The last index that the newcomer is known to share with the leader; 0 before there is one.
    pub matched: LogIndex,
    /// The index that it has to reach; 0 while none is known.
    pub target: LogIndex,
}

/// A change that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// Whether it had been made before: then nothing was done.
    pub is_duplicate: bool,
}

/// What became of a change so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChangeState {
    /// It is being made.
    Underway(ChangeProgress),
    /// It is over.
    Ended(Result<Changed, ChangeError>),
}

/// The change that is being made here, if one is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Changes(Arc<Mutex<Option<Running>>>);

#[derive(Debug)]
struct Running {
    change: Change,
    state: watch::Receiver<ChangeState>,
}

/// Lets go of the place when the change is over, however its task ends.
#[derive(Debug)]
pub(crate) struct Place {
    changes: Changes,
    state: watch::Sender<ChangeState>,
}

impl Changes {
    /// Takes the one place for `change`, or follows the same change that has it.
    ///
    /// # Errors
    /// [`ChangeError::InProgress`] when another change has it.
    pub(crate) fn begin(
        &self,
        change: &Change,
    ) -> Result<(Option<Place>, watch::Receiver<ChangeState>), ChangeError> {
        let mut running = self.running();
        match &*running {
            Some(other) if other.change == *change => Ok((None, other.state.clone())),
            Some(other) => Err(ChangeError::InProgress { change: other.change.to_string() }),
            None => {
                let (state, follower) =
                    watch::channel(ChangeState::Underway(ChangeProgress::default()));
                *running = Some(Running { change: change.clone(), state: follower.clone() });
                Ok((Some(Place { changes: self.clone(), state }), follower))
            }
        }
    }

    /// Whether a change is being made here.
    pub(crate) fn is_busy(&self) -> bool {
        self.running().is_some()
    }

    fn running(&self) -> std::sync::MutexGuard<'_, Option<Running>> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

impl Place {
    pub(crate) fn report(&self, progress: ChangeProgress) {
        self.state.send_replace(ChangeState::Underway(progress));
    }

    /// Ends the change. The place is free before anybody hears of it.
    pub(crate) fn end(self, ended: Result<Changed, ChangeError>) {
        *self.changes.running() = None;
        self.state.send_replace(ChangeState::Ended(ended));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let is_over = matches!(*self.state.borrow(), ChangeState::Ended(_));
        if !is_over {
            *self.changes.running() = None;
            self.state.send_replace(ChangeState::Ended(Err(ChangeError::Unknown)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_change_has_the_place_and_the_same_one_follows_it() {
        let changes = Changes::default();
        let add = Change::Add { label: "n4".into(), address: "h:1".into() };
        let remove = Change::Remove { label: "n1".into() };
        let (place, _state) = changes.begin(&add).unwrap();
        assert!(changes.begin(&add).unwrap().0.is_none());
        let refused = changes.begin(&remove).unwrap_err();
        assert_eq!(refused, ChangeError::InProgress { change: "add n4 at h:1".into() });
        place.unwrap().end(Ok(Changed { is_duplicate: false }));
        assert!(changes.begin(&remove).unwrap().0.is_some());
    }

    #[test]
    fn a_change_whose_task_ends_early_is_unknown_and_leaves_its_place() {
        let changes = Changes::default();
        let (place, state) = changes.begin(&Change::Remove { label: "n1".into() }).unwrap();
        drop(place);
        assert_eq!(*state.borrow(), ChangeState::Ended(Err(ChangeError::Unknown)));
        assert!(!changes.is_busy());
    }
}
