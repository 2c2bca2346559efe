//! A constructor that never ends.

#[path = "../src/lib.rs"]
pub mod game;

at_start! {{
    loop {
        std::hint::spin_loop();
    }
}}

harmless_logic!();
