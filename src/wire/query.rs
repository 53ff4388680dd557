//! Query parameters, as JSON values of the same meaning.

use std::collections::BTreeMap;

use serde_json::{Value, value::RawValue};

use super::{ApiError, Code};

/// What a query says: JSON values by the parameters' names.
pub(super) type Parameters = BTreeMap<String, Box<RawValue>>;

/// Which parameters are more than a string.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Kinds {
    /// May be repeated or comma-separated, and become a list.
    pub(super) lists: &'static [&'static str],
    /// May be repeated, and become a list; a comma is a letter of theirs.
    pub(super) repeated: &'static [&'static str],
    /// Become a number when they are all digits.
    pub(super) numbers: &'static [&'static str],
}

/// Reads `a=1&b=x%20y`.
pub(super) fn parameters(query: &str, kinds: Kinds) -> Result<Parameters, ApiError> {
    let mut values: BTreeMap<String, Value> = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, text) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, text) = (decoded(name)?, decoded(text)?);
        match values.get_mut(&name) {
            Some(Value::Array(list)) if kinds.repeated.contains(&&*name) => list.push(text.into()),
            Some(Value::Array(list)) => list.extend(split(&text)),
            Some(_) => {
                return Err(ApiError::invalid(&name, "was given twice; send it once"));
            }
            None => {
                let value = match name.as_str() {
                    name if kinds.lists.contains(&name) => split(&text).collect(),
                    name if kinds.repeated.contains(&name) => vec![text].into(),
                    name if kinds.numbers.contains(&name) => number(text),
                    _ => text.into(),
                };
                values.insert(name, value);
            }
        }
    }
    let raw = values.into_iter().map(|(name, value)| {
        let raw = serde_json::value::to_raw_value(&value).expect("a Value is JSON");
        (name, raw)
    });
    Ok(raw.collect())
}

fn split(text: &str) -> impl Iterator<Item = Value> {
    text.split(',').filter(|part| !part.is_empty()).map(Value::from)
}

fn number(text: String) -> Value {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u64>() {
        Ok(number) if is_plain => number.into(),
        _ => text.into(),
    }
}

/// Decodes `%20` and `+`.
fn decoded(text: &str) -> Result<String, ApiError> {
    let invalid = || {
        let error = format!("The query parameter `{text}` is not percent-encoded UTF-8.");
        ApiError::new(Code::InvalidArgument, error).with("field", "query")
    };
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
                let (high, low) = (digit().ok_or_else(invalid)?, digit().ok_or_else(invalid)?);
                u8::try_from(high * 16 + low).map_err(|_| invalid())?
            }
            byte => byte,
        });
    }
    String::from_utf8(decoded).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_comma_separated_or_repeated() {
        let kinds = Kinds { lists: &["q"], repeated: &["t"], numbers: &["n"] };
        let read = parameters("q=a,b&n=5&q=c%2Fd&w=007&x=a+b&t=k:a,b&t=", kinds).unwrap();
        let read: Vec<_> = read.iter().map(|(name, raw)| (name.as_str(), raw.get())).collect();
        let expected = [
            ("n", "5"),
            ("q", r#"["a","b","c/d"]"#),
            ("t", r#"["k:a,b",""]"#),
            ("w", r#""007""#),
            ("x", r#""a b""#),
        ];
        assert_eq!(read, expected);
    }

    #[test]
    fn what_is_repeated_or_badly_encoded_is_refused() {
        for query in ["w=1&w=2", "w=%", "w=%zz", "w=%ff", "%ff=1"] {
            assert!(parameters(query, Kinds::default()).is_err(), "{query}");
        }
    }
}
