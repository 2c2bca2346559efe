//! The seal: a trailer that says what the content's hash was when the plugin was built.
//!
//! An ELF file says nothing about its own integrity: a flipped bit in code or data loads and runs. So
//! `scripts/build_so.sh` appends 78 bytes, which every ELF loader ignores:
//!
//! ```text
//! hotseat-seal:   13 bytes, ASCII
//! <sha256>        64 lowercase hex digits: the sha256 of every byte before the trailer
//! \n              1 byte
//! ```
//!
//! A seal that does not fit its content refuses the file. A file without one is accepted and reported as unsealed:
//! the ELF check and the probe still catch what they can. The seal guards against accidents (a full disk, a cut copy, a bad cable),
//! not against malice: anyone can make one.

use sha2::Digest as _;

use super::digest::Sha256;

/// Bytes of the whole trailer.
pub const SEAL_BYTES: usize = LABEL.len() + HEX_BYTES + 1;
const LABEL: &[u8; 13] = b"hotseat-seal:";
const HEX_BYTES: usize = 64;
/// The label and the newline: what a trailer must say, whatever the content is.
const FIXED_BYTES: usize = LABEL.len() + 1;
/// From this many bytes of the fixed ones on, the trailer is a damaged seal and not the end of an unsealed file.
const FIXED_BYTES_MIN: usize = 10;
const _: () = assert!(SEAL_BYTES == 78 && FIXED_BYTES_MIN < FIXED_BYTES);

/// Whether a plugin carries the hash of its own content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seal {
    Sealed,
    Unsealed,
}

/// A plugin whose content is not what was sealed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealFault {
    #[error("damaged: the seal says sha256 {sealed}, the content has {content}; build it again")]
    Differs { sealed: Sha256, content: Sha256 },
    #[error("damaged: the seal at its end is not readable; build it again")]
    Unreadable,
    #[error(
        "damaged: {bytes} bytes of a seal follow its content, a seal has {SEAL_BYTES} and ends the file; build it again"
    )]
    Cut { bytes: usize },
}

/// What one pass over a file's bytes says about it.
#[derive(Clone, Debug)]
pub struct Hashed {
    /// Of every byte of the file, the trailer included: the identity of these bytes.
    pub sha256: Sha256,
    pub seal: Result<Seal, SealFault>,
}

/// The trailer of a content that has this hash.
#[must_use]
pub fn trailer(content: &Sha256) -> String {
    format!("hotseat-seal:{content}\n")
}

/// Hashes a file and compares it with its seal, in one pass.
pub fn hash(bytes: &[u8]) -> Hashed {
    let Some((content, trailer)) = split(bytes) else {
        return Hashed { sha256: Sha256::of(bytes), seal: Ok(Seal::Unsealed) };
    };
    let mut hasher = sha2::Sha256::new_with_prefix(content);
    let found = Sha256::from(<[u8; 32]>::from(hasher.clone().finalize()));
    hasher.update(trailer);
    let seal = match read(trailer) {
        None => Err(SealFault::Unreadable),
        Some(sealed) if sealed != found => Err(SealFault::Differs { sealed, content: found }),
        Some(_) => Ok(Seal::Sealed),
    };
    Hashed { sha256: <[u8; 32]>::from(hasher.finalize()).into(), seal }
}

/// Refuses an unsealed file whose ELF content ends at `content_bytes` and is followed by a piece of a seal: such a file
/// was cut within its seal, or something was appended to it.
pub fn check_tail(bytes: &[u8], content_bytes: usize) -> Result<(), SealFault> {
    let tail = &bytes[content_bytes.min(bytes.len())..];
    let common = tail.len().min(LABEL.len());
    if common > 0 && tail[..common] == LABEL[..common] {
        return Err(SealFault::Cut { bytes: tail.len() });
    }
    Ok(())
}

/// The trailer, when the last bytes are one or were one before they were damaged.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (content, trailer) = bytes.split_at_checked(bytes.len().checked_sub(SEAL_BYTES)?)?;
    let label = trailer.iter().zip(LABEL).filter(|(found, expected)| found == expected).count();
    let newline = usize::from(trailer.last() == Some(&b'\n'));
    (label + newline >= FIXED_BYTES_MIN).then_some((content, trailer))
}

fn read(trailer: &[u8]) -> Option<Sha256> {
    Sha256::from_hex(trailer.strip_prefix(LABEL)?.strip_suffix(b"\n")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(content: &[u8]) -> Vec<u8> {
        [content, trailer(&Sha256::of(content)).as_bytes()].concat()
    }

    #[test]
    fn a_seal_that_fits_is_sealed() {
        for content in [&b""[..], b"x", &[7; 1000]] {
            let bytes = sealed(content);
            assert_eq!(bytes.len(), content.len() + 78);
            let hashed = hash(&bytes);
            assert_eq!(hashed.seal, Ok(Seal::Sealed));
            assert_eq!(hashed.sha256, Sha256::of(&bytes));
        }
    }

    #[test]
    fn a_file_without_a_seal_is_unsealed() {
        for bytes in [&b""[..], b"x", &[b'\n'; 200], &b"hotseat-seal:".repeat(20)[..200]] {
            assert_eq!(hash(bytes).seal, Ok(Seal::Unsealed), "{bytes:?}");
            assert_eq!(hash(bytes).sha256, Sha256::of(bytes));
        }
    }

    #[test]
    fn changed_content_is_damaged_and_both_hashes_are_named() {
        let mut bytes = sealed(b"content");
        bytes[0] = b'K';
        let message = hash(&bytes).seal.unwrap_err().to_string();
        let (sealed, content) = (Sha256::of(b"content"), Sha256::of(b"Kontent"));
        assert_eq!(
            message,
            format!("damaged: the seal says sha256 {sealed}, the content has {content}; build it again")
        );
    }

    #[test]
    fn no_flipped_bit_survives_in_content_or_seal() {
        let bytes = sealed(b"some content");
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(hash(&flipped).seal.is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_cut_or_overgrown_seal_is_damaged() {
        let bytes = sealed(b"content");
        for cut in 8..bytes.len() {
            let message = check_tail(&bytes[..cut], 7).unwrap_err().to_string();
            assert_eq!(
                message,
                format!(
                    "damaged: {} bytes of a seal follow its content, a seal has 78 and ends the file; build it again",
                    cut - 7
                )
            );
        }
        let mut longer = bytes.clone();
        longer.extend_from_slice(b"more");
        assert_eq!(hash(&longer).seal, Ok(Seal::Unsealed));
        assert_eq!(check_tail(&longer, 7), Err(SealFault::Cut { bytes: 82 }));
        assert_eq!(check_tail(b"content", 7), Ok(()));
        assert_eq!(check_tail(b"content, and what some tool appended", 7), Ok(()));
    }
}
