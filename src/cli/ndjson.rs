//! Lines of JSON, one job each, gathered into batches.

use std::io::{self, BufRead, Read as _};

use crate::{
    queue::JobId,
    wire::{AddRequest, BATCH_ITEMS_MAX, PAYLOAD_BYTES_MAX},
};

/// The most that a batch's lines add up to: half of what a body may be, so that the ids that are
/// added to them always fit.
const BATCH_BYTES_MAX: usize = 4 << 20;
/// The longest line: a payload of the greatest size, and everything else that a job may say.
const LINE_BYTES_MAX: usize = PAYLOAD_BYTES_MAX + (512 << 10);

/// Jobs of consecutive lines, ready to be sent.
#[derive(Debug, Clone, Default)]
pub(super) struct Batch {
    /// The jobs, each with an id.
    pub(super) jobs: Vec<AddRequest>,
    /// The line that each of them stands in, from 1.
    pub(super) lines: Vec<u64>,
    /// How many bytes its lines have.
    pub(super) bytes: usize,
}

impl Batch {
    /// Whether a job waits for another, which may stand in an earlier batch.
    pub(super) fn has_dependencies(&self) -> bool {
        self.jobs.iter().any(|job| !job.depends_on.is_empty())
    }
}

/// Why the lines end early.
#[derive(Debug, thiserror::Error)]
pub(super) enum LineFault {
    /// A line is not a job.
    #[error("line {line}: {reason}")]
    Bad {
        /// From 1.
        line: u64,
        /// A sentence for a person.
        reason: String,
    },
    /// The input cannot be read on.
    #[error("line {line}: {source}")]
    Io {
        /// The line that was being read.
        line: u64,
        /// Why.
        source: io::Error,
    },
}

/// Reads batches, until the input ends or a line is bad. Empty lines are passed over. A job without a
/// `work_id` gets one made of the import's id and its line, the same whenever the import is repeated.
pub(super) struct Batches<R> {
    source: R,
    import_id: String,
    line: u64,
    /// A job that did not fit into the batch before.
    left_over: Option<(AddRequest, usize)>,
    is_over: bool,
}

impl<R: BufRead> Batches<R> {
    pub(super) fn new(source: R, import_id: &str) -> Self {
        Self { source, import_id: import_id.into(), line: 0, left_over: None, is_over: false }
    }

    /// The next line that is not empty, as a job, and its length; `None` at the end.
    fn next_job(&mut self) -> Result<Option<(AddRequest, usize)>, LineFault> {
        let mut text = Vec::new();
        loop {
            text.clear();
            self.line += 1;
            let line = self.line;
            let read =
                (&mut self.source).take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut text);
            let length = read.map_err(|source| LineFault::Io { line, source })?;
            if length == 0 {
                return Ok(None);
            }
            if length > LINE_BYTES_MAX {
                let reason = format!("is longer than {LINE_BYTES_MAX} bytes");
                return Err(LineFault::Bad { line, reason });
            }
            if !text.trim_ascii().is_empty() {
                return Ok(Some((self.job(&text)?, length)));
            }
        }
    }

    fn job(&self, text: &[u8]) -> Result<AddRequest, LineFault> {
        let line = self.line;
        let mut job = AddRequest::parse(text.trim_ascii())
            .map_err(|fault| LineFault::Bad { line, reason: fault.error })?;
        job.work_id.get_or_insert_with(|| self.id_of_line());
        Ok(job)
    }

    fn id_of_line(&self) -> JobId {
        JobId::parse(&format!("{}-{}", self.import_id, self.line))
            .expect("an import's id is short and of a job id's letters")
    }

    fn next_batch(&mut self) -> Result<Option<Batch>, (Batch, LineFault)> {
        let mut batch = Batch::default();
        let push = |batch: &mut Batch, job, line, length: usize| {
            batch.jobs.push(job);
            batch.lines.push(line);
            batch.bytes += length;
        };
        if let Some((job, length)) = self.left_over.take() {
            push(&mut batch, job, self.line, length);
        }
        while batch.jobs.len() < BATCH_ITEMS_MAX {
            match self.next_job() {
                Ok(None) => break,
                Ok(Some((job, length))) if batch.bytes + length > BATCH_BYTES_MAX => {
                    self.left_over = Some((job, length));
                    break;
                }
                Ok(Some((job, length))) => push(&mut batch, job, self.line, length),
                Err(fault) => return Err((batch, fault)),
            }
        }
        Ok(Some(batch).filter(|batch| !batch.jobs.is_empty()))
    }
}

/// A bad line comes after the good ones before it.
impl<R: BufRead> Iterator for Batches<R> {
    type Item = (Batch, Option<LineFault>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        match self.next_batch() {
            Ok(Some(batch)) => Some((batch, None)),
            Ok(None) => {
                self.is_over = true;
                None
            }
            Err((batch, fault)) => {
                self.is_over = true;
                Some((batch, Some(fault)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batches(text: &str) -> Vec<(Batch, Option<LineFault>)> {
        Batches::new(text.as_bytes(), "imp").collect()
    }

    #[test]
    fn lines_get_ids_that_a_repeated_import_gives_them_again() {
        let text =
            "{\"n\": 1}\n\n{\"work_id\": \"mine\", \"payload\": 2}\r\n{\"payload\": {\"n\": 3}}";
        for _ in 0..2 {
            let read = batches(text);
            assert_eq!(read.len(), 1);
            let (batch, fault) = &read[0];
            assert!(fault.is_none());
            let ids: Vec<_> =
                batch.jobs.iter().map(|job| job.work_id.as_ref().unwrap().as_str()).collect();
            assert_eq!(ids, ["imp-1", "mine", "imp-4"]);
            assert_eq!(batch.lines, [1, 3, 4]);
            assert_eq!(batch.jobs[0].payload.as_ref().unwrap().get(), "{\"n\":1}", "the shorthand");
        }
    }

    #[test]
    fn a_bad_line_is_named_and_the_good_ones_before_it_are_kept() {
        let read = batches("{}\n{}\n{\"priority\": 101}\n{}\n");
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].0.jobs.len(), 2);
        let fault = read[0].1.as_ref().unwrap().to_string();
        assert!(fault.starts_with("line 3: ") && fault.contains("priority"), "{fault}");
        let fault = batches("\n{\"a\": }\n")[0].1.as_ref().unwrap().to_string();
        assert!(fault.starts_with("line 2: "), "{fault}");
    }

    #[test]
    fn a_batch_knows_whether_one_of_its_jobs_waits_for_another() {
        let has_dependencies = |text| batches(text)[0].0.has_dependencies();
        assert!(!has_dependencies("{}\n{}\n"));
        assert!(has_dependencies("{}\n{\"depends_on\": [\"imp-1\"]}\n"));
    }

    #[test]
    fn a_batch_has_at_most_1000_jobs() {
        let sizes: Vec<_> =
            batches(&"{}\n".repeat(2001)).iter().map(|(batch, _)| batch.jobs.len()).collect();
        assert_eq!(sizes, [1000, 1000, 1]);
        assert!(batches("\n\n").is_empty());
    }

    #[test]
    fn a_batch_has_at_most_4_mib_of_lines() {
        let line = format!("{{\"payload\": \"{}\"}}\n", "x".repeat(1_000_000));
        let read = batches(&line.repeat(10));
        let sizes: Vec<_> = read.iter().map(|(batch, _)| batch.jobs.len()).collect();
        assert_eq!(sizes, [4, 4, 2]);
        let lines: Vec<u64> = read.iter().flat_map(|(batch, _)| batch.lines.clone()).collect();
        assert_eq!(lines, (1..=10).collect::<Vec<u64>>());
    }

    #[test]
    fn a_line_without_an_end_is_refused_before_it_fills_the_memory() {
        let mut endless = Batches::new(io::BufReader::new(io::repeat(b'x')), "imp");
        let (batch, fault) = endless.next().unwrap();
        assert!(batch.jobs.is_empty());
        assert!(fault.unwrap().to_string().contains("is longer than"));
        assert!(endless.next().is_none());
    }
}
