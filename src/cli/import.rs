//! `queue add --file`: a file of jobs, batched, a few batches under way at once.
//!
//! ```text
//!   file ─▶ reader thread ─▶ (bounded) ─▶ batches under way, oldest first ─▶ acknowledged, in order
//! ```
//! What is printed is acknowledged, in the order of the lines. A batch in which a job waits for
//! another (`depends_on`) is sent only when all before it are acknowledged.

use std::{collections::VecDeque, io, path::Path, time::Instant};

use bytes::Bytes;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::{
    sync::mpsc,
    task::{JoinError, JoinHandle},
};
use ulid::Ulid;

use super::{
    Exit, Failure,
    ndjson::{Batch, Batches, LineFault},
    report::{Report, Table, for_people, print},
    session::{Session, cannot_print},
};
use crate::{
    client::{Answer, ClientError},
    config::Format,
    queue::JobId,
    wire::{AddBatchRequest, AddBatchResponse, AddedItem, Item},
};

/// Batches that are read ahead of the sending.
const BATCHES_READ_AHEAD: usize = 2;

/// Checks an import's id: with `-` and a line's number after it, it has to be a job's id.
pub(super) fn import_id(text: &str) -> Result<String, String> {
    let is_short = text.len() <= 100;
    match JobId::parse(text) {
        Ok(_) if is_short => Ok(text.to_owned()),
        _ => Err("must be 1 to 100 characters of A-Z a-z 0-9 . _ : -".into()),
    }
}

/// One import.
pub(super) struct Import {
    id: String,
    in_flight_max: usize,
    started: Instant,
    acknowledged: u64,
    duplicates: u64,
}

/// A batch that is under way.
struct Sent {
    lines: Vec<u64>,
    bytes: usize,
    answer: JoinHandle<Result<Answer<AddBatchResponse>, ClientError>>,
}

/// A batch whose answer is there.
struct Answered {
    lines: Vec<u64>,
    bytes: usize,
    answer: Result<Result<Answer<AddBatchResponse>, ClientError>, JoinError>,
}

/// Waits for the answer to the oldest batch that is under way; `None` at once when there is none.
/// Dropping the future loses nothing.
async fn oldest_answer(under_way: &mut VecDeque<Sent>) -> Option<Answered> {
    let answer = (&mut under_way.front_mut()?.answer).await;
    let Sent { lines, bytes, .. } = under_way.pop_front()?;
    Some(Answered { lines, bytes, answer })
}

impl Import {
    pub(super) fn new(id: Option<String>, in_flight_max: usize) -> Self {
        let id = id.unwrap_or_else(|| Ulid::generate().to_string());
        Self { id, in_flight_max, started: Instant::now(), acknowledged: 0, duplicates: 0 }
    }

    pub(super) async fn run(mut self, session: &Session, file: &Path) -> Result<Exit, Failure> {
        let (source, length) = open(file)?;
        let progress = progress_bar(length);
        let batches = read_ahead(source, &self.id);
        let ended = tokio::select! {
            ended = self.send_all(session, batches, &progress) => ended,
            _ = tokio::signal::ctrl_c() => Err(Failure::new(Exit::INTERRUPTED, "interrupted", "interrupted")),
        };
        progress.finish_and_clear();
        match ended {
            Ok(()) => session.end(&self.summary(), Exit::OK),
            Err(failure) => Err(self.explained(failure, file)),
        }
    }

    /// Sends batch after batch, and takes the answers in the same order. After an error nothing more is
    /// sent; what is under way is waited for and counted.
    async fn send_all(
        &mut self,
        session: &Session,
        mut batches: mpsc::Receiver<(Batch, Option<LineFault>)>,
        progress: &ProgressBar,
    ) -> Result<(), Failure> {
        let mut under_way: VecDeque<Sent> = VecDeque::new();
        let mut next: Option<Batch> = None;
        let mut failure: Option<Failure> = None;
        loop {
            if failure.is_none()
                && let Some(batch) = next.take_if(|next| self.has_place_for(next, under_way.len()))
            {
                under_way.push_back(send(session, batch));
            }
            tokio::select! {
                biased;
                Some(answer) = oldest_answer(&mut under_way) => {
                    let taken = self.acknowledge(session, answer, progress);
                    failure = failure.or(taken.err());
                }
                Some((batch, fault)) = batches.recv(), if next.is_none() && failure.is_none() => {
                    next = Some(batch).filter(|batch| !batch.jobs.is_empty());
                    if let Some(fault) = fault {
                        self.send_the_last(session, next.take(), &mut under_way, progress).await?;
                        failure = Some(Failure::new(Exit::FAILED, "bad_line", fault.to_string()));
                    }
                }
                else => return failure.map_or(Ok(()), Err),
            }
        }
    }

    /// Sends what came before a bad line, when all that came before it is acknowledged.
    async fn send_the_last(
        &mut self,
        session: &Session,
        last: Option<Batch>,
        under_way: &mut VecDeque<Sent>,
        progress: &ProgressBar,
    ) -> Result<(), Failure> {
        while let Some(answer) = oldest_answer(under_way).await {
            self.acknowledge(session, answer, progress)?;
        }
        under_way.extend(last.map(|batch| send(session, batch)));
        Ok(())
    }

    /// A job that waits for another has to come after it.
    fn has_place_for(&self, batch: &Batch, under_way: usize) -> bool {
        under_way == 0 || (under_way < self.in_flight_max && !batch.has_dependencies())
    }

    fn acknowledge(
        &mut self,
        session: &Session,
        answered: Answered,
        progress: &ProgressBar,
    ) -> Result<(), Failure> {
        let answer = match answered.answer {
            Ok(answer) => answer.map_err(|error| of_line(error, &answered.lines))?,
            Err(error) => return Err(Failure::new(Exit::FAILED, "internal", error.to_string())),
        };
        let added = |item: &Item<AddedItem>| match item {
            Item::Done(added) => Some(added.clone()),
            Item::Refused(_) => None,
        };
        let added: Vec<AddedItem> = answer.value.items.iter().filter_map(added).collect();
        self.acknowledged += added.len() as u64;
        self.duplicates += added.iter().filter(|item| item.duplicate).count() as u64;
        progress.inc(answered.bytes as u64);
        progress.set_message(self.acknowledged.to_string());
        let lines: Vec<String> = match session.look.format {
            Format::Plain => added.iter().map(|item| item.work_id.to_string()).collect(),
            Format::Jsonl => added.iter().map(|item| json!(item).to_string()).collect(),
            Format::Json | Format::Table => return Ok(()),
        };
        print(&(lines.join("\n") + "\n")).map_err(|error| cannot_print(&error))
    }

    fn summary(&self) -> Report {
        let took_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let summary = json!({
            "status": "added",
            "count": self.acknowledged,
            "duplicates": self.duplicates,
            "import_id": self.id,
            "took_ms": took_ms,
        });
        let existed = match self.duplicates {
            0 => String::new(),
            duplicates => format!(" ({duplicates} of them existed already)"),
        };
        let line = format!("added {} jobs{existed} in {}", self.acknowledged, for_people(took_ms));
        Report {
            json: Bytes::from(summary.to_string()),
            items: Some(vec![]),
            plain: vec![],
            table: Table { header: vec![], rows: vec![vec![line.into()]] },
        }
    }

    /// How far it came, and how to go on.
    fn explained(&self, failure: Failure, file: &Path) -> Failure {
        let acknowledged = self.acknowledged;
        let go_on = format!("queue add --file {} --import-id {}", file.display(), self.id);
        failure
            .told(|message| {
                format!("{message}\n{acknowledged} jobs were acknowledged; this goes on and adds nothing twice: {go_on}")
            })
            .with("acknowledged", acknowledged)
            .with("import_id", self.id.as_str())
    }
}

/// A refusal that names an item of the batch names the line that it stands in.
fn of_line(error: ClientError, lines: &[u64]) -> Failure {
    let index = match &error {
        ClientError::Api(error) => error.details.get("index").and_then(serde_json::Value::as_u64),
        _ => None,
    };
    let line = index.and_then(|index| lines.get(usize::try_from(index).ok()?)).copied();
    let failure = Failure::from(error);
    match (line, lines) {
        (Some(line), _) => {
            failure.told(|message| format!("line {line}: {message}")).with("line", line)
        }
        (None, [first, .., last]) => {
            failure.told(|message| format!("lines {first} to {last}: {message}"))
        }
        (None, _) => failure,
    }
}

fn send(session: &Session, batch: Batch) -> Sent {
    let client = session.client.clone();
    let request = AddBatchRequest { items: batch.jobs, atomic: true, request_id: None };
    let answer = tokio::spawn(async move { client.add_batch(request).await });
    Sent { lines: batch.lines, bytes: batch.bytes, answer }
}

/// The file and its length; stdin, whose length nobody knows, for `-`.
fn open(file: &Path) -> Result<(Box<dyn io::Read + Send>, Option<u64>), Failure> {
    if file == Path::new("-") {
        return Ok((Box::new(io::stdin()), None));
    }
    let cannot = |error| Failure::usage(format!("cannot read {}: {error}", file.display()));
    let opened = std::fs::File::open(file).map_err(cannot)?;
    let metadata = opened.metadata().map_err(cannot)?;
    if metadata.is_dir() {
        return Err(Failure::usage(format!("cannot read {}: it is a folder", file.display())));
    }
    let length = Some(metadata.len()).filter(|_| metadata.is_file());
    Ok((Box::new(opened), length))
}

/// Reads and parses on a thread of its own; it ends with the input, the first bad line, or when nobody
/// listens any more.
fn read_ahead(
    source: Box<dyn io::Read + Send>,
    import_id: &str,
) -> mpsc::Receiver<(Batch, Option<LineFault>)> {
    let (sender, receiver) = mpsc::channel(BATCHES_READ_AHEAD);
    let batches = Batches::new(io::BufReader::with_capacity(1 << 16, source), import_id);
    std::thread::spawn(move || {
        for batch in batches {
            if sender.blocking_send(batch).is_err() {
                return;
            }
        }
    });
    receiver
}

/// On stderr, and only when that is a terminal.
fn progress_bar(length: Option<u64>) -> ProgressBar {
    let (bar, template) = match length {
        Some(length) => (
            ProgressBar::new(length),
            "{bar:32} {percent}%  {msg} jobs  {bytes_per_sec}  {eta} left",
        ),
        None => (ProgressBar::new_spinner(), "{spinner} {msg} jobs  {bytes_per_sec}"),
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{ApiError, Code};

    #[test]
    fn a_refused_item_names_its_line() {
        let error = ApiError::new(Code::IdConflict, "Another job has this id.").with("index", 1);
        let failure = of_line(ClientError::Api(Box::new(error)), &[4, 7, 8]);
        assert_eq!(failure.exit, Exit::CONFLICT);
        assert_eq!(failure.render(false), "error: line 7: Another job has this id (id_conflict)\n");
        let lost = of_line(ClientError::Unknown { reason: "gone".into() }, &[4, 7, 8]);
        assert!(lost.render(false).starts_with("error: lines 4 to 8: the outcome is unknown"));
    }

    #[test]
    fn a_failed_import_says_how_far_it_came_and_how_to_go_on() {
        let import = Import { acknowledged: 1500, ..Import::new(Some("imp".into()), 4) };
        let failure = Failure::new(Exit::FAILED, "bad_line", "line 1501: no");
        let failure = import.explained(failure, Path::new("jobs.ndjson"));
        let text = failure.render(false);
        assert!(
            text.starts_with("error: line 1501: no\nerror: 1500 jobs were acknowledged"),
            "{text}"
        );
        assert!(text.contains("queue add --file jobs.ndjson --import-id imp"), "{text}");
        assert!(failure.render(true).contains("\"acknowledged\":1500"));
    }

    #[test]
    fn an_import_id_leaves_room_for_the_line() {
        assert!(import_id("2026-11-20").is_ok());
        assert!(import_id(&"x".repeat(101)).is_err());
        assert!(import_id("a b").is_err());
    }
}
