//! What the holder of a job does with it, and how anyone calls it off.

use super::{
    Answer, AttemptEnd, Beat, BeatStatus, Beaten, Cancel, Change, Complete, Delay, Fail, Heartbeat,
    Holding, JobNumber, JobState, Once, Rejection, Release, Retry, State, backoff,
    idempotency::{Call, Verb},
    job::{EndState, Ended, Job, Phase},
    state::Kept,
};

impl State {
    pub(super) fn start(
        &mut self,
        holding: &Holding,
        changes: &mut Vec<Change>,
    ) -> Result<Answer, Rejection> {
        let number = match self.judge(holding, Verb::Start)? {
            Call::Due(number) => number,
            Call::Repeated(answer) => return Ok(answer),
        };
        let job = self.job_numbered(number);
        let (state, has_started) =
            (job.state(), job.attempts.last().is_some_and(|attempt| attempt.has_started));
        if has_started {
            return Ok(Answer::Started(Once::Duplicate));
        }
        if state == JobState::Claimed {
            self.transition(number, changes, start_running);
        }
        self.adjust(number, |job| {
            if let Some(attempt) = job.attempts.last_mut() {
                attempt.has_started = true;
            }
        });
        Ok(Answer::Started(Once::First))
    }

    pub(super) fn heartbeat(&mut self, heartbeat: &Heartbeat, changes: &mut Vec<Change>) -> Answer {
        let beaten = |beat: &Beat| Beaten {
            job: beat.holding.job.clone(),
            token: beat.holding.token,
            status: self.beat(beat, changes),
        };
        let items: Vec<Beaten> = heartbeat.items.iter().map(beaten).collect();
        let drain = self.note_heartbeat(heartbeat, &items);
        Answer::Heartbeat { items, drain }
    }

    fn beat(&mut self, beat: &Beat, changes: &mut Vec<Change>) -> BeatStatus {
        let Holding { job: id, token } = &beat.holding;
        let number = match self.find(id) {
            Some(Kept::Job(job)) if job.lease_under(*token).is_some() => job.number,
            _ if self.ended_as(&beat.holding) == Some(AttemptEnd::Cancelled) => {
                return BeatStatus::CancelRequested;
            }
            _ => return BeatStatus::Lost,
        };
        if self.job_numbered(number).state() == JobState::Claimed {
            self.transition(number, changes, start_running);
        }
        let clock = self.clock;
        let mut lease_expires_in_ms = 0;
        self.adjust(number, |job| {
            if let Phase::Leased(lease) = &mut job.phase {
                lease.extend(clock, beat.lease_ms);
                lease_expires_in_ms = lease.remaining_ms(clock);
            }
            if beat.progress.is_some() {
                job.report_mut().progress.clone_from(&beat.progress);
            }
        });
        BeatStatus::Extended { lease_expires_in_ms }
    }

    pub(super) fn complete(
        &mut self,
        complete: &Complete,
        changes: &mut Vec<Change>,
    ) -> Result<Answer, Rejection> {
        let number = match self.judge(&complete.holding, Verb::Complete)? {
            Call::Due(number) => number,
            Call::Repeated(answer) => return Ok(answer),
        };
        let checked = self.check(&complete.then)?;
        let ended = Ended::plainly(AttemptEnd::Completed, self.wall);
        let phase = self.ending(EndState::Completed);
        self.transition(number, changes, |job| {
            job.end_attempt(ended);
            job.phase = phase;
            if complete.result.is_some() {
                job.report_mut().result.clone_from(&complete.result);
            }
        });
        // Not held to any bound (docs/api.md, Queues): a finished job must be able to say so.
        let then = self.enqueue(checked, changes);
        if !then.is_empty() {
            let token = complete.holding.token;
            self.job_mut(number).report_mut().then.insert(token, then.clone());
        }
        Ok(Answer::Completed { once: Once::First, then })
    }

    pub(super) fn fail(
        &mut self,
        fail: &Fail,
        changes: &mut Vec<Change>,
    ) -> Result<Answer, Rejection> {
        let number = match self.judge(&fail.holding, Verb::Fail)? {
            Call::Due(number) => number,
            Call::Repeated(answer) => return Ok(answer),
        };
        let wait_ms = wait_after(self.job_numbered(number), fail.retry);
        let run_at = wait_ms.map(|wait_ms| self.wall.after(wait_ms));
        let phase = match wait_ms {
            Some(wait_ms) => self.phase_after(Delay::For(wait_ms)),
            None => self.ending(EndState::Failed),
        };
        let at = self.wall;
        self.transition(number, changes, |job| {
            let error = fail.error.clone();
            job.end_attempt(Ended { how: AttemptEnd::Failed, at, error, run_at });
            job.phase = phase;
        });
        Ok(match run_at {
            Some(run_at) => Answer::Retrying { once: Once::First, run_at },
            None => Answer::Failed(Once::First),
        })
    }

    pub(super) fn release(
        &mut self,
        release: &Release,
        changes: &mut Vec<Change>,
    ) -> Result<Answer, Rejection> {
        let number = match self.judge(&release.holding, Verb::Release)? {
            Call::Due(number) => number,
            Call::Repeated(answer) => return Ok(answer),
        };
        let ended = Ended::plainly(AttemptEnd::Released, self.wall);
        let phase = self.phase_after(Delay::For(release.delay_ms));
        self.transition(number, changes, |job| {
            job.end_attempt(ended);
            job.attempts_used -= 1;
            job.phase = phase;
        });
        Ok(Answer::Released(Once::First))
    }

    pub(super) fn cancel(
        &mut self,
        cancel: &Cancel,
        changes: &mut Vec<Change>,
    ) -> Result<Answer, Rejection> {
        let (state, number) = match self.find(&cancel.job) {
            None => return Err(Rejection::JobNotFound { job: cancel.job.clone() }),
            Some(Kept::Job(job)) => (job.state(), Some(job.number)),
            Some(buried @ Kept::Tombstone(_)) => (buried.state(), None),
        };
        match number {
            _ if state == JobState::Cancelled => Ok(Answer::Cancelled(Once::Duplicate)),
            Some(number) if !state.is_terminal() => {
                self.call_off(number, changes);
                Ok(Answer::Cancelled(Once::First))
            }
            _ => Err(Rejection::WrongState { job: cancel.job.clone(), state }),
        }
    }

    fn call_off(&mut self, number: JobNumber, changes: &mut Vec<Change>) {
        let ended = Ended::plainly(AttemptEnd::Cancelled, self.wall);
        let phase = self.ending(EndState::Cancelled);
        self.transition(number, changes, |job| {
            if job.lease().is_some() {
                job.end_attempt(ended);
            }
            job.phase = phase;
        });
    }
}

fn start_running(job: &mut Job) {
    if let Phase::Leased(lease) = &mut job.phase {
        lease.is_running = true;
    }
}

/// How long a failed job waits for its next attempt, ms; `None`: it has none.
fn wait_after(job: &Job, retry: Retry) -> Option<u64> {
    if !job.has_attempts_left() {
        return None;
    }
    match retry {
        Retry::Never => None,
        Retry::After(ms) => Some(ms),
        Retry::Backoff => Some(backoff::wait_ms(&job.backoff, &job.id, job.attempts_used)),
    }
}
