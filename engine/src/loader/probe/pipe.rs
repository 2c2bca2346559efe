//! What a child writes, as it comes in.

use std::{
    io::{self, Read as _},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::io::ioctl_fionbio;

/// What to do with more bytes than are kept.
#[derive(Clone, Copy, Debug)]
pub(super) enum Keep {
    Start(usize),
    End(usize),
}

/// Our end of a child's output, read without blocking and without limit, kept within one.
#[derive(Debug)]
pub(super) struct Pipe {
    file: Option<std::fs::File>,
    keep: Keep,
    pub(super) kept: Vec<u8>,
}

impl Pipe {
    pub(super) fn new(fd: Option<OwnedFd>, keep: Keep) -> io::Result<Self> {
        if let Some(fd) = &fd {
            ioctl_fionbio(fd, true)?;
        }
        Ok(Self { file: fd.map(Into::into), keep, kept: Vec::new() })
    }

    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_ref().map(AsFd::as_fd)
    }

    /// Takes what is there now, though no more than one pipe's worth: a writer without end must not keep us here.
    pub(super) fn drain(&mut self) -> io::Result<()> {
        let mut buffer = [0; 16 << 10];
        for _ in 0..8 {
            let Some(file) = &mut self.file else { return Ok(()) };
            match file.read(&mut buffer) {
                Ok(0) => self.file = None,
                Ok(count) => self.take(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8]) {
        match self.keep {
            Keep::Start(max) => {
                let room = max.saturating_sub(self.kept.len());
                self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
            Keep::End(max) => {
                self.kept.extend_from_slice(bytes);
                let excess = self.kept.len().saturating_sub(max);
                self.kept.drain(..excess);
            }
        }
    }
}

/// Fit for a log and a terminal: no control characters but newlines, no broken UTF-8.
pub(super) fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.trim_end().chars().map(|c| if c.is_control() && c != '\n' { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kept_part_of_a_pipe_is_bounded() {
        let mut start = Pipe::new(None, Keep::Start(4)).unwrap();
        let mut end = Pipe::new(None, Keep::End(4)).unwrap();
        for bytes in [&b"abc"[..], b"def", b"ghijklm"] {
            start.take(bytes);
            end.take(bytes);
        }
        assert_eq!((&*start.kept, &*end.kept), (&b"abcd"[..], &b"jklm"[..]));
    }

    #[test]
    fn control_characters_are_not_passed_on() {
        assert_eq!(printable(b"one\ntwo\x1b[31m\xff\r\n"), "one\ntwo\u{fffd}[31m\u{fffd}");
    }
}
