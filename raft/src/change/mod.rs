//! Changes of the voters, one at a time, by whoever leads.
//!
//! ```text
//!  add      meet it ──▶ learner ──▶ caught up? ──▶ joint ──▶ voter
//!  replace  meet it ──▶ learner ──▶ caught up? ──▶ joint ──▶ voter ──▶ the old one is out
//!  remove   (a leader hands over first)           ──▶ joint ──▶ learner ──▶ out
//! ```
//! Every step looks at the configuration as it is and does what is missing, so that a change which
//! was interrupted goes on where it stands when it is asked for again, of any leader. A joint
//! configuration that an earlier leader left is finished by the next one without being asked
//! (`finish_interrupted`): it needs two quorums for every write. A replaced voter that it left as a
//! learner costs next to nothing, and goes when the replacement is asked for again.
//!
//! A voter that is removed is a learner for a moment: so it learns that it has no vote, and never
//! stands for election again. One that was not reachable then is held back by the pre-vote.
//!
//! What is refused is refused before anything is appended: a change that would leave fewer voters
//! than a quorum within hearing could not be committed, and would block all that comes after it.

mod error;
mod progress;
mod step;

pub use error::ChangeError;
pub(crate) use progress::Changes;
pub use progress::{Change, ChangePhase, ChangeProgress, ChangeState, Changed};
pub(crate) use step::{Changer, finish_interrupted};
