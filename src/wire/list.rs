//! `GET /work/list`: jobs in add order, page by page.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    ApiError, Freshness, Job, PAGE_MAX, TAGS_MAX,
    fields::Fields,
    query::{self, Kinds},
    queues::limit,
    read::freshness,
};
use crate::queue::{JobNumber, JobState, QueueName, Rev, WorkType};

/// How many jobs a page has at the most, unless it says.
const LIMIT_DEFAULT: u32 = 100;
const KINDS: Kinds = Kinds { lists: &["state"], repeated: &["tag"], numbers: &["limit"] };

/// The query of `GET /work/list`: the jobs that agree with everything named.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
pub struct ListQuery {
    /// In this queue.
    pub queue: Option<QueueName>,
    /// In one of these states; none: in any. Comma-separated or repeated.
    #[schemars(rename = "state")]
    pub states: Vec<JobState>,
    /// Of this kind.
    pub work_type: Option<WorkType>,
    /// With all of these tags and values: `tag=key:value`, repeated; at most 16.
    #[schemars(rename = "tag", with = "Vec<String>", length(max = TAGS_MAX))]
    pub tags: Vec<(String, String)>,
    /// How many at the most, 1–1000; 100 unless said.
    #[schemars(range(min = 1, max = PAGE_MAX))]
    pub limit: u32,
    /// Go on where an earlier page ended.
    #[schemars(with = "Option<String>")]
    pub after: Option<Cursor>,
    /// How fresh the answer must be.
    #[schemars(rename = "consistency", default)]
    pub freshness: Freshness,
}

impl ListQuery {
    /// Reads the query of a list.
    pub fn parse(query: Option<&str>) -> Result<Self, ApiError> {
        let parameters = query::parameters(query.unwrap_or_default(), KINDS)?;
        let mut fields = Fields::of_parameters(&parameters)?;
        let read = Self {
            queue: fields.name("queue", QueueName::parse)?,
            states: states(&mut fields)?,
            work_type: fields.name("work_type", WorkType::parse)?,
            tags: tags(&mut fields)?,
            limit: limit(&mut fields)?.unwrap_or(LIMIT_DEFAULT),
            after: cursor(&mut fields)?,
            freshness: freshness(&mut fields)?,
        };
        fields.finish().map(|()| read)
    }
}

fn states(fields: &mut Fields<'_>) -> Result<Vec<JobState>, ApiError> {
    let wanted = "names of states, such as \"pending\" or \"pending,running\"";
    Ok(fields.value("state", wanted)?.unwrap_or_default())
}

fn tags(fields: &mut Fields<'_>) -> Result<Vec<(String, String)>, ApiError> {
    let wanted = "`key:value`, at most 16 times";
    let invalid = || ApiError::invalid("tag", format!("must be {wanted}"));
    let tags: Vec<String> = fields.value("tag", wanted)?.unwrap_or_default();
    if tags.len() > TAGS_MAX {
        return Err(invalid());
    }
    let pairs = tags.iter().map(|tag| tag.split_once(':').ok_or_else(invalid));
    pairs.map(|pair| pair.map(|(key, value)| (key.to_owned(), value.to_owned()))).collect()
}

fn cursor(fields: &mut Fields<'_>) -> Result<Option<Cursor>, ApiError> {
    let wanted = "the `next` of an earlier page";
    let Some(text) = fields.value::<String>("after", wanted)? else { return Ok(None) };
    let invalid = || ApiError::invalid("after", format!("must be {wanted}"));
    Cursor::parse(&text).map(Some).ok_or_else(invalid)
}

/// A place in the order of adding, between two pages. Text that means nothing to clients:
///
/// ```text
/// c1-<the number of the last job that was looked at, in lower-case hexadecimal, no leading zeros>
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor(pub JobNumber);

/// What a cursor of this layout begins with; another layout takes another number.
const VERSION: &str = "c1-";

impl Cursor {
    /// Reads one; `None` when it is none of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let number = u64::from_str_radix(text.strip_prefix(VERSION)?, 16).ok()?;
        // One place, one text: no sign, no capitals, no leading zeros.
        Some(Self(JobNumber(number))).filter(|cursor| cursor.to_string() == text)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let JobNumber(number) = self.0;
        write!(f, "{VERSION}{number:x}")
    }
}

/// The answer to `GET /work/list`. `next` is text of the server's: a client hands it back as it is.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ListResponse")]
pub struct ListResponse<Item = Job> {
    /// The jobs, in add order. There may be fewer than were asked for, even none, before the end.
    pub items: Vec<Item>,
    /// The `after` of the next page; `null` at the end.
    #[serde(default)]
    pub next: Option<String>,
    /// The revision of this answer: it shows all that was done until then.
    pub rev: Rev,
}

#[cfg(test)]
mod tests;
