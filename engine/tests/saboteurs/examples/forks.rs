//! A constructor that leaves a process behind.

#[path = "../src/lib.rs"]
pub mod game;

#[expect(unsafe_code, reason = "the misdeed")]
unsafe extern "C" {
    fn fork() -> i32;
    safe fn pause() -> i32;
}

at_start! {{
    #[expect(unsafe_code, reason = "the misdeed")]
    // SAFETY: the child does nothing that a copy of a process with threads may not.
    if unsafe { fork() } == 0 {
        loop {
            pause();
        }
    }
}}

harmless_logic!();
