//! What a saboteur does where it is told to: a mark of one of these numbers is in its way.

pub const CRASH: u64 = 100;
pub const ABORT: u64 = 101;
pub const EXIT: u64 = 102;
pub const LOOP: u64 = 103;
pub const RECURSE: u64 = 104;
pub const ALLOCATE: u64 = 105;
pub const FORK: u64 = 106;
pub const THREAD: u64 = 107;
pub const OPEN: u64 = 108;
pub const PANIC: u64 = 109;
/// No misdeed, but for who does not read it.
pub const PRINT: u64 = 110;
pub const DAEMON: u64 = 111;
/// No misdeed, but for who tries many rooms.
pub const DAWDLE: u64 = 112;

/// More than a pipe holds.
const PRINTED_LINES: usize = 4_000;
/// Two rooms take longer than there is time to try the version on a third.
const DAWDLE_TIME: std::time::Duration = std::time::Duration::from_secs(2);
const ALLOCATED_BYTES: usize = 64 << 20;

#[expect(unsafe_code, reason = "the misdeed")]
unsafe extern "C" {
    fn fork() -> i32;
    safe fn pause() -> i32;
    safe fn setsid() -> i32;
    safe fn _exit(code: i32) -> !;
    fn waitpid(process: i32, status: *mut i32, options: i32) -> i32;
}

/// Nothing for any other number.
pub fn commit(number: u64) {
    match number {
        CRASH => crash(),
        ABORT => std::process::abort(),
        EXIT => std::process::exit(0),
        LOOP => {
            while std::hint::black_box(number) == LOOP {
                std::hint::spin_loop();
            }
        }
        RECURSE => drop(recurse(0)),
        ALLOCATE => loop {
            std::mem::forget(std::hint::black_box(vec![0u8; ALLOCATED_BYTES]));
        },
        FORK => fork_and_stay(),
        DAEMON => fork_and_get_away(),
        DAWDLE if is_rehearsal() => std::thread::sleep(DAWDLE_TIME),
        THREAD => drop(std::thread::spawn(|| {
            loop {
                std::thread::park();
            }
        })),
        OPEN => std::mem::forget(std::fs::File::open("/dev/null")),
        PANIC => panic!("as it was told"),
        PRINT => (0..PRINTED_LINES).for_each(|line| println!("line {line} of many that nobody asked for")),
        _ => {}
    }
}

/// Not in the engine: there it would hold up players.
fn is_rehearsal() -> bool {
    std::fs::read_to_string("/proc/thread-self/comm").is_ok_and(|name| name.trim_end() == "rehearsal")
}

fn crash() {
    let nowhere = std::ptr::without_provenance_mut::<u8>(8);
    #[expect(unsafe_code, reason = "the misdeed")]
    // SAFETY: none. Nothing is there.
    unsafe {
        nowhere.write_volatile(1);
    }
}

#[expect(unconditional_recursion, reason = "the misdeed")]
fn recurse(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 64]);
    recurse(depth + 1) + frame[0]
}

fn fork_and_stay() {
    #[expect(unsafe_code, reason = "the misdeed")]
    // SAFETY: the child does nothing that a copy of a process with threads may not.
    if unsafe { fork() } == 0 {
        loop {
            pause();
        }
    }
}

/// As a daemon does: into a session of its own, and away from its parent.
fn fork_and_get_away() {
    #[expect(unsafe_code, reason = "the misdeed")]
    // SAFETY: the child does nothing that a copy of a process with threads may not.
    let child = unsafe { fork() };
    if child == 0 {
        setsid();
        fork_and_stay();
        _exit(0);
    }
    #[expect(unsafe_code, reason = "the misdeed")]
    // SAFETY: no status is asked for.
    let _ = unsafe { waitpid(child, std::ptr::null_mut(), 0) };
}
