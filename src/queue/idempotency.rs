//! Calls that come twice: they answer as they did, and change nothing.
//!
//! A holder's call is known by its token, a claim by its worker and request id; both are looked up
//! in the attempts of the jobs, so what is remembered is bounded by the jobs.

use super::{
    Added, Answer, AttemptEnd, Claim, Claimed, Holding, Job, JobNumber, Once, Rejection, State,
    Token, Tombstone, WallMs, chain, dispatch, job::Attempt, state::Kept,
};

/// A call of a job's holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Start,
    Complete,
    Fail,
    Release,
}

/// What is to be done about a call of the holder.
pub(super) enum Call {
    /// The job is held under the token: carry it out.
    Due(JobNumber),
    /// It was carried out before: answer this.
    Repeated(Answer),
}

/// An ended attempt, of a job or of a tombstone.
struct Spent {
    ended_as: AttemptEnd,
    has_started: bool,
    run_at: Option<WallMs>,
}

impl State {
    /// Whether a call under a token is new, a repeat, or neither.
    pub(super) fn judge(&self, holding: &Holding, verb: Verb) -> Result<Call, Rejection> {
        let Holding { job: id, token } = holding;
        match self.find(id) {
            None => Err(Rejection::JobNotFound { job: id.clone() }),
            Some(Kept::Job(job)) if job.lease_under(*token).is_some() => Ok(Call::Due(job.number)),
            Some(Kept::Job(job)) => {
                let spent = job.attempt_under(*token).and_then(Spent::of_attempt);
                let then = || job.report.as_ref()?.then.get(token).map(Vec::as_slice);
                let repeated = spent
                    .as_ref()
                    .and_then(|spent| spent.answer(verb, || then().unwrap_or_default()));
                repeated.map(Call::Repeated).ok_or_else(|| stale(&job, spent))
            }
            Some(Kept::Tombstone(tombstone)) => {
                let spent = Spent::of_tombstone(tombstone, *token);
                let repeated = spent.as_ref().and_then(|spent| spent.answer(verb, || &[]));
                repeated.map(Call::Repeated).ok_or_else(|| stale_for_good(tombstone, spent))
            }
        }
    }

    /// How the attempt under a token ended, as far as that is remembered.
    pub(super) fn ended_as(&self, holding: &Holding) -> Option<AttemptEnd> {
        let spent = match self.find(&holding.job)? {
            Kept::Job(job) => job.attempt_under(holding.token).and_then(Spent::of_attempt),
            Kept::Tombstone(tombstone) => Spent::of_tombstone(tombstone, holding.token),
        };
        spent.map(|spent| spent.ended_as)
    }

    /// What a claim was granted before under its request id; `None` when it is new.
    pub(super) fn repeat_of(&self, claim: &Claim) -> Result<Option<Vec<Claimed>>, Rejection> {
        let mut repeated = Vec::new();
        let mut arguments = None; // hashed only when there is something to compare with
        for (token, number) in self.indexes.grants_to(claim) {
            let job = self.current(self.job_numbered(number));
            let Some(attempt) = job.attempt_under(token).filter(|it| it.answered(claim)) else {
                continue;
            };
            if attempt.arguments != *arguments.get_or_insert_with(|| chain::claim_hash(claim)) {
                return Err(Rejection::RequestIdConflict);
            }
            repeated.push(self.as_it_stands(&job, token));
        }
        Ok((!repeated.is_empty()).then_some(repeated))
    }

    fn as_it_stands(&self, job: &Job, token: Token) -> Claimed {
        match job.lease_under(token) {
            Some(lease) => Claimed::Granted(dispatch::grant_of(job, lease, self.clock)),
            None => Claimed::Lost { job: job.id.clone(), token, state: job.state() },
        }
    }
}

impl Attempt {
    /// Whether it was this claim that was granted it.
    fn answered(&self, claim: &Claim) -> bool {
        self.worker == claim.worker && self.request_id == claim.request_id
    }
}

impl Spent {
    fn of_attempt(attempt: &Attempt) -> Option<Self> {
        let ended = attempt.ended.as_ref()?;
        Some(Self { ended_as: ended.how, has_started: attempt.has_started, run_at: ended.run_at })
    }

    fn of_tombstone(tombstone: &Tombstone, token: Token) -> Option<Self> {
        let last = tombstone.attempt_under(token)?;
        Some(Self { ended_as: last.ended_as, has_started: last.has_started, run_at: last.run_at })
    }

    /// What the verb answered under this token; `None` when it never succeeded under it.
    fn answer<'then>(&self, verb: Verb, then: impl FnOnce() -> &'then [Added]) -> Option<Answer> {
        let once = Once::Duplicate;
        match (verb, self.ended_as) {
            (Verb::Start, _) if self.has_started => Some(Answer::Started(once)),
            (Verb::Complete, AttemptEnd::Completed) => {
                Some(Answer::Completed { once, then: then().to_vec() })
            }
            (Verb::Fail, AttemptEnd::Failed) => Some(match self.run_at {
                Some(run_at) => Answer::Retrying { once, run_at },
                None => Answer::Failed(once),
            }),
            (Verb::Release, AttemptEnd::Released) => Some(Answer::Released(once)),
            _ => None,
        }
    }
}

fn stale(job: &Job, spent: Option<Spent>) -> Rejection {
    Rejection::StaleToken {
        job: job.id.clone(),
        current_token: job.lease().map(|lease| lease.token),
        holder: job.holder().cloned(),
        state: job.state(),
        ended_as: spent.map(|spent| spent.ended_as),
    }
}

fn stale_for_good(tombstone: &Tombstone, spent: Option<Spent>) -> Rejection {
    Rejection::StaleToken {
        job: tombstone.id.clone(),
        current_token: None,
        holder: None,
        state: tombstone.state(),
        ended_as: spent.map(|spent| spent.ended_as),
    }
}
