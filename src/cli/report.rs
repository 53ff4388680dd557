//! What a command prints, in each of the formats, from one description.

use std::io::{self, Write as _};

use bytes::Bytes;
use comfy_table::{
    Attribute, Cell as TableCell, Color as TableColor, ColumnConstraint, ContentArrangement,
    Table as ComfyTable, presets,
};

use crate::{config::Format, queue::JobState};

/// A narrower terminal folds whole lines by itself: columns of a letter each would not be read.
const FOLDING_WIDTH_MIN: u16 = 60;

/// A command's answer, ready to be printed in any format.
#[derive(Debug, Clone, Default)]
pub(super) struct Report {
    /// The HTTP answer.
    pub(super) json: Bytes,
    /// Its items, one JSON text each; `None` when the answer is one thing.
    pub(super) items: Option<Vec<String>>,
    /// The bare essentials, a line each.
    pub(super) plain: Vec<String>,
    /// For people.
    pub(super) table: Table,
}

/// Rows for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Table {
    /// The names of the columns; none: the first column names what stands in the second.
    pub(super) header: Vec<&'static str>,
    /// As many cells as there are columns.
    pub(super) rows: Vec<Vec<Cell>>,
}

/// One cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cell {
    text: String,
    tone: Tone,
}

/// What a colour would say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tone {
    None,
    Title,
    Good,
    Bad,
    Busy,
}

impl<T: ToString> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.to_string(), tone: Tone::None }
    }
}

impl Cell {
    /// A job's state, in its colour.
    pub(super) fn state(state: JobState) -> Self {
        let tone = match state {
            JobState::Completed => Tone::Good,
            JobState::Failed | JobState::Expired | JobState::Cancelled => Tone::Bad,
            JobState::Claimed | JobState::Running => Tone::Busy,
            JobState::Scheduled | JobState::Blocked | JobState::Pending => Tone::None,
        };
        Self { text: state_name(state), tone }
    }

    /// Something that is as it should be.
    pub(super) fn good(text: String) -> Self {
        Self { text, tone: Tone::Good }
    }

    /// Something that is not.
    pub(super) fn bad(text: String) -> Self {
        Self { text, tone: Tone::Bad }
    }

    /// Something that is about to become one or the other.
    pub(super) fn busy(text: String) -> Self {
        Self { text, tone: Tone::Busy }
    }

    fn styled(&self, is_colored: bool) -> TableCell {
        let cell = TableCell::new(&self.text);
        match self.tone {
            _ if !is_colored => cell,
            Tone::None => cell,
            Tone::Title => cell.add_attribute(Attribute::Bold),
            Tone::Good => cell.fg(TableColor::Green),
            Tone::Bad => cell.fg(TableColor::Red),
            Tone::Busy => cell.fg(TableColor::Yellow),
        }
    }
}

/// A state as the contract spells it.
pub(super) fn state_name(state: JobState) -> String {
    serde_name(&state)
}

/// A value that serializes as a string, as that string.
pub(super) fn serde_name(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}

impl Table {
    /// A table without a header: names on the left.
    pub(super) fn of_pairs(pairs: impl IntoIterator<Item = (&'static str, Cell)>) -> Self {
        let rows = pairs.into_iter().map(|(name, value)| vec![name.into(), value]).collect();
        Self { header: vec![], rows }
    }

    /// A row for each item. A list of nothing has no header.
    pub(super) fn list<const N: usize>(
        header: [&'static str; N],
        rows: impl IntoIterator<Item = [Cell; N]>,
    ) -> Self {
        let rows: Vec<Vec<Cell>> = rows.into_iter().map(Vec::from).collect();
        let header = if rows.is_empty() { vec![] } else { header.into() };
        Self { header, rows }
    }

    fn render(&self, look: Look) -> String {
        let mut table = ComfyTable::new();
        table.load_style(presets::NOTHING);
        if !look.is_terminal {
            table.force_no_tty();
        }
        if look.is_colored {
            table.enforce_styling();
        }
        let styled = |cell: &Cell| cell.styled(look.is_colored);
        if !self.header.is_empty() {
            let name = |name: &&'static str| Cell { text: (*name).into(), tone: Tone::Title };
            table.set_header(self.header.iter().map(|title| styled(&name(title))));
        }
        for row in &self.rows {
            table.add_row(row.iter().map(styled));
        }
        // The lines of a list stay lines, whatever the terminal makes of them.
        let is_list = !self.header.is_empty();
        if !is_list && table.width().is_some_and(|width| width >= FOLDING_WIDTH_MIN) {
            fold_values(&mut table);
        }
        let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
        lines.join("\n")
    }
}

/// Folds long values to the terminal, and no names.
fn fold_values(table: &mut ComfyTable) {
    table.set_content_arrangement(ContentArrangement::Dynamic);
    if let Some(names) = table.column_mut(0) {
        names.set_constraint(ColumnConstraint::ContentWidth);
    }
}

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    /// In which shape.
    pub(super) format: Format,
    /// Whether with colours.
    pub(super) is_colored: bool,
    /// Whether stdout is a terminal, to whose width tables are folded.
    pub(super) is_terminal: bool,
}

impl Look {
    /// Whether errors are to be JSON too.
    pub(super) fn is_json(self) -> bool {
        matches!(self.format, Format::Json | Format::Jsonl)
    }
}

impl Report {
    /// The text that goes to stdout, with its final line break; empty when there is nothing to say.
    pub(super) fn render(&self, look: Look) -> String {
        let text = match (look.format, &self.items) {
            (Format::Json, _) => String::from_utf8_lossy(&self.json).trim_end().to_owned(),
            (Format::Jsonl, None) => in_one_line(&String::from_utf8_lossy(&self.json)),
            (Format::Jsonl, Some(items)) => {
                items.iter().map(|item| in_one_line(item)).collect::<Vec<_>>().join("\n")
            }
            (Format::Plain, _) => self.plain.join("\n"),
            (Format::Table, _) => self.table.render(look),
        };
        if text.is_empty() { text } else { text + "\n" }
    }

    /// Prints it. A reader that has gone away has seen enough: that is no error.
    ///
    /// # Errors
    /// Whatever else stdout answers.
    pub(super) fn print(&self, look: Look) -> io::Result<()> {
        print(&self.render(look))
    }
}

/// JSON without line breaks. A payload keeps the bytes that it was added with, spaces between its parts
/// included; within its strings a line break is always `\n`.
fn in_one_line(json: &str) -> String {
    json.trim_end().replace(['\n', '\r'], " ")
}

/// Prints `text`. A reader that has gone away has seen enough: that is no error.
///
/// # Errors
/// Whatever else stdout answers.
pub(super) fn print(text: &str) -> io::Result<()> {
    print_to_reader(text).map(|_| ())
}

/// Who is at the other end of stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// Somebody who reads on.
    There,
    /// Nobody, any more: the rest need not be asked for.
    Gone,
}

/// Prints `text`, and says whether there is any sense in going on.
///
/// # Errors
/// What stdout answers, unless it is that nobody reads.
pub(super) fn print_to_reader(text: &str) -> io::Result<Reader> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(Reader::There),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(error),
    }
}

/// Prints to stderr as far as it goes: there is nowhere left to complain.
pub(super) fn complain(text: &str) {
    let mut stderr = io::stderr().lock();
    drop(stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush()));
}

/// At most `longest` characters of a text on one line, for a table.
pub(super) fn shortened(text: &str, longest: usize) -> String {
    let flat = text.replace(['\n', '\r', '\t'], " ");
    if flat.chars().count() <= longest {
        return flat;
    }
    flat.chars().take(longest.saturating_sub(1)).chain(['…']).collect()
}

/// A duration for people: `250 ms`, `2.5 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`.
pub(super) fn for_people(duration_ms: u64) -> String {
    let seconds = duration_ms / 1000;
    match seconds {
        0 => format!("{duration_ms} ms"),
        1..=59 => format!("{}.{} s", seconds, duration_ms % 1000 / 100),
        60..=3599 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..=86_399 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(format: Format) -> Look {
        Look { format, is_colored: false, is_terminal: false }
    }

    fn a_report() -> Report {
        Report {
            json: Bytes::from_static(b"{\"items\":[1,2]}"),
            items: Some(vec!["1".into(), "2".into()]),
            plain: vec!["one".into(), "two".into()],
            table: Table {
                header: vec!["NAME", "STATE"],
                rows: vec![vec!["one".into(), Cell::state(JobState::Completed)]],
            },
        }
    }

    #[test]
    fn each_format_has_its_own_form() {
        let report = a_report();
        assert_eq!(report.render(look(Format::Json)), "{\"items\":[1,2]}\n");
        assert_eq!(report.render(look(Format::Jsonl)), "1\n2\n");
        assert_eq!(report.render(look(Format::Plain)), "one\ntwo\n");
        assert_eq!(report.render(look(Format::Table)), " NAME  STATE\n one   completed\n");
        assert_eq!(Report::default().render(look(Format::Plain)), "");
    }

    #[test]
    fn a_payload_of_several_lines_is_one_line_of_jsonl() {
        let item = "{\"payload\":{\n  \"text\": \"a\\nb\"}}";
        let items = Some(vec![item.into()]);
        let report = Report { json: item.into(), items, ..Report::default() };
        let one_line = "{\"payload\":{   \"text\": \"a\\nb\"}}\n";
        assert_eq!(report.render(look(Format::Jsonl)), one_line);
        let report = Report { items: None, ..report };
        assert_eq!(report.render(look(Format::Jsonl)), one_line);
        assert_eq!(report.render(look(Format::Json)), format!("{item}\n"), "as it came");
    }

    #[test]
    fn colours_appear_only_when_asked_for() {
        let table = a_report().render(look(Format::Table));
        assert!(!table.contains('\x1b'), "{table:?}");
        let colored = Look { is_colored: true, ..look(Format::Table) };
        assert!(a_report().render(colored).contains('\x1b'));
    }

    #[test]
    fn long_texts_are_cut_to_one_line_and_durations_are_for_people() {
        assert_eq!(shortened("a\nb", 5), "a b");
        assert_eq!(shortened("abcdef", 4), "abc…");
        for (ms, text) in [
            (7, "7 ms"),
            (2560, "2.5 s"),
            (200_000, "3 min 20 s"),
            (7_500_000, "2 h 5 min"),
            (273_600_000, "3 d 4 h"),
        ] {
            assert_eq!(for_people(ms), text);
        }
    }
}
