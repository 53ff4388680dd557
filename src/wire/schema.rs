//! The schemas of what `derive` cannot describe: the queue's names, which know nothing of JSON
//! Schema, and the forms that a request's field may take.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::queue::{
    AttemptEnd, GroupName, JobId, JobState, OnDependencyFailure, QueueName, RequestId, Rev, Token,
    WorkType, WorkerId,
};

macro_rules! schemas {
    ($($(#[doc = $doc:literal])* $name:ident $schema:tt)*) => {
        $(impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let mut schema = json_schema!($schema);
                schema.insert("description".to_owned(), concat!($($doc),*).trim().into());
                schema
            }
        })*
    };
}

schemas! {
    /// A job's id and idempotency key.
    JobId { "type": "string", "pattern": "^[A-Za-z0-9._:-]{1,128}$" }
    /// A queue's name.
    QueueName { "type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$" }
    /// A job's kind.
    WorkType { "type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$" }
    /// A worker's name.
    WorkerId { "type": "string", "pattern": "^[A-Za-z0-9._:-]{1,128}$" }
    /// The name of a group of jobs, of which at most one is leased at a time.
    GroupName { "type": "string", "pattern": "^[A-Za-z0-9._:-]{1,128}$" }
    /// What makes a call safe to repeat.
    RequestId { "type": "string", "pattern": "^[A-Za-z0-9._:-]{1,128}$" }
    /// The revision of the queue's state: raised by one at each change, each grant and each expiry.
    Rev { "type": "integer", "minimum": 0, "maximum": 9_007_199_254_740_991_u64 }
    /// A fencing token: the revision of its grant. It strictly grows and is never reused.
    Token { "type": "integer", "minimum": 0, "maximum": 9_007_199_254_740_991_u64 }
    /// Where a job is in its life; the last four are terminal.
    JobState {
        "type": "string",
        "enum": ["scheduled", "blocked", "pending", "claimed", "running", "completed", "failed",
            "cancelled", "expired"],
    }
    /// How an attempt ended.
    AttemptEnd {
        "type": "string",
        "enum": ["completed", "failed", "released", "expired", "worker_down", "cancelled"],
    }
    /// Whether a job fails or runs when a dependency does not complete.
    OnDependencyFailure { "type": "string", "enum": ["fail", "run"] }
    /// Milliseconds, or a duration as people write it: `"30s"`, `"1h 5m"`, `"PT30S"`.
    DurationMs { "type": ["integer", "string"], "minimum": 0 }
}

/// A request's duration, in the schema alone: its value is read as a number of milliseconds.
pub(super) enum DurationMs {}

/// A setting that `null` clears, in the schema alone. `oneOf`, because elsewhere a `null` means as
/// much as an absent field, and is not shown.
pub(super) struct Setting<T>(std::marker::PhantomData<T>);

impl<T: JsonSchema> JsonSchema for Setting<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("SettingOf{}", T::schema_name()).into()
    }

    fn json_schema(schemas: &mut SchemaGenerator) -> Schema {
        json_schema!({ "oneOf": [schemas.subschema_for::<T>(), { "type": "null" }] })
    }
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;

    use super::*;

    /// serde names every variant when it meets one that it does not know.
    fn names_known_to_serde<T: DeserializeOwned>() -> Vec<String> {
        let fault = serde_json::from_str::<T>("\"?\"").err().expect("not a variant").to_string();
        fault.split('`').skip(3).step_by(2).map(str::to_owned).collect()
    }

    fn names_of_the_schema<T: JsonSchema>() -> Vec<String> {
        let schema = SchemaGenerator::default().into_root_schema_for::<T>();
        serde_json::from_value(schema.get("enum").expect("an enum").clone()).unwrap()
    }

    #[test]
    fn the_schemas_name_every_variant() {
        assert_eq!(names_of_the_schema::<JobState>(), names_known_to_serde::<JobState>());
        assert_eq!(names_of_the_schema::<AttemptEnd>(), names_known_to_serde::<AttemptEnd>());
    }

    #[test]
    fn the_longest_names_are_those_of_the_schemas() {
        type Parse = fn(&str) -> bool;
        let names: [(Schema, Parse); 3] = [
            (schemars::schema_for!(JobId), |text| JobId::parse(text).is_ok()),
            (schemars::schema_for!(QueueName), |text| QueueName::parse(text).is_ok()),
            (schemars::schema_for!(WorkType), |text| WorkType::parse(text).is_ok()),
        ];
        for (schema, is_name) in names {
            let pattern = schema.get("pattern").and_then(|pattern| pattern.as_str()).unwrap();
            let (alphabet, longest) = pattern.split_once("]{1,").unwrap();
            let longest: usize = longest.trim_end_matches("}$").parse().unwrap();
            assert!(is_name(&"a".repeat(longest)) && !is_name(&"a".repeat(longest + 1)));
            assert_eq!(is_name(":"), alphabet.contains(':'), "{pattern}");
        }
    }
}
