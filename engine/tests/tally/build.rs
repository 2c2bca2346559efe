//! Tells the code which version it is built as: rows are laid out when it is compiled.

const VARIABLE: &str = "HOTSEAT_LOGIC_VERSION";
/// Those that the code knows; built without a version it is the first.
const VERSIONS: [&str; 12] =
    ["1001", "1002", "1003", "1004", "1005", "1006", "1007", "1008", "1009", "1010", "1011", "1012"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    let known = VERSIONS.map(|version| format!("\"{version}\"")).join(", ");
    println!("cargo::rustc-check-cfg=cfg(tally, values({known}))");
    let version = std::env::var(VARIABLE).unwrap_or(VERSIONS[0].to_owned());
    println!("cargo::rustc-cfg=tally=\"{version}\"");
}
