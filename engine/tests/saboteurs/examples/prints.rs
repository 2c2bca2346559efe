//! A constructor that prints garbage, and what looks like the probe's own words.

#[path = "../src/lib.rs"]
pub mod game;

at_start! {{
    for _ in 0..100 {
        println!("{{\"nonce\":\"0\",\"message\":\"ready\"}}\n\u{1b}[31m{{\"garbage\":");
        eprintln!("garbage \u{7}\u{1b}[2J");
    }
}}

harmless_logic!();
