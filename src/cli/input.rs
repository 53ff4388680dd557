//! JSON that is given on the command line: as text, as `@file`, or as `-` for stdin.

use std::{io::Read as _, time::Duration};

use serde_json::value::RawValue;

use super::Failure;

/// Reads `given` and checks that it is JSON of at most `bytes_max` bytes. The bytes stay as they came.
pub(super) fn json(flag: &str, given: &str, bytes_max: usize) -> Result<Box<RawValue>, Failure> {
    let text = match given.strip_prefix('@') {
        Some(path) => std::fs::File::open(path)
            .and_then(|file| read(file, bytes_max))
            .map_err(|error| Failure::usage(format!("{flag}: cannot read {path}: {error}")))?,
        None if given == "-" => read(std::io::stdin().lock(), bytes_max)
            .map_err(|error| Failure::usage(format!("{flag}: cannot read stdin: {error}")))?,
        None => given.to_owned(),
    };
    if text.len() > bytes_max {
        return Err(Failure::usage(format!("{flag} is larger than {bytes_max} bytes")));
    }
    RawValue::from_string(text.trim().to_owned()).map_err(|fault| {
        let hint = "text needs quotes of its own: '\"text\"'";
        Failure::usage(format!("{flag} is not JSON: {fault} ({hint})"))
    })
}

/// Reads one byte more than is allowed, so that the caller sees that it is too much.
fn read(source: impl std::io::Read, bytes_max: usize) -> std::io::Result<String> {
    let mut text = String::new();
    source.take(bytes_max as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

/// As the contract wants it.
pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_kept_as_it_came() {
        assert_eq!(
            json("--payload", " {\"b\":1,  \"a\":2.50} ", 99).unwrap().get(),
            "{\"b\":1,  \"a\":2.50}"
        );
    }

    #[test]
    fn what_is_not_json_is_refused_with_a_hint() {
        let refused = json("--payload", "hello", 99).unwrap_err().render(false);
        assert!(
            refused.contains("--payload is not JSON") && refused.contains("'\"text\"'"),
            "{refused}"
        );
        assert!(json("--payload", "{} {}", 99).is_err());
        assert!(
            json("--payload", "[1,2,3]", 3).unwrap_err().render(false).contains("larger than 3")
        );
    }

    #[test]
    fn a_file_is_read_and_a_missing_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.json");
        std::fs::write(&path, "[1]\n").unwrap();
        let given = format!("@{}", path.display());
        assert_eq!(json("--payload", &given, 99).unwrap().get(), "[1]");
        let refused = json("--payload", "@/nonexistent", 99).unwrap_err().render(false);
        assert!(refused.contains("cannot read /nonexistent"), "{refused}");
    }
}
