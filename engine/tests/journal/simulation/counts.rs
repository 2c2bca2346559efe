//! How often each kind of thing happened, and that it was often enough to prove something.

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident: at least $least:literal,)*) => {
        /// How often each kind of thing happened.
        #[derive(Debug, Default)]
        pub(super) struct Counts {
            $($(#[$doc])* pub(super) $name: u64,)*
        }

        impl Counts {
            pub(super) fn add(&mut self, more: &Counts) {
                $(self.$name += more.$name;)*
            }

            /// That what was meant to be tried was.
            pub(super) fn check(&self) {
                $(assert!(self.$name >= $least, "only {} {}; {} were expected", self.$name, stringify!($name), $least);)*
            }
        }
    };
}

counts! {
    inputs: at least 20_000,
    faults: at least 1000,
    freezes: at least 60,
    swaps: at least 500,
    swaps_refused: at least 300,
    confirms: at least 200,
    rewinds: at least 200,
    snapshots: at least 500,
    /// Snapshots while somebody was to leave, and starts that knew of that.
    snapshots_leaving: at least 10,
    found_leaving: at least 20,
    /// Times that the disk took.
    in_flight: at least 200,
    /// Leaves that a frozen room could not hear of; that the logic failed on, now and once more; that a rewind lost; and that were
    /// heard of at last.
    leaving: at least 20,
    leaves_failed: at least 20,
    leaves_failed_again: at least 20,
    leaves_lost: at least 5,
    left_late: at least 20,
    /// Rooms.
    closed: at least 100,
    kills: at least 200,
    power_cuts: at least 200,
    /// Of the disk.
    failures: at least 100,
    /// Starts that were cut short themselves.
    failed_starts: at least 50,
    /// Ends that were in the middle of something.
    in_the_middle: at least 200,
    /// Ends in the middle of a change of the verdicts.
    verdicts_in_doubt: at least 20,
    /// Ends within an input; what was quarantined for them, was refused then, and was passed over by a recovery.
    ended_in_inputs: at least 100,
    quarantined: at least 50,
    quarantined_silently: at least 5,
    refused: at least 20,
    passed_over: at least 10,
    /// Inputs that nobody had been told of, and that were lost.
    lost: at least 50,
    /// Trials that were taken back at a start, and confirmed.
    unconfirmed: at least 50,
    confirmed_late: at least 5,
    /// Snapshots.
    damaged: at least 20,
}
