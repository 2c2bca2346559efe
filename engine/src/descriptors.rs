//! Open files: the engine needs some for itself, whatever its clients do. A journal that cannot open its next segment ends the
//! process.

use std::fs::File;
use std::os::fd::AsRawFd as _;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// So many are kept for journals, snapshots and loads; a quarter of all where there are few.
const RESERVE: u64 = 128;

/// Raises the limit as far as the system lets everybody: each player's connection is an open file.
pub fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, ?current, ?maximum, "the limit of open files stays as it is");
    }
}

/// Whether so many files are open, or soon will be by what is under way, that what is left is the engine's own.
pub fn are_short(under_way: usize) -> bool {
    let Some(limit) = getrlimit(Resource::Nofile).current else { return false };
    match File::open("/dev/null") {
        // The lowest number that is free.
        Ok(file) => {
            u64::try_from(file.as_raw_fd()).is_ok_and(|number| number + under_way as u64 >= limit - reserve(limit))
        }
        Err(error) => matches!(Errno::from_io_error(&error), Some(Errno::MFILE | Errno::NFILE)),
    }
}

fn reserve(limit: u64) -> u64 {
    RESERVE.min(limit / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_files_are_not_all_kept() {
        assert_eq!([0, 3, 64, 1024, 1 << 20].map(reserve), [0, 0, 16, 128, 128]);
    }
}
