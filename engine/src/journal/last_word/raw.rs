//! Signals that end the process, and `exit`, on their way to the last word.

use std::io;
use std::sync::OnceLock;

use rustix::process::Signal;

use super::{EXIT, FAULTS, say};

/// What was done about each of [`FAULTS`] before: the standard library tells of a stack that has overflowed.
static BEFORE: [OnceLock<libc::sigaction>; FAULTS.len()] = [const { OnceLock::new() }; FAULTS.len()];

type Handler = extern "C" fn(libc::c_int);
type HandlerOfThree = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);

/// Has these signals, and `exit`, say the last word. Once more does nothing.
///
/// # Errors
/// A signal cannot be caught.
pub(super) fn catch(faults: &[Signal]) -> io::Result<()> {
    for (fault, before) in faults.iter().zip(&BEFORE) {
        if before.get().is_some() {
            continue;
        }
        let signal = fault.as_raw();
        let mut known = default_action();
        // SAFETY: `known` is valid for a write, and no action is given.
        if unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut known) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // Before the handler is there, which looks for it.
        before.get_or_init(|| known);
        let mut action = default_action();
        action.sa_sigaction = on_fault as HandlerOfThree as usize;
        // A stack that has overflowed has no room for a handler.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: the handler is of the kind that the flags say, and calls only what may be called from one.
        if unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    static AT_EXIT: OnceLock<libc::c_int> = OnceLock::new();
    // SAFETY: the function is there for as long as the process, for it is part of the program.
    match AT_EXIT.get_or_init(|| unsafe { libc::atexit(on_exit) }) {
        0 => Ok(()),
        _ => Err(io::Error::other("no place for another function at the exit")),
    }
}

/// Has a write beyond the size that a file of this process may have (`ulimit -f`) fail as on a full disk: the signal that comes with it
/// would end the process without a word. It blames no input, so it is none of [`FAULTS`].
///
/// # Errors
/// The signal cannot be caught.
pub(super) fn have_large_files_fail() -> io::Result<()> {
    let mut action = default_action();
    // Not ignored: programs that are started from here would be without it, too, and handlers do not outlive `exec`.
    action.sa_sigaction = on_large_file as Handler as usize;
    action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
    // SAFETY: the handler is of the kind that the flags say, and does nothing.
    match unsafe { libc::sigaction(libc::SIGXFSZ, &raw const action, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

extern "C" fn on_large_file(_: libc::c_int) {}

/// That of the system, with an empty mask.
fn default_action() -> libc::sigaction {
    // SAFETY: numbers and an optional function: all zeroes are a value of it, `SIG_DFL` without flags.
    unsafe { std::mem::zeroed() }
}

/// On the thread that calls `exit`; at the program's own end that is one without an input.
extern "C" fn on_exit() {
    say(EXIT);
}

extern "C" fn on_fault(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    if is_own(info) {
        say(u64::from(signal.unsigned_abs()));
    }
    let place = FAULTS.iter().position(|fault| fault.as_raw() == signal);
    let before = place
        .and_then(|place| BEFORE[place].get())
        .filter(|before| before.sa_sigaction != libc::SIG_DFL && before.sa_sigaction != libc::SIG_IGN);
    let Some(before) = before else {
        let action = default_action();
        // SAFETY: a valid action; may be called from a handler.
        unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
        // Comes when this returns. Not every fault comes again by itself.
        // SAFETY: may be called from a handler.
        unsafe { libc::raise(signal) };
        return;
    };
    if before.sa_flags & libc::SA_SIGINFO != 0 {
        // SAFETY: by its flags it is a handler of this kind.
        let handler = unsafe { std::mem::transmute::<usize, HandlerOfThree>(before.sa_sigaction) };
        handler(signal, info, context);
    } else {
        // SAFETY: as above.
        let handler = unsafe { std::mem::transmute::<usize, Handler>(before.sa_sigaction) };
        handler(signal);
    }
}

/// Whether the fault is the thread's own: whoever sends `SIGABRT` to the process blames no input.
fn is_own(info: *mut libc::siginfo_t) -> bool {
    // SAFETY: the system gives a valid one to a handler with `SA_SIGINFO`.
    let info = unsafe { &*info };
    // SAFETY: what it reads is there whatever the signal is; it is the sender for codes that are not the system's.
    info.si_code > 0 || unsafe { info.si_pid() } == std::process::id().cast_signed()
}
