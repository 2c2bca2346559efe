//! Has the linker make every saboteur what scripts/build_so.sh makes of a plugin: with a build id, and small.

fn main() {
    println!("cargo::rustc-link-arg=-Wl,--build-id=sha1");
    // The debug information of the standard library is ten times the size of the code.
    println!("cargo::rustc-link-arg=-Wl,--strip-debug");
    println!("cargo::rerun-if-changed=build.rs");
}
