//! A constructor that starts a thread, which would outlive every version.

#[path = "../src/lib.rs"]
pub mod game;

at_start! {{
    std::thread::spawn(|| {
        loop {
            std::thread::park();
        }
    });
}}

harmless_logic!();
