//! A constructor that has SIGTERM ignored, by which the engine is asked to end.

#[path = "../src/lib.rs"]
pub mod game;

#[expect(unsafe_code, reason = "the misdeed")]
unsafe extern "C" {
    safe fn signal(number: i32, handler: usize) -> usize;
}

const SIGTERM: i32 = 15;
const SIG_IGN: usize = 1;

at_start! {{
    signal(SIGTERM, SIG_IGN);
}}

harmless_logic!();
