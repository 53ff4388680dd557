//! Finished jobs: `GET /work/history`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    ApiError, Freshness, Job,
    fields::Fields,
    query::{self, Kinds},
    read::freshness,
};
use crate::queue::{JobState, Rev};

/// How many jobs an answer has unless it is asked for another number.
const LIMIT_DEFAULT: u64 = 100;
/// The most jobs of an answer.
const LIMIT_MAX: u64 = 1000;
const KINDS: Kinds = Kinds { lists: &["status"], repeated: &[], numbers: &["limit"] };

/// The query of `GET /work/history`.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
pub struct HistoryQuery {
    /// In one of these terminal states; in any, when none is named. Comma-separated or repeated.
    #[schemars(rename = "status")]
    pub states: Vec<JobState>,
    /// At most so many, 1 to 1000; 100 unless said.
    #[schemars(range(min = 1, max = LIMIT_MAX))]
    pub limit: usize,
    /// How fresh the jobs of the state must be.
    #[schemars(rename = "consistency", default)]
    pub freshness: Freshness,
}

impl HistoryQuery {
    /// Reads the query.
    pub fn parse(query: Option<&str>) -> Result<Self, ApiError> {
        let parameters = query::parameters(query.unwrap_or_default(), KINDS)?;
        let mut fields = Fields::of_parameters(&parameters)?;
        let limit = fields.integer("limit", 1..=LIMIT_MAX)?.unwrap_or(LIMIT_DEFAULT);
        let read = Self {
            states: states(&mut fields)?,
            limit: usize::try_from(limit).expect("the range was checked"),
            freshness: freshness(&mut fields)?,
        };
        fields.finish().map(|()| read)
    }
}

fn states(fields: &mut Fields<'_>) -> Result<Vec<JobState>, ApiError> {
    let wanted = "one or more of completed, failed, cancelled, expired";
    let states = fields.value::<Vec<JobState>>("status", wanted)?.unwrap_or_default();
    if states.iter().all(|state| state.is_terminal()) {
        Ok(states)
    } else {
        Err(ApiError::invalid("status", format!("must be {wanted}")))
    }
}

/// The answer to `GET /work/history`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct HistoryResponse {
    /// Finished jobs, the last one first: those of the queue's state, then those of the archive of the
    /// node that answers.
    pub history: Vec<Job>,
    /// How many these are.
    pub count: usize,
    /// Why there is nothing of the archive, if it was looked for and could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive_unavailable: Option<String>,
    /// The revision of this answer.
    pub rev: Rev,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_names_its_states_and_its_length() {
        let all = HistoryQuery { states: vec![], limit: 100, freshness: Freshness::Linearizable };
        assert_eq!(HistoryQuery::parse(None).unwrap(), all);
        let query = "status=failed,expired&limit=7&status=cancelled&consistency=stale";
        let read = HistoryQuery::parse(Some(query)).unwrap();
        let states = vec![JobState::Failed, JobState::Expired, JobState::Cancelled];
        assert_eq!(read, HistoryQuery { states, limit: 7, freshness: Freshness::Stale });
        for (query, field) in [
            ("status=pending", "status"),
            ("status=failed,bad", "status"),
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("limit=x", "limit"),
            ("queue=a", "queue"),
        ] {
            assert_eq!(HistoryQuery::parse(Some(query)).unwrap_err().details["field"], field);
        }
    }
}
