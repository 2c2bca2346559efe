//! A destructor that aborts: it would spoil the engine's orderly end.

#[path = "../src/lib.rs"]
pub mod game;

const _: () = {
    extern "C" fn run() {
        std::process::abort()
    }
    #[used]
    #[expect(unsafe_code, reason = "the section that the dynamic linker runs at the end")]
    #[unsafe(link_section = ".fini_array")]
    static RUN: extern "C" fn() = run;
};

harmless_logic!();
