//! An answer in pages: each is printed as soon as it is there, so that an answer of any length takes the
//! memory of one page.
//!
//! JSON is one object, as if one answer had brought everything: `{"items":[…],"next":…,"rev":…}`. Every
//! other format is its pages, one after the other.

use std::collections::BTreeMap;

use serde_json::{Value, value::RawValue};

use super::{
    Failure,
    report::{Look, Reader, Report, print, print_to_reader},
    session::cannot_print,
};
use crate::{config::Format, wire::PAGE_MAX};

/// An answer that is being printed.
#[derive(Debug)]
pub(super) struct Pages {
    look: Look,
    /// The field that its items stand in.
    list: &'static str,
    /// Whether a page was printed.
    is_begun: bool,
    /// How many items were printed.
    items: usize,
}

impl Pages {
    /// Nothing is printed yet: a failure before the first page is nothing but that failure.
    pub(super) fn new(look: Look, list: &'static str) -> Self {
        Self { look, list, is_begun: false, items: 0 }
    }

    /// Prints a page that others follow; `Gone` when nobody wants them.
    pub(super) fn print(&mut self, page: &Report) -> Result<Reader, Failure> {
        let text = self.text(page);
        print_to_reader(&text).map_err(|error| cannot_print(&error))
    }

    /// Prints the last page, what stands beside the items of the whole (an object), and a note for people.
    /// When it is the first one too, the whole is the page as it came.
    pub(super) fn finish(
        mut self,
        page: &Report,
        rest: &Value,
        note: Option<&str>,
    ) -> Result<(), Failure> {
        let mut text =
            if self.is_begun { self.text(page) + &self.end(rest) } else { page.render(self.look) };
        if let (Format::Table, Some(note)) = (self.look.format, note) {
            text.extend([" ", note, "\n"]);
        }
        print(&text).map_err(|error| cannot_print(&error))
    }

    fn text(&mut self, page: &Report) -> String {
        let begin = if self.is_begun { String::new() } else { format!("{{\"{}\":[", self.list) };
        let items = page.items.as_deref().unwrap_or_default();
        let separator = if self.items == 0 || items.is_empty() { "" } else { "," };
        self.is_begun = true;
        self.items += items.len();
        match self.look.format {
            Format::Json => format!("{begin}{separator}{}", items.join(",")),
            Format::Jsonl | Format::Plain | Format::Table => page.render(self.look),
        }
    }

    fn end(&self, rest: &Value) -> String {
        if self.look.format != Format::Json {
            return String::new();
        }
        let field = |(name, value): (&String, &Value)| format!(",\"{name}\":{value}");
        let rest: String = rest.as_object().into_iter().flatten().map(field).collect();
        format!("]{rest}}}\n")
    }
}

/// The items of an answer as they came, with whatever a newer server says of them.
pub(super) fn items_of(body: &[u8], list: &str) -> Vec<String> {
    let fields: Option<BTreeMap<String, Box<RawValue>>> = serde_json::from_slice(body).ok();
    let items = fields.and_then(|fields| serde_json::from_str(fields.get(list)?.get()).ok());
    let items: Vec<Box<RawValue>> = items.unwrap_or_default();
    items.into_iter().map(|item| Box::<str>::from(item).into()).collect()
}

/// How many items to ask for at once while `left` are wanted.
pub(super) fn page_of(left: u64) -> u32 {
    u32::try_from(left).unwrap_or(PAGE_MAX).min(PAGE_MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn page(items: &[&str]) -> Report {
        let items: Vec<String> = items.iter().map(|item| (*item).to_owned()).collect();
        let json = format!("{{\"items\": [{}], \"next\": null}}", items.join(", "));
        Report { json: json.into(), plain: items.clone(), items: Some(items), ..Report::default() }
    }

    /// What is printed of these pages.
    fn printed(format: Format, pages: &[Report]) -> String {
        let look = Look { format, is_colored: false, is_terminal: false };
        let mut whole = Pages::new(look, "items");
        let mut texts: Vec<String> = pages.iter().map(|page| whole.text(page)).collect();
        texts.push(whole.end(&json!({"next": null, "rev": 7})));
        texts.concat()
    }

    #[test]
    fn pages_of_json_are_one_object_in_the_end() {
        let pages = [page(&["1", "2"]), page(&[]), page(&["3"])];
        let whole = printed(Format::Json, &pages);
        assert_eq!(whole, "{\"items\":[1,2,3],\"next\":null,\"rev\":7}\n");
        let whole = printed(Format::Json, &[page(&[]), page(&["3"]), page(&["4"])]);
        assert_eq!(whole, "{\"items\":[3,4],\"next\":null,\"rev\":7}\n");
    }

    #[test]
    fn pages_of_any_other_format_follow_each_other() {
        let pages = [page(&["1", "2"]), page(&[]), page(&["3"])];
        for format in [Format::Jsonl, Format::Plain] {
            assert_eq!(printed(format, &pages), "1\n2\n3\n");
        }
    }

    #[test]
    fn items_stay_as_they_came() {
        let body =
            br#"{"rev":7,"items":[{"n":  1.0,"of a newer server":[1]},{"n":2}],"next":null}"#;
        let items = [r#"{"n":  1.0,"of a newer server":[1]}"#, r#"{"n":2}"#];
        assert_eq!(items_of(body, "items"), items);
        assert!(items_of(body, "next").is_empty());
    }

    #[test]
    fn a_page_is_at_most_1000_items() {
        assert_eq!((page_of(7), page_of(1001), page_of(u64::MAX)), (7, 1000, 1000));
    }
}
