//! The bearer token of the admin routes: made once, kept in a file that only its owner can read.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::rand::{GetRandomFlags, getrandom};
use subtle::ConstantTimeEq;

use crate::lock::write_atomically;

/// The name of the token's file in the data folder.
pub const TOKEN_FILE: &str = "engine.token";
const TOKEN_BYTES: usize = 32;
const TOKEN_DIGITS: usize = 2 * TOKEN_BYTES;

/// 64 lower-case hexadecimal digits from the operating system's generator.
#[derive(Clone)]
pub struct Token(String);

/// Why a token file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("{file} cannot be read: {source}")]
    Read { file: String, source: io::Error },
    #[error("{file} cannot be written: {source}")]
    Write { file: String, source: io::Error },
    #[error("{file} is not a regular file; remove it, and the next start makes a new token")]
    NotAFile { file: String },
    #[error(
        "{file} has mode {mode:04o}, so others on this machine may know the token; remove it, and the next start makes a new one"
    )]
    Open { file: String, mode: u32 },
    #[error(
        "{file} does not hold {TOKEN_DIGITS} lower-case hexadecimal digits; remove it, and the next start makes a new token"
    )]
    Malformed { file: String },
    #[error("the operating system gave no random bytes for a token: {source}")]
    Random { source: io::Error },
}

impl Token {
    /// The token in the file of this name in the data folder, made if there is none.
    ///
    /// # Errors
    /// [`TokenError`] if there is one that is malformed or that others can read, or if none can be made.
    pub fn load_or_make(data: &Path, name: &str) -> Result<Token, TokenError> {
        if let Some(token) = Token::load(data, name)? {
            return Ok(token);
        }
        let token = Token::random()?;
        let path = data.join(name);
        write_atomically(&path, format!("{}\n", token.0).as_bytes())
            .map_err(|source| TokenError::Write { file: path.display().to_string(), source })?;
        Ok(token)
    }

    /// The token in the file of this name in the data folder, `None` if it has none.
    ///
    /// # Errors
    /// [`TokenError`] if it is malformed or others can read it.
    pub fn load(data: &Path, name: &str) -> Result<Option<Token>, TokenError> {
        let path = data.join(name);
        let file = path.display().to_string();
        // Without NONBLOCK a FIFO under this name would hang the start.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let opened = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(&path);
        let mut opened = match opened {
            Ok(opened) => opened,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
                return Err(TokenError::NotAFile { file });
            }
            Err(source) => return Err(TokenError::Read { file, source }),
        };
        // Asked of the open file, not of the path, which could be another one by now.
        let metadata = opened.metadata().map_err(|source| TokenError::Read { file: file.clone(), source })?;
        if !metadata.is_file() {
            return Err(TokenError::NotAFile { file });
        }
        if metadata.mode() & 0o077 != 0 {
            return Err(TokenError::Open { file, mode: metadata.mode() & 0o7777 });
        }
        let mut bytes = Vec::with_capacity(TOKEN_DIGITS + 2);
        Read::take(&mut opened, TOKEN_DIGITS as u64 + 2)
            .read_to_end(&mut bytes)
            .map_err(|source| TokenError::Read { file: file.clone(), source })?;
        let digits = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        Token::parse(digits).map(Some).ok_or(TokenError::Malformed { file })
    }

    /// In a time that does not depend on how much of `presented` is right.
    #[must_use]
    pub fn matches(&self, presented: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(presented).into()
    }

    /// The digits, for the client that has to present them.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    fn random() -> Result<Token, TokenError> {
        let mut bytes = [0u8; TOKEN_BYTES];
        let count = getrandom(&mut bytes, GetRandomFlags::empty())
            .map_err(|errno| TokenError::Random { source: errno.into() })?;
        assert_eq!(count, TOKEN_BYTES, "the kernel fills requests of up to 256 bytes");
        Ok(Token(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    fn parse(digits: &[u8]) -> Option<Token> {
        let well_formed =
            digits.len() == TOKEN_DIGITS && digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        let text = well_formed.then(|| String::from_utf8(digits.to_vec()))?.ok()?;
        Some(Token(text))
    }
}

/// Never the digits: a token in a log is a token given away.
impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn check_refused(prepare: impl FnOnce(&Path), expected: &str) {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join(TOKEN_FILE);
        prepare(&path);
        let error = Token::load_or_make(data.path(), TOKEN_FILE).unwrap_err().to_string();
        assert_eq!(error.replace(&path.display().to_string(), "FILE"), expected);
    }

    fn write(path: &Path, text: &str, mode: u32) {
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn is_made_once_private_and_reused() {
        let data = tempfile::tempdir().unwrap();
        assert!(Token::load(data.path(), TOKEN_FILE).unwrap().is_none());
        let made = Token::load_or_make(data.path(), TOKEN_FILE).unwrap();
        let mode = std::fs::metadata(data.path().join(TOKEN_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = Token::load_or_make(data.path(), TOKEN_FILE).unwrap();
        assert_eq!(made.reveal(), again.reveal());
        let other = tempfile::tempdir().unwrap();
        assert_ne!(made.reveal(), Token::load_or_make(other.path(), TOKEN_FILE).unwrap().reveal());
    }

    #[test]
    fn matches_only_itself() {
        let data = tempfile::tempdir().unwrap();
        let token = Token::load_or_make(data.path(), TOKEN_FILE).unwrap();
        let digits = token.reveal().to_owned();
        assert!(token.matches(digits.as_bytes()));
        assert!(!token.matches(b""));
        assert!(!token.matches(&digits.as_bytes()[1..]));
        assert!(!token.matches(digits.to_uppercase().replace('0', "1").as_bytes()));
        assert!(!format!("{token:?}").contains(&digits));
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        check_refused(
            |path| write(path, &"a".repeat(64), 0o640),
            "FILE has mode 0640, so others on this machine may know the token; remove it, and the next start makes a new one",
        );
    }

    #[test]
    fn a_malformed_file_is_refused() {
        let expected =
            "FILE does not hold 64 lower-case hexadecimal digits; remove it, and the next start makes a new token";
        for text in
            ["", "hunter2\n", &"a".repeat(63), &"a".repeat(65), &"A".repeat(64), &format!("{}\n\n", "a".repeat(64))]
        {
            check_refused(|path| write(path, text, 0o600), expected);
        }
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let expected = "FILE is not a regular file; remove it, and the next start makes a new token";
        check_refused(|path| std::fs::create_dir(path).unwrap(), expected);
        check_refused(|path| std::os::unix::fs::symlink("/dev/null", path).unwrap(), expected);
    }
}
