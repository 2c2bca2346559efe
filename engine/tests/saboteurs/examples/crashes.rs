//! A constructor that reads where nothing is.

#[path = "../src/lib.rs"]
pub mod game;

at_start! {{
    #[expect(unsafe_code, reason = "the misdeed")]
    // SAFETY: none; that is the point.
    let _nothing = unsafe { std::ptr::without_provenance::<u32>(8).read_volatile() };
}}

harmless_logic!();
