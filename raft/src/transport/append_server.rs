//! The receiving side of appends and heartbeats: hands them to Raft as one pipelined stream and
//! answers in their order, each under its request's sequence number.

use std::{collections::VecDeque, pin::pin};

use futures_util::{Stream, StreamExt, stream};
use tokio::sync::mpsc;

use crate::{
    codec,
    consensus::types::{AppendRequest, AppendResult},
    transport::{
        append_client::WINDOW,
        frame::{Frame, FrameError, FrameReader, FrameWriter, Kind, WRITE_BYTES},
    },
};

/// Serves one connection until it ends, or until an append was rejected: the sender then begins
/// again on a new one, so that nothing it had in flight is misunderstood.
pub(crate) async fn serve<F, R>(
    reader: &mut FrameReader,
    writer: &mut FrameWriter,
    append: F,
) -> Result<(), FrameError>
where
    F: FnOnce(stream::BoxStream<'static, AppendRequest>) -> R,
    R: Stream<Item = Option<AppendResult>> + Send,
{
    let capacity = usize::try_from(WINDOW).expect("the window is small");
    let (requests, mut taken) = mpsc::channel(capacity);
    let mut results =
        pin!(append(stream::poll_fn(move |context| taken.poll_recv(context)).boxed()));
    let mut unanswered = VecDeque::with_capacity(capacity);
    loop {
        let has_queued = writer.has_queued();
        let is_full = writer.queued_bytes() >= WRITE_BYTES;
        tokio::select! { biased;
            flushed = writer.flush(), if has_queued => flushed?,
            result = results.next(), if !unanswered.is_empty() => {
                let (Some(id), Some(Some(result))) = (unanswered.pop_front(), result) else {
                    return Ok(());
                };
                writer.queue(Kind::AppendReply, id, &result)?;
                if result.is_err() {
                    writer.flush().await?;
                    return Ok(());
                }
            }
            frame = reader.next(), if unanswered.len() < capacity && !is_full => {
                let Frame { kind, id, body } = frame?;
                if kind != Kind::Append {
                    return Err(FrameError::UnknownKind(kind as u8));
                }
                unanswered.push_back(id);
                requests.send(codec::decode(&body)?).await.map_err(|_| FrameError::Closed)?;
            }
        }
    }
}
