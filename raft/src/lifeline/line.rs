//! One lifeline, at the end that dials: it pings, and opens anew at once what was closed.

use std::{collections::BTreeMap, future::Future, io, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};

use crate::{
    Peer, StateMachine, codec,
    lifeline::{
        Lifelines,
        message::{Answer, Pong, Question},
    },
    transport::{
        frame::{FrameError, Kind},
        hello::{Channel, Refusal},
        link::{DialError, Link},
    },
};

/// Pauses between two attempts to open a line double from here to there. A process that is dying
/// may take a connection before its port is closed: the first pauses are short.
const PAUSE: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// Pings that may be under way; a peer that hangs does not find thousands when it goes on.
const PINGS_MAX: u32 = 16;

/// A question for the peer at the other end.
pub(super) struct Ask {
    pub(super) question: Question,
    /// Dropped when there is no answer to come.
    pub(super) answer: oneshot::Sender<Answer>,
}

/// Keeps a lifeline to `peer` for as long as it is polled.
pub(super) async fn keep<S: StateMachine>(
    lifelines: Arc<Lifelines<S>>,
    peer: Peer,
    mut asks: mpsc::Receiver<Ask>,
) {
    let mut pause = PAUSE;
    loop {
        match declining(&mut asks, open(&lifelines, &peer)).await {
            Ok(link) => {
                let mut has_answered = false;
                let ended = serve(&lifelines, &peer, link, &mut asks, &mut has_answered).await;
                tracing::debug!(peer = %peer.label, ?ended, "a lifeline ended");
                if has_answered {
                    pause = PAUSE;
                    continue;
                }
            }
            Err(error) => {
                tracing::debug!(peer = %peer.label, %error, "no lifeline");
                note(&lifelines, &peer, &error);
            }
        }
        declining(&mut asks, sleep(pause)).await;
        pause = (2 * pause).min(PAUSE_MAX);
    }
}

/// Waits for `work`; nobody is asked meanwhile.
async fn declining<F: Future>(asks: &mut mpsc::Receiver<Ask>, work: F) -> F::Output {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! { biased;
            done = &mut work => return done,
            Some(ask) = asks.recv() => drop(ask),
        }
    }
}

async fn open<S: StateMachine>(lifelines: &Lifelines<S>, peer: &Peer) -> Result<Link, DialError> {
    let dialer = &lifelines.dialer;
    let opened = async {
        let connection = dialer.net.connect(&peer.address).await?;
        lifelines.ears().on_connected(peer.id);
        dialer.introduce(connection, peer, Channel::Lifeline).await
    };
    timeout(dialer.deadline, opened).await.map_err(|_| DialError::Timeout)?
}

fn note<S: StateMachine>(lifelines: &Lifelines<S>, peer: &Peer, error: &DialError) {
    match error {
        DialError::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            lifelines.ears().on_refused(peer.id);
            lifelines.wake.notify_one();
        }
        DialError::Refused(Refusal::NoLifeline) => lifelines.ears().on_no_lifeline(peer.id),
        _ => {}
    }
}

/// Pings and asks until the connection ends, or has been silent for twice the silence: after a
/// partition, TCP would repeat what it has sent ever more seldom.
async fn serve<S: StateMachine>(
    lifelines: &Arc<Lifelines<S>>,
    peer: &Peer,
    mut link: Link,
    asks: &mut mpsc::Receiver<Ask>,
    has_answered: &mut bool,
) -> Result<(), FrameError> {
    let limit = lifelines.ears().limit();
    let mut ticks = lifelines.ticks.subscribe();
    let mut asked = BTreeMap::new();
    let mut next_id = 1_u64;
    let mut unanswered = 0;
    link.writer.queue_raw(Kind::Ping, 0, &[])?;
    loop {
        let has_queued = link.writer.has_queued();
        tokio::select! { biased;
            frame = link.reader.next() => {
                let frame = frame?;
                match frame.kind {
                    Kind::Pong => {
                        let Pong { opened_in } = codec::decode(&frame.body)?;
                        lifelines.ears().on_pong(peer.id, opened_in);
                        (*has_answered, unanswered) = (true, 0);
                    }
                    Kind::Reply => {
                        let answer: Option<oneshot::Sender<Answer>> = asked.remove(&frame.id);
                        if let Some(answer) = answer {
                            // Who asked may have given up.
                            let _ = answer.send(codec::decode(&frame.body)?);
                        }
                    }
                    Kind::Expired => drop(asked.remove(&frame.id)),
                    other => return Err(FrameError::UnknownKind(other as u8)),
                }
            }
            Some(Ask { question, answer }) = asks.recv() => {
                asked.retain(|_, answer| !answer.is_closed());
                link.writer.queue(Kind::AskLeader, next_id, &question)?;
                asked.insert(next_id, answer);
                next_id += 1;
            }
            flushed = link.writer.flush(), if has_queued => flushed?,
            ticked = ticks.changed() => {
                ticked.map_err(|_| FrameError::Closed)?;
                unanswered += 1;
                if unanswered <= PINGS_MAX {
                    link.writer.queue_raw(Kind::Ping, 0, &[])?;
                }
                if unanswered == limit.div_ceil(2) {
                    lifelines.probe(peer);
                }
                if unanswered >= 2 * limit {
                    return Err(FrameError::Idle);
                }
            }
        }
    }
}
