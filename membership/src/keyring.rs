//! The keys that seal datagrams, and the file that they stand in.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

/// One key, bytes.
const KEY_BYTES: usize = 32;

/// The most keys in a ring. Two are enough to rotate; a datagram of nobody's costs a try of each key
/// that has its key id.
const KEYS_MAX: usize = 16;

/// Keys of a cluster: the first one seals, every one opens.
///
/// The file has one key a line, 64 hexadecimal digits; empty lines and what follows a `#` do not count.
/// To rotate: add the new key as the last line everywhere, then make it the first line everywhere, then
/// remove the old one.
#[derive(Clone, PartialEq, Eq)]
pub struct Keyring {
    keys: Vec<[u8; KEY_BYTES]>,
}

/// Why there is no keyring. Never shows a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The file cannot be read.
    #[error("cannot read the keyring {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line that is not a key.
    #[error("line {line} of the keyring {fault}")]
    Line {
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        fault: KeyFault,
    },
    /// No line has a key.
    #[error("the keyring has no key")]
    Empty,
    /// More keys than rotation needs.
    #[error("the keyring has more than {KEYS_MAX} keys")]
    TooMany,
}

/// What is wrong with a line of a keyring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// Not 64 characters.
    #[error("has {0} characters where a key has 64")]
    Length(usize),
    /// Characters that are no hexadecimal digits.
    #[error("has a character that is not a hexadecimal digit")]
    Digit,
    /// The same key a second time.
    #[error("repeats an earlier key")]
    Repeated,
}

impl Keyring {
    /// Reads the file. Whoever can read it can declare members down: it warns in the log when others
    /// than its owner can.
    pub fn read(path: &Path) -> Result<Self, KeyringError> {
        let unreadable = |source| KeyringError::Unreadable { path: path.to_owned(), source };
        let text = fs::read_to_string(path).map_err(unreadable)?;
        warn_if_open_to_others(path);
        Self::parse(&text)
    }

    /// The keys of a file's text.
    pub fn parse(text: &str) -> Result<Self, KeyringError> {
        let mut keys: Vec<[u8; KEY_BYTES]> = Vec::new();
        for (line, content) in (1..).zip(text.lines()) {
            let content = content.split('#').next().unwrap_or_default().trim();
            if content.is_empty() {
                continue;
            }
            let key = parse_key(content).map_err(|fault| KeyringError::Line { line, fault })?;
            if keys.contains(&key) {
                return Err(KeyringError::Line { line, fault: KeyFault::Repeated });
            }
            keys.push(key);
        }
        match keys.len() {
            0 => Err(KeyringError::Empty),
            1..=KEYS_MAX => Ok(Self { keys }),
            _ => Err(KeyringError::TooMany),
        }
    }

    /// The text of a keyring file with one new key, made of `randomness`: 32 bytes of the operating
    /// system's.
    pub fn generate(randomness: [u8; KEY_BYTES]) -> String {
        let digits: Vec<String> = randomness.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("# One key a line: the first seals, every one opens.\n{}\n", digits.concat())
    }

    pub(crate) fn keys(&self) -> &[[u8; KEY_BYTES]] {
        &self.keys
    }
}

fn parse_key(text: &str) -> Result<[u8; KEY_BYTES], KeyFault> {
    let digits: Vec<u8> = text
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()
        .ok_or(KeyFault::Digit)?;
    if digits.len() != 2 * KEY_BYTES {
        return Err(KeyFault::Length(digits.len()));
    }
    let mut key = [0; KEY_BYTES];
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair[0] << 4 | pair[1];
    }
    Ok(key)
}

#[cfg(unix)]
fn warn_if_open_to_others(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o077 != 0 {
        tracing::warn!(
            path = %path.display(),
            mode = format!("{:04o}", mode & 0o7777),
            "others than its owner may read the keyring: chmod 600"
        );
    }
}

#[cfg(not(unix))]
fn warn_if_open_to_others(_path: &Path) {}

impl fmt::Debug for Keyring {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Keyring of {}", self.keys.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1F";

    fn fault(text: &str) -> String {
        Keyring::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn keys_keep_their_order_and_comments_do_not_count() {
        let other = "f".repeat(64);
        let text = format!("# ours\n\n  {KEY}  # since May\n{other}\r\n");
        let keys = Keyring::parse(&text).unwrap();
        assert_eq!(keys.keys()[0][..3], [0, 1, 2]);
        assert_eq!(keys.keys()[0][31], 0x1f);
        assert_eq!(keys.keys()[1], [0xff; 32]);
    }

    #[test]
    fn a_generated_key_is_read_back() {
        let keyring = Keyring::parse(&Keyring::generate([7; 32])).unwrap();
        assert_eq!(keyring.keys(), [[7; 32]]);
    }

    #[test]
    fn a_fault_names_its_line_and_no_key() {
        assert_eq!(
            fault(&format!("# ours\n{}", &KEY[1..])),
            "line 2 of the keyring has 63 characters where a key has 64"
        );
        let digit = KEY.replace('f', "g");
        let not_hex = "line 1 of the keyring has a character that is not a hexadecimal digit";
        assert_eq!(fault(&digit), not_hex);
        assert_eq!(fault(&format!("{KEY}\n{KEY}")), "line 2 of the keyring repeats an earlier key");
        assert_eq!(fault("\n# nothing\n"), "the keyring has no key");
        assert!(!format!("{:?}", Keyring::parse(KEY).unwrap()).contains("00"));
    }

    #[test]
    fn a_ring_is_bounded() {
        let keys: Vec<String> = (0..=16u8).map(|byte| format!("{byte:02x}").repeat(32)).collect();
        assert_eq!(fault(&keys.join("\n")), "the keyring has more than 16 keys");
        assert!(Keyring::parse(&keys[1..].join("\n")).is_ok());
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Keyring::read(Path::new("/nowhere/keyring")).unwrap_err();
        assert!(error.to_string().starts_with("cannot read the keyring /nowhere/keyring: "));
    }
}
