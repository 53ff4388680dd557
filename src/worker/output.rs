//! What a command prints: passed on as it comes, and looked through for its result and its complaint.

use std::{collections::VecDeque, sync::Mutex};

use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::wire::RESULT_BYTES_MAX;

/// How much is read at a time.
const PIECE_BYTES: usize = 16 << 10;
/// How much of the end of stderr goes into the error of a failed attempt.
const TAIL_BYTES: usize = 4 << 10;

/// Passes stdout on, and finds the result in it: the last line that is JSON, if it is not too long.
#[derive(Debug, Default)]
pub(super) struct Result {
    /// The line that is not whole yet; `None` when it is too long to be a result.
    line: Option<Vec<u8>>,
    found: Option<Box<RawValue>>,
}

impl Result {
    pub(super) fn new() -> Self {
        Self { line: Some(Vec::new()), found: None }
    }

    fn take(&mut self, piece: &[u8]) {
        for (place, part) in piece.split(|byte| *byte == b'\n').enumerate() {
            if place > 0 {
                self.end_line();
            }
            if let Some(line) = &mut self.line {
                if line.len() + part.len() > RESULT_BYTES_MAX {
                    self.line = None;
                } else {
                    line.extend_from_slice(part);
                }
            }
        }
    }

    fn end_line(&mut self) {
        let line = self.line.replace(Vec::new());
        let json = line.as_deref().map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
        let json = json.and_then(|line| serde_json::from_slice::<Box<RawValue>>(line).ok());
        self.found = json.or_else(|| self.found.take());
    }

    /// The result, once all is taken.
    pub(super) fn end(&mut self) -> Option<Box<RawValue>> {
        self.end_line();
        self.found.take()
    }
}

/// The end of what a command complained of.
#[derive(Debug, Default)]
pub(super) struct Tail(VecDeque<u8>);

impl Tail {
    fn take(&mut self, piece: &[u8]) {
        self.0.extend(piece);
        let excess = self.0.len().saturating_sub(TAIL_BYTES);
        self.0.drain(..excess);
    }

    /// As text.
    pub(super) fn text(&mut self) -> String {
        String::from_utf8_lossy(self.0.make_contiguous()).trim().to_owned()
    }
}

/// Whatever looks at a stream while it is passed on.
pub(super) trait Look {
    fn look(&mut self, piece: &[u8]);
}

impl Look for Result {
    fn look(&mut self, piece: &[u8]) {
        self.take(piece);
    }
}

impl Look for Tail {
    fn look(&mut self, piece: &[u8]) {
        self.take(piece);
    }
}

/// Passes a stream on until it ends. A reader that has gone away does not end the command.
pub(super) async fn pass<L: Look>(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    look: &Mutex<L>,
) {
    let mut piece = vec![0; PIECE_BYTES];
    let mut goes_on = true;
    while let Ok(count) = from.read(&mut piece).await {
        let piece = &piece[..count];
        if piece.is_empty() {
            break;
        }
        look.lock().expect("nothing panics while it looks").look(piece);
        goes_on = goes_on && to.write_all(piece).await.is_ok() && to.flush().await.is_ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(pieces: &[&str]) -> Option<String> {
        let mut result = Result::new();
        for piece in pieces {
            result.take(piece.as_bytes());
        }
        result.end().map(|json| json.get().to_owned())
    }

    #[test]
    fn the_result_is_the_last_line_that_is_json_wherever_the_pieces_break() {
        assert_eq!(result(&["step 1\n{\"a\":", "1}\nbye\n"]), Some("{\"a\":1}".to_owned()));
        assert_eq!(result(&["1\n2\n", "\n"]), Some("2".to_owned()));
        assert_eq!(result(&["no newline at the end: \n[3]"]), Some("[3]".to_owned()));
        assert_eq!(result(&["plain words\n"]), None);
        assert_eq!(result(&[]), None);
    }

    #[test]
    fn a_line_too_long_for_a_result_is_none_and_costs_no_memory() {
        let long = "1".repeat(RESULT_BYTES_MAX + 1);
        assert_eq!(result(&["{}\n", &long, &long, "\n"]), Some("{}".to_owned()));
        let mut result = Result::new();
        result.take(long.as_bytes());
        assert!(result.line.is_none());
    }

    #[test]
    fn the_tail_is_the_end() {
        let mut tail = Tail::default();
        tail.take(&vec![b'x'; 3 * TAIL_BYTES]);
        tail.take(b"why\n");
        let text = tail.text();
        assert_eq!(text.len(), TAIL_BYTES - 1);
        assert!(text.ends_with("xwhy"));
    }
}
