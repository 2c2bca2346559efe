//! Named places between two durable effects, where a test has the engine end as if it were killed, or has a call on a file fail.
//!
//! For builds with debug assertions only; elsewhere nothing is asked and nothing is read. `HOTSEAT_KILL_AT=<name>[:<n>]` kills the
//! process at the place of that name when it comes there for the n-th time, `HOTSEAT_FAIL_AT` has the call on a file fail that was
//! carried out just before, with EIO. The tests go through [`Point::ALL`], so none is forgotten.

use std::io;

macro_rules! points {
    ($($(#[$doc:meta])* $point:ident = $name:literal,)*) => {
        /// A place between two durable effects.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Point {
            $($(#[$doc])* $point,)*
        }

        impl Point {
            /// Every one there is.
            pub const ALL: &[Point] = &[$(Point::$point,)*];

            /// As the environment names it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Point::$point => $name,)*
                }
            }
        }
    };
}

points! {
    /// Rotation: the segment that ends has been synced, and none follows it yet.
    RotationSynced = "rotation-synced",
    SegmentCreated = "segment-created",
    SegmentWritten = "segment-written",
    SegmentSynced = "segment-synced",
    SegmentRenamed = "segment-renamed",
    SegmentPlaced = "segment-placed",
    /// The journal is divided, and nothing of the snapshot is written.
    SnapshotBegun = "snapshot-begun",
    SnapshotCreated = "snapshot-created",
    SnapshotWritten = "snapshot-written",
    SnapshotSynced = "snapshot-synced",
    /// It has been read back.
    SnapshotChecked = "snapshot-checked",
    SnapshotRenamed = "snapshot-renamed",
    SnapshotPlaced = "snapshot-placed",
    /// One that is not needed any more has been removed.
    SnapshotPruned = "snapshot-pruned",
    /// A segment that is not needed any more has been removed.
    SegmentRemoved = "segment-removed",
    SegmentsForgotten = "segments-forgotten",
    /// `verdicts.json`: a trial begins, is confirmed, or is over.
    VerdictsCreated = "verdicts-created",
    VerdictsWritten = "verdicts-written",
    VerdictsSynced = "verdicts-synced",
    VerdictsRenamed = "verdicts-renamed",
    VerdictsPlaced = "verdicts-placed",
    /// A room has been swapped, and its journal does not have that yet.
    SwapApplied = "swap-applied",
    /// A room's journal has the swap.
    SwapRecorded = "swap-recorded",
    /// All of them have it, and nobody has been told.
    SwapWritten = "swap-written",
    SwapTold = "swap-told",
    /// It is on the disk, and whoever loads has not been told.
    SwapSettled = "swap-settled",
    /// The version on trial is to stay, and no file says so.
    ConfirmDecided = "confirm-decided",
    ConfirmApplied = "confirm-applied",
    ConfirmRecorded = "confirm-recorded",
    ConfirmTold = "confirm-told",
    ConfirmSettled = "confirm-settled",
    /// The version on trial is to go, and no room knows.
    RewindDecided = "rewind-decided",
    RewindApplied = "rewind-applied",
    RewindRecorded = "rewind-recorded",
    RewindTold = "rewind-told",
    RewindSettled = "rewind-settled",
    /// `failed-versions.json`.
    FailedCreated = "failed-created",
    FailedWritten = "failed-written",
    FailedSynced = "failed-synced",
    FailedRenamed = "failed-renamed",
    FailedPlaced = "failed-placed",
    /// A start has replayed a room's journal.
    RecoveryReplayed = "recovery-replayed",
    /// It has ended the trial that the journal ended in, and no journal has that yet.
    RecoveryEnded = "recovery-ended",
}

/// The points of a file that is written beside its name, synced and renamed.
#[derive(Debug, Clone, Copy)]
pub struct Placing {
    pub created: Point,
    pub written: Point,
    pub synced: Point,
    pub renamed: Point,
    pub placed: Point,
}

impl Placing {
    pub const SEGMENT: Placing = Placing {
        created: Point::SegmentCreated,
        written: Point::SegmentWritten,
        synced: Point::SegmentSynced,
        renamed: Point::SegmentRenamed,
        placed: Point::SegmentPlaced,
    };
    pub const SNAPSHOT: Placing = Placing {
        created: Point::SnapshotCreated,
        written: Point::SnapshotWritten,
        synced: Point::SnapshotSynced,
        renamed: Point::SnapshotRenamed,
        placed: Point::SnapshotPlaced,
    };
    pub const VERDICTS: Placing = Placing {
        created: Point::VerdictsCreated,
        written: Point::VerdictsWritten,
        synced: Point::VerdictsSynced,
        renamed: Point::VerdictsRenamed,
        placed: Point::VerdictsPlaced,
    };
    pub const FAILED: Placing = Placing {
        created: Point::FailedCreated,
        written: Point::FailedWritten,
        synced: Point::FailedSynced,
        renamed: Point::FailedRenamed,
        placed: Point::FailedPlaced,
    };
}

/// The process is at this place.
#[inline]
pub fn reached(point: Point) {
    reached_after(point, || ());
}

/// The process is at this place once `before` has been done, which is for making sure that it is.
#[inline]
pub fn reached_after(point: Point, before: impl FnOnce()) {
    #[cfg(debug_assertions)]
    if asked::KILL.is_now(point) {
        before();
        asked::kill();
    }
    #[cfg(not(debug_assertions))]
    let _ = (point, before);
}

/// As [`reached`], after a call on a file that may be made to fail.
///
/// # Errors
/// The one that was asked for.
#[inline]
pub fn called(point: Point) -> io::Result<()> {
    reached(point);
    #[cfg(debug_assertions)]
    if asked::FAIL.is_now(point) {
        return Err(rustix::io::Errno::IO.into());
    }
    Ok(())
}

#[cfg(debug_assertions)]
mod asked {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    use super::Point;

    pub(super) static KILL: Asked = Asked::new("HOTSEAT_KILL_AT");
    pub(super) static FAIL: Asked = Asked::new("HOTSEAT_FAIL_AT");

    /// What the environment asks for.
    pub(super) struct Asked {
        variable: &'static str,
        point: OnceLock<Option<(Point, u32)>>,
        times: AtomicU32,
    }

    impl Asked {
        const fn new(variable: &'static str) -> Asked {
            Asked { variable, point: OnceLock::new(), times: AtomicU32::new(0) }
        }

        pub(super) fn is_now(&self, point: Point) -> bool {
            let asked = self.point.get_or_init(|| {
                let text = std::env::var(self.variable).ok()?;
                Some(parse(&text).unwrap_or_else(|| panic!("{}: there is no place {text:?}", self.variable)))
            });
            let Some((_, time)) = asked.filter(|(asked, _)| *asked == point) else { return false };
            self.times.fetch_add(1, Ordering::Relaxed) + 1 == time
        }
    }

    fn parse(text: &str) -> Option<(Point, u32)> {
        let (name, time) = text.split_once(':').unwrap_or((text, "1"));
        let point = Point::ALL.iter().find(|point| point.name() == name)?;
        Some((*point, time.parse().ok()?))
    }

    pub(super) fn kill() -> ! {
        let _cannot_fail = kill_process(getpid(), Signal::KILL);
        loop {
            std::thread::park();
        }
    }
}
