//! What the macros and types refuse, and what they say to write instead.

use std::process::Command;

/// The messages of the compiler change from version to version; those in `ui/` are of this one.
const COMPILER: &str = "rustc 1.95.";

#[test]
fn mistakes_are_refused_with_advice() {
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(compiler).arg("--version").output().expect("a compiler, since this was compiled");
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    if version.stdout.starts_with(COMPILER.as_bytes()) {
        cases.compile_fail("tests/ui/*.rs");
    } else {
        eprintln!("the messages are not compared: they are those of {COMPILER}");
    }
}
