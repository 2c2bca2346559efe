//! The memory that the rewriting of tables may take.

use super::rewrite::RewriteError;

/// What is taken of it, and how much there is.
#[derive(Debug)]
pub(super) struct Budget {
    used: usize,
    bytes_max: usize,
}

impl Budget {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { used: 0, bytes_max }
    }

    /// To be called before the memory is taken: where there is not that much, nobody may take it.
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), RewriteError> {
        self.check(bytes)?;
        self.used += bytes;
        Ok(())
    }

    /// As `take`, for what is taken for a moment only.
    pub(super) fn check(&self, bytes: usize) -> Result<(), RewriteError> {
        if bytes > self.left() { Err(RewriteError::Memory { bytes_max: self.bytes_max }) } else { Ok(()) }
    }

    pub(super) fn give(&mut self, bytes: usize) {
        self.used = self.used.checked_sub(bytes).expect("only what was taken is given back");
    }

    pub(super) fn used(&self) -> usize {
        self.used
    }

    pub(super) fn left(&self) -> usize {
        self.bytes_max - self.used
    }
}
