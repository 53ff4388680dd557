//! The file with the keys of gossip: read by `serve`.

use std::{fs, path::Path};

use membership::Keyring;

use super::{Exit, Failure};

/// Larger than any sensible keyring; a wrong path (a device, a log) ends here.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Reads the keys.
///
/// # Errors
/// One line that names the setting and the file; nothing has been written.
pub(super) fn read(path: &Path) -> Result<Keyring, Failure> {
    let fault = |reason: String| {
        let message = format!("gossip_key_file: {}: {reason}", path.display());
        Failure::new(Exit::USAGE, "invalid_configuration", message)
    };
    let mut text = String::new();
    let file = fs::File::open(path).map_err(|error| fault(format!("cannot be read: {error}")))?;
    let length = std::io::Read::read_to_string(
        &mut std::io::Read::take(file, FILE_BYTES_MAX + 1),
        &mut text,
    );
    let length = length.map_err(|error| fault(format!("cannot be read: {error}")))?;
    if length as u64 > FILE_BYTES_MAX {
        return Err(fault("is larger than 64 KiB".to_owned()));
    }
    Keyring::parse(&text).map_err(|error| fault(error.to_string()))
}
