//! One lifeline, at the end that listens: it answers, and nothing else.

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::{
    StateMachine, codec,
    consensus::in_scope,
    lifeline::{
        Lifelines,
        message::{Answer, Pong, Question},
        suspicion::EXCHANGE,
    },
    transport::frame::{self, Frame, FrameError, FrameReader, FrameWriter, Kind, WRITE_BYTES},
};

/// Questions in hand at a time on one line; nobody asks as many.
const QUESTIONS_MAX: usize = 16;

impl<S: StateMachine> Lifelines<S> {
    /// Answers on one connection until it ends, where lifelines run.
    pub(crate) async fn answer(
        self: Arc<Self>,
        reader: FrameReader,
        writer: FrameWriter,
    ) -> Result<(), FrameError> {
        let lifelines = self.clone();
        let answering = self.home.spawn(async move { lifelines.answer_here(reader, writer).await });
        let mut answering = AbortOnDrop(answering);
        (&mut answering.0).await.unwrap_or(Err(FrameError::Closed))
    }

    async fn answer_here(
        self: Arc<Self>,
        reader: FrameReader,
        writer: FrameWriter,
    ) -> Result<(), FrameError> {
        let (mut reader, mut writer) = frame::adopt(&*self.dialer.net, reader, writer)?;
        let mut in_hand = JoinSet::new();
        loop {
            let has_queued = writer.has_queued();
            let is_full = writer.queued_bytes() >= WRITE_BYTES;
            tokio::select! { biased;
                flushed = writer.flush(), if has_queued => flushed?,
                Some(done) = in_hand.join_next(), if !in_hand.is_empty() => {
                    let Ok((id, answer)): Result<(u64, Option<Answer>), _> = done else { continue };
                    match answer {
                        Some(answer) => writer.queue(Kind::Reply, id, &answer)?,
                        None => writer.queue_raw(Kind::Expired, id, &[])?,
                    }
                }
                frame = reader.next(), if in_hand.len() < QUESTIONS_MAX && !is_full => {
                    let Frame { kind, id, body } = frame?;
                    match kind {
                        Kind::Ping => {
                            writer.queue(Kind::Pong, id, &Pong { opened_in: self.opened_in })?;
                        }
                        Kind::AskLeader => {
                            let question = codec::decode(&body)?;
                            let lifelines = self.clone();
                            in_hand.spawn(in_scope(async move {
                                (id, lifelines.say(question).await)
                            }));
                        }
                        other => return Err(FrameError::UnknownKind(other as u8)),
                    }
                }
            }
        }
    }

    /// What this voter says of a leader; `None` when it cannot say in time.
    async fn say(&self, question: Question) -> Option<Answer> {
        let Question { term, leader, last_log_id } = question;
        let standing = self.standing(EXCHANGE).await?;
        let hears = leader == self.me || self.ears().doubt(leader, term).is_none();
        if !hears && standing.last_log_id >= last_log_id {
            // This voter should rather stand than who asks, and may not know it yet.
            self.summons.notify_one();
        }
        Some(Answer { hears, vote: standing.vote, last_log_id: standing.last_log_id })
    }
}

/// A task on another runtime that ends when whoever waits for it does.
struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
