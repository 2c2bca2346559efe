//! Small files that are written whole: JSON, and a last line with the checksum of all before it. A digit that flips to another one
//! is JSON as good as before, and is noticed only by that.

use std::io::{self, ErrorKind};
use std::path::Path;

use crc32c::crc32c;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::files::Files;

/// What the last line starts with.
const CHECKSUM: &str = "crc32c ";

/// Why such a file cannot be used.
#[derive(Debug)]
pub enum CheckedError {
    Read(io::Error),
    /// In one line.
    Damaged(String),
}

/// The bytes of a file that says this.
///
/// # Panics
/// The value has keys that are no strings.
pub fn encode(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).expect("what is kept in such a file has string keys only");
    bytes.push(b'\n');
    let line = line(&bytes);
    bytes.extend_from_slice(line.as_bytes());
    bytes
}

/// What a file says; `None` if there is none. One without a checksum is taken as it
/// is: earlier engines wrote none.
///
/// # Errors
/// [`CheckedError`].
pub fn read<T: DeserializeOwned>(files: &dyn Files, path: &Path) -> Result<Option<T>, CheckedError> {
    match files.read(path) {
        Ok(bytes) => decode(&bytes).map(Some).map_err(CheckedError::Damaged),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(CheckedError::Read(error)),
    }
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let (content, last) = bytes.split_at(bytes.len().saturating_sub(CHECKSUM.len() + 9));
    // What is left of a line that is damaged itself is no JSON.
    let content = if last.starts_with(CHECKSUM.as_bytes()) { content } else { bytes };
    if content.len() < bytes.len() && last != line(content).as_bytes() {
        return Err(format!("its checksum is \"{}\", its last line says otherwise", line(content).trim_end()));
    }
    serde_json::from_slice(content).map_err(|error| error.to_string())
}

fn line(content: &[u8]) -> String {
    format!("{CHECKSUM}{:08x}\n", crc32c(content))
}

/// What tests of such files ask of each.
#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Whatever bit flips in such a file, and wherever it is cut: that is noticed, unless what it says is still all there.
    pub(crate) fn check_damage<T: DeserializeOwned + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
        let whole: T = decode(bytes).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            decode::<T>(&damaged).expect_err("noticed");
        }
        let content = bytes.len() - CHECKSUM.len() - 9;
        for len in 0..bytes.len() {
            // As an earlier engine wrote it.
            let is_whole = (content - 1..=content).contains(&len);
            assert_eq!(decode::<T>(&bytes[..len]).ok().as_ref(), is_whole.then_some(&whole), "cut at {len}");
        }
    }

    #[test]
    fn a_checksum_is_looked_at_where_there_is_one() {
        let encoded = encode(&[1, 2]);
        assert_eq!(str::from_utf8(&encoded).unwrap(), "[\n  1,\n  2\n]\ncrc32c b05ba698\n");
        assert_eq!(decode::<Vec<u32>>(&encoded), Ok(vec![1, 2]));
        assert_eq!(decode::<Vec<u32>>(b"[1, 2]"), Ok(vec![1, 2]));
        let other = decode::<Vec<u32>>(b"[1, 3]\ncrc32c b05ba698\n").unwrap_err();
        assert!(other.ends_with("\", its last line says otherwise"), "{other}");
        assert!(decode::<Vec<u32>>(b"crc32c b05ba698\n").is_err());
    }
}
