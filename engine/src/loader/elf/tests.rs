//! A real shared library, and everything that can be wrong with it.

use std::{path::PathBuf, process::Command, sync::OnceLock};

use proptest::prelude::*;

use super::*;

pub(in crate::loader) const ROOT: &str = "hotseat_root";

/// A small library with a section of each kind that matters, linked by the C compiler.
pub(in crate::loader) fn library() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| link("shared", &["-shared", "-fPIC", "-Wl,--build-id=sha1"]))
}

fn link(name: &str, flags: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("library.c");
    let code = "#include <stdlib.h>\n\
        __thread int counter = 1; __thread int zero; int table[64]; const char *word = \"word\";\n\
        __attribute__((constructor)) static void at_start(void) { table[0] = abs(-1); }\n\
        __attribute__((destructor)) static void at_end(void) { free(0); }\n\
        int hotseat_root(void) { return counter + zero + table[0]; }\n\
        int main(void) { return 0; }\n";
    std::fs::write(&source, code).unwrap();
    let output: PathBuf = folder.path().join(name);
    let status = Command::new("cc").arg("-o").arg(&output).arg(&source).args(flags).status().unwrap();
    assert!(status.success());
    std::fs::read(&output).unwrap()
}

fn changed(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = library().to_vec();
    change(&mut bytes);
    bytes
}

fn check_refused(bytes: &[u8], code: &str, expected: &str) {
    let fault = check(bytes, ROOT).unwrap_err();
    assert_eq!((fault.code(), fault.to_string().as_str()), (code, expected));
}

fn number(bytes: &[u8], at: usize, size: usize) -> usize {
    bytes[at..at + size].iter().rev().fold(0, |sum, &byte| sum << 8 | usize::from(byte))
}

/// Offset and length of the segment table and of the section table.
fn tables(bytes: &[u8]) -> [(usize, usize); 2] {
    let segments = (number(bytes, 32, 8), number(bytes, 56, 2) * 56);
    let sections = (number(bytes, 40, 8), number(bytes, 60, 2) * 64);
    [segments, sections]
}

#[test]
fn a_sound_library_gives_its_build_id_and_its_end() {
    let elf = check(library(), ROOT).unwrap();
    assert_eq!(elf.build_id.as_bytes().len(), 20);
    assert_eq!(elf.build_id.to_string().len(), 40);
    assert_eq!(elf.content_bytes, library().len());
    let longer = changed(|bytes| bytes.extend_from_slice(b"anything"));
    assert_eq!(check(&longer, ROOT).unwrap(), elf);
}

#[test]
fn what_is_no_library_is_refused_by_what_it_is() {
    check_refused(b"", "not-elf", "not an ELF file: starts with \"\"");
    check_refused(b"#!/bin/sh\necho \"hi\"", "not-elf", "not an ELF file: starts with \"#!/bin/sh\\necho \\\"\"");
    let cdylib = "not a shared library: build it as a cdylib (scripts/build_so.sh does)";
    let program = format!("a program, {cdylib}");
    check_refused(&link("program", &[]), "not-a-shared-library", &program);
    check_refused(&link("fixed", &["-no-pie"]), "not-a-shared-library", &program);
    let static_program = link("static", &["-static-pie", "-fPIE"]);
    check_refused(&static_program, "not-a-shared-library", &program);
    check_refused(&link("object", &["-c"]), "not-a-shared-library", &format!("an object file, {cdylib}"));
}

#[test]
fn a_library_for_elsewhere_is_refused() {
    let here = std::env::consts::ARCH;
    let other = if here == "aarch64" { (62, "x86_64") } else { (183, "aarch64") };
    let machine = |found: &str| format!("built for {found}, this engine runs on {here}");
    check_refused(&changed(|b| b[18] = other.0), "other-machine", &machine(other.1));
    check_refused(&changed(|b| b[4] = 1), "other-machine", &machine("a 32-bit machine"));
    check_refused(&changed(|b| b[5] = 2), "other-machine", &machine("a big-endian machine"));
    check_refused(
        &changed(|b| b[7] = 9),
        "other-machine",
        "built for another system (OS ABI 9), this engine runs on Linux",
    );
}

#[test]
fn without_the_root_symbol_or_a_build_id_it_is_no_plugin() {
    let fault = check(library(), "other_root").unwrap_err();
    assert_eq!(fault.code(), "no-root-symbol");
    assert_eq!(fault.to_string(), "not a plugin: it does not export \"other_root\", which #[logic] makes");
    // Imported, but not defined here.
    assert_eq!(check(library(), "abs").unwrap_err().code(), "no-root-symbol");
    let hidden = link("hidden", &["-shared", "-fPIC", "-fvisibility=hidden", "-Wl,--build-id=sha1"]);
    assert_eq!(check(&hidden, ROOT).unwrap_err().code(), "no-root-symbol");
    check_refused(
        &link("anonymous", &["-shared", "-fPIC", "-Wl,--build-id=none"]),
        "no-build-id",
        "no build id: link with -Wl,--build-id=sha1 (scripts/build_so.sh does)",
    );
}

#[test]
fn a_stripped_section_table_is_refused() {
    check_refused(
        &changed(|b| b[60..62].fill(0)),
        "damaged",
        "damaged: the ELF header says e_shnum = 0, expected at least 2 (the section table must not be stripped); build it again",
    );
}

#[test]
fn no_cut_file_passes() {
    let bytes = library();
    for length in 0..bytes.len() {
        let fault = check(&bytes[..length], ROOT).unwrap_err();
        let expected = if length < 4 { "not-elf" } else { "cut-short" };
        assert_eq!(fault.code(), expected, "{length} bytes: {fault}");
    }
    check_refused(
        &bytes[..bytes.len() - 1],
        "cut-short",
        &format!(
            "the file is cut short: the section table ends at {}, the file has {} bytes; build it again",
            bytes.len(),
            bytes.len() - 1
        ),
    );
    check_refused(
        &bytes[..40],
        "cut-short",
        "the file is cut short: the ELF header ends at 64, the file has 40 bytes; build it again",
    );
}

/// A cut file whose section table is still there, as when a middle part was lost, names what is missing.
#[test]
fn a_segment_beyond_the_end_is_named() {
    let [(segments, _), _] = tables(library());
    let bytes = changed(|b| b[segments + 32 + 4] = 1);
    let fault = check(&bytes, ROOT).unwrap_err().to_string();
    assert!(fault.starts_with("the file is cut short: segment 0 ends at 429496"), "{fault}");
}

/// For unsealed files only: in a sealed one every flip is refused. What passes here is what no reader of the file looks at
/// (`e_entry`, physical addresses), or what is as good as before (a section one byte shorter).
#[test]
fn no_flipped_header_bit_panics_and_nearly_all_are_refused() {
    let [segments, sections] = tables(library());
    for (what, (from, length), percent) in
        [("header", (0, 64), 95), ("segments", segments, 90), ("sections", sections, 95)]
    {
        let mut bytes = library().to_vec();
        let mut refused = 0;
        for bit in from * 8..(from + length) * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            refused += usize::from(check(&bytes, ROOT).is_err());
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        let total = length * 8;
        assert!(refused * 100 >= total * percent, "{what}: only {refused} of {total} flips are refused");
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
        prop_assert!(check(&bytes, ROOT).is_err());
    }

    /// Random damage behind a sound start, so that it is reached at all.
    #[test]
    fn random_damage_never_panics(damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40)) {
        let mut bytes = library().to_vec();
        let [(segments, segments_bytes), (sections, sections_bytes)] = tables(&bytes);
        let places: Vec<usize> = (16..64)
            .chain(segments..segments + segments_bytes)
            .chain(sections..sections + sections_bytes)
            .collect();
        for (place, value) in damage {
            bytes[places[place.index(places.len())]] = value;
        }
        let _ = check(&bytes, ROOT);
    }
}
