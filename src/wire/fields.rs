//! A request's fields, taken one by one: every refusal names its field and says what to do.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::RangeInclusive,
};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _, MapAccess, Visitor},
};
use serde_json::{error::Category, value::RawValue};

use super::{ApiError, Code, JSON_DEPTH_MAX, duration::parse_duration_ms, query::Parameters};
use crate::queue::{InvalidName, Patch, RequestId, Token};

/// What is known of a JSON object's fields, in their order; each is taken at most once.
#[derive(Debug)]
pub(super) struct Fields<'body> {
    fields: Vec<(String, Option<&'body RawValue>)>,
}

/// Checks what serde does not: UTF-8 in skipped strings, and the depth of values kept raw
/// (`RawValue` skips without recursion, so nothing else would bound what a reader of it meets).
pub(super) fn checked_text(body: &[u8]) -> Result<&str, ApiError> {
    let text = std::str::from_utf8(body).map_err(|fault| {
        let error = format!("The body is not UTF-8 (byte {}).", fault.valid_up_to());
        ApiError::new(Code::InvalidJson, error)
    })?;
    if text.trim_ascii().is_empty() {
        return Err(ApiError::new(Code::InvalidJson, "The body is empty; send a JSON object."));
    }
    if depth(body) > JSON_DEPTH_MAX {
        let error = format!("The body is nested deeper than {JSON_DEPTH_MAX} levels.");
        return Err(ApiError::new(Code::InvalidJson, error));
    }
    Ok(text)
}

/// The greatest nesting of brackets outside strings. Of malformed JSON it is some number; the parser
/// refuses that after.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => skip_string(&mut bytes),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

fn skip_string(bytes: &mut std::slice::Iter<'_, u8>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => _ = bytes.next(),
            b'"' => return,
            _ => {}
        }
    }
}

impl<'body> Fields<'body> {
    /// Reads a whole body: one object and nothing after it.
    pub(super) fn of_body(body: &'body [u8]) -> Result<Self, ApiError> {
        Self::of_text(checked_text(body)?)
    }

    /// As [`Fields::of_body`], of a call that needs nothing said: an empty body has no field.
    pub(super) fn of_optional_body(body: &'body [u8]) -> Result<Self, ApiError> {
        if body.trim_ascii().is_empty() { Ok(Self::none()) } else { Self::of_body(body) }
    }

    /// Reads query parameters.
    pub(super) fn of_parameters(parameters: &'body Parameters) -> Result<Self, ApiError> {
        let mut fields = Self::none();
        for (name, value) in parameters {
            fields.insert(name, value)?;
        }
        Ok(fields)
    }

    /// Reads one object out of a body that was checked.
    pub(super) fn of_raw(object: &'body RawValue) -> Result<Self, ApiError> {
        Self::of_text(object.get())
    }

    fn of_text(text: &'body str) -> Result<Self, ApiError> {
        serde_json::from_str(text).map_err(|fault| match fault.classify() {
            Category::Data => misfit(&fault),
            _ => ApiError::new(Code::InvalidJson, format!("The body is not JSON: {fault}.")),
        })
    }

    /// No field at all.
    pub(super) fn none() -> Self {
        Self { fields: Vec::new() }
    }

    /// Adds a field from elsewhere (a query parameter).
    pub(super) fn insert(&mut self, name: &str, value: &'body RawValue) -> Result<(), ApiError> {
        if self.has(name) {
            return Err(ApiError::invalid(name, "was given twice; send it once"));
        }
        self.fields.push((name.to_owned(), Some(value)));
        Ok(())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(field, value)| field == name && value.is_some())
    }

    /// Lets `alias` stand for `name`.
    pub(super) fn alias(&mut self, name: &str, alias: &str) -> Result<(), ApiError> {
        if self.has(name) && self.has(alias) {
            let reason = format!("is another name of `{name}`; send one of them");
            return Err(ApiError::invalid(alias, reason));
        }
        if let Some((field, _)) = self.fields.iter_mut().find(|(field, _)| field == alias) {
            name.clone_into(field);
        }
        Ok(())
    }

    /// Takes a value as it came; `null` is a value.
    pub(super) fn raw(&mut self, name: &str) -> Option<&'body RawValue> {
        self.fields.iter_mut().find(|(field, _)| field == name).and_then(|(_, value)| value.take())
    }

    /// Takes a value that is not `null`, of any type that serde reads; `wanted` says what it must be.
    pub(super) fn value<T: DeserializeOwned>(
        &mut self,
        name: &str,
        wanted: &str,
    ) -> Result<Option<T>, ApiError> {
        let Some(raw) = self.raw(name).filter(|raw| raw.get() != "null") else { return Ok(None) };
        let value = serde_json::from_str(raw.get());
        value.map(Some).map_err(|_| ApiError::invalid(name, format!("must be {wanted}")))
    }

    /// Takes a name: a string that passes `parse`.
    pub(super) fn name<T>(
        &mut self,
        name: &str,
        parse: fn(&str) -> Result<T, InvalidName>,
    ) -> Result<Option<T>, ApiError> {
        let Some(text) = self.value::<String>(name, "a string")? else { return Ok(None) };
        parse(&text).map(Some).map_err(|fault| ApiError::invalid(name, fault))
    }

    /// Takes a list of names; an absent one is empty. A single string is a list of one.
    pub(super) fn names<T>(
        &mut self,
        name: &str,
        parse: fn(&str) -> Result<T, InvalidName>,
    ) -> Result<Vec<T>, ApiError> {
        let names = self.value::<OneOrMany>(name, "a list of strings")?;
        let names = names.map_or_else(Vec::new, OneOrMany::into_vec);
        if names.len() > super::BATCH_ITEMS_MAX {
            let reason = format!("must have at most {} entries", super::BATCH_ITEMS_MAX);
            return Err(ApiError::invalid(name, reason));
        }
        let checked = names.iter().map(|text| parse(text));
        checked.collect::<Result<_, _>>().map_err(|fault| ApiError::invalid(name, fault))
    }

    /// Takes an integer in `range`.
    pub(super) fn integer(
        &mut self,
        name: &str,
        range: RangeInclusive<u64>,
    ) -> Result<Option<u64>, ApiError> {
        let wanted = format!("an integer from {} to {}", range.start(), range.end());
        let value = self.value::<u64>(name, &wanted)?;
        if value.is_some_and(|value| !range.contains(&value)) {
            return Err(ApiError::invalid(name, format!("must be {wanted}")));
        }
        Ok(value)
    }

    /// Takes a duration in `range` ms: an integer of ms, or a string such as `"30s"`.
    pub(super) fn duration_ms(
        &mut self,
        name: &str,
        range: RangeInclusive<u64>,
    ) -> Result<Option<u64>, ApiError> {
        self.duration(name, 1, range)
    }

    /// Takes a duration whose bare integers count seconds; answers ms, in `range` ms.
    pub(super) fn duration_seconds(
        &mut self,
        name: &str,
        range: RangeInclusive<u64>,
    ) -> Result<Option<u64>, ApiError> {
        self.duration(name, 1000, range)
    }

    fn duration(
        &mut self,
        name: &str,
        unit_ms: u64,
        range: RangeInclusive<u64>,
    ) -> Result<Option<u64>, ApiError> {
        let wanted = format!(
            "a duration from {} to {} ms: an integer, or a string such as \"30s\" or \"1h 5m\"",
            range.start(),
            range.end()
        );
        let Some(given) = self.value::<Duration>(name, &wanted)? else { return Ok(None) };
        let ms = match given {
            Duration::Number(number) => number.checked_mul(unit_ms),
            Duration::Text(text) => parse_duration_ms(&text),
        };
        match ms.filter(|ms| range.contains(ms)) {
            Some(ms) => Ok(Some(ms)),
            None => Err(ApiError::invalid(name, format!("must be {wanted}"))),
        }
    }

    /// Takes what to make of a setting: one that is not there stays as it is, `null` clears it, and
    /// `take` reads any other.
    pub(super) fn patch<T>(
        &mut self,
        name: &str,
        take: impl FnOnce(&mut Self) -> Result<Option<T>, ApiError>,
    ) -> Result<Patch<T>, ApiError> {
        let is_there = self.has(name);
        Ok(match take(self)? {
            Some(value) => Patch::Set(value),
            None if is_there => Patch::Clear,
            None => Patch::Keep,
        })
    }

    /// Takes `request_id`, which makes a call safe to repeat.
    pub(super) fn request_id(&mut self) -> Result<Option<RequestId>, ApiError> {
        self.name("request_id", RequestId::parse)
    }

    /// Takes the fencing token of a grant, which every call of a holder carries.
    pub(super) fn token(&mut self) -> Result<Token, ApiError> {
        let token = self.integer("token", 0..=(1 << 53) - 1)?;
        token.map(Token).ok_or_else(|| missing("token", "the `token` that the claim answered"))
    }

    /// Takes a map of strings to strings with at most `entries_max` entries of at most 256 bytes each.
    pub(super) fn strings(
        &mut self,
        name: &str,
        entries_max: usize,
    ) -> Result<BTreeMap<String, String>, ApiError> {
        let wanted = format!("an object of at most {entries_max} strings, each named once");
        let Some(raw) = self.raw(name).filter(|raw| raw.get() != "null") else {
            return Ok(BTreeMap::new());
        };
        let invalid = || ApiError::invalid(name, format!("must be {wanted}"));
        let entries = Fields::of_raw(raw).map_err(|_| invalid())?.fields;
        if entries.len() > entries_max {
            return Err(invalid());
        }
        let mut strings = BTreeMap::new();
        for (key, value) in entries {
            let value = value.map_or("", RawValue::get);
            let value: String = serde_json::from_str(value).map_err(|_| invalid())?;
            if key.len() > 256 || value.len() > 256 {
                return Err(ApiError::invalid(
                    name,
                    "must have keys and values of at most 256 bytes",
                ));
            }
            strings.insert(key, value);
        }
        Ok(strings)
    }

    /// Takes a list of at most 1000 values, as they came.
    pub(super) fn items(&mut self, name: &str) -> Result<Option<Vec<&'body RawValue>>, ApiError> {
        let wanted = format!("must be a list of at most {} items", super::BATCH_ITEMS_MAX);
        let Some(raw) = self.raw(name) else { return Ok(None) };
        let items: Vec<&RawValue> =
            serde_json::from_str(raw.get()).map_err(|_| ApiError::invalid(name, &wanted))?;
        if items.len() > super::BATCH_ITEMS_MAX {
            return Err(ApiError::invalid(name, wanted).with("count", items.len()));
        }
        Ok(Some(items))
    }

    /// Ends the reading: whatever was not taken is unknown.
    pub(super) fn finish(self) -> Result<(), ApiError> {
        match self.fields.into_iter().find(|(_, value)| value.is_some()) {
            None => Ok(()),
            Some((name, _)) => Err(ApiError::invalid(&name, "is not a field of this call")),
        }
    }

    /// Ends the reading: whatever was not taken, as one object, in the order and with the bytes of
    /// its values as they came.
    pub(super) fn into_rest(self) -> String {
        let mut object = String::from("{");
        for (name, value) in self.fields {
            let Some(value) = value else { continue };
            if object.len() > 1 {
                object.push(',');
            }
            object.push_str(&serde_json::Value::from(name).to_string());
            object.push(':');
            object.push_str(value.get());
        }
        object.push('}');
        object
    }
}

/// The refusal of a request without `field`; `hint` says what to send.
pub(super) fn missing(field: &str, hint: &str) -> ApiError {
    ApiError::invalid(field, format!("is required: send {hint}"))
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Duration {
    Number(u64),
    Text(String),
}

const DUPLICATE: &str = "duplicate field `";

/// JSON, and not what it should be: a field stands twice in it, or it is no object.
fn misfit(fault: &serde_json::Error) -> ApiError {
    let fault = fault.to_string();
    match fault.strip_prefix(DUPLICATE).and_then(|rest| rest.rsplit_once('`')) {
        Some((field, _)) => ApiError::invalid(field, "was given twice; send it once"),
        None => ApiError::invalid("body", "must be a JSON object"),
    }
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let (mut fields, mut seen) = (Vec::new(), BTreeSet::new());
        while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
            if !seen.insert(name.clone()) {
                return Err(M::Error::custom(format_args!("{DUPLICATE}{name}`")));
            }
            fields.push((name, Some(value)));
        }
        Ok(Fields { fields })
    }
}

#[cfg(test)]
mod tests;
