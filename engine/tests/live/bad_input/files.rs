//! Files that are no plugins, each found under a name that could be one's.

use std::{fs, os::unix::fs::symlink};

use expect_test::{Expect, expect};
use rustix::fs::{CWD, Mode, mkfifoat};

use super::{
    plugins::{compile_c, good, sealed},
    refusals::start,
};

/// One that this engine does not run on, and its number in an ELF header.
#[cfg(target_arch = "x86_64")]
const OTHER_MACHINE: (&str, u16) = ("aarch64", 183);
#[cfg(not(target_arch = "x86_64"))]
const OTHER_MACHINE: (&str, u16) = ("x86_64", 62);

#[test]
fn what_is_no_plugin_is_refused_by_what_it_is() {
    let game = good(1002, "game2");
    let engine = start(&sealed(&good(1001, "game1")));
    let at = |name: &str| engine.setup.plugins().join(name);

    symlink("base.so", at("link.so")).unwrap();
    fs::create_dir(at("folder.so")).unwrap();
    mkfifoat(CWD, at("pipe.so"), Mode::RWXU).unwrap();
    engine.put("text.so", b"#!/bin/sh\nexit 0\n");
    engine.put("empty.so", b"");
    engine.put("huge.so", b"");
    fs::File::options().write(true).open(at("huge.so")).unwrap().set_len(1 << 40).unwrap();
    engine.put("object.so", &compile_c("int answer(void) { return 42; }", &["-c"]));
    engine.put("program.so", &compile_c("int main(void) { return 0; }", &["-no-pie"]));
    engine.put("pie.so", &compile_c("int main(void) { return 0; }", &["-fPIE", "-pie"]));
    let library = compile_c("int answer(void) { return 42; }", &["-shared", "-fPIC", "-Wl,--build-id=sha1"]);
    engine.put("library.so", &library);

    let foreign = |content: &[u8]| {
        let mut content = content.to_vec();
        // `e_machine`.
        content[18..20].copy_from_slice(&OTHER_MACHINE.1.to_le_bytes());
        content
    };
    engine.put("foreign.so", &foreign(&game));
    engine.put("foreign-sealed.so", &sealed(&foreign(&game)));

    let cases: [(&str, u16, &str, Expect); 10] = [
        (
            "link.so",
            422,
            "not-a-file",
            expect!["link.so is a symbolic link, not a file: make a hard link or a copy (scripts/build_so.sh does)"],
        ),
        (
            "folder.so",
            422,
            "not-a-file",
            expect!["folder.so is a folder, not a file: put a plugin built by scripts/build_so.sh there"],
        ),
        (
            "pipe.so",
            422,
            "not-a-file",
            expect!["pipe.so is a named pipe, not a file: put a plugin built by scripts/build_so.sh there"],
        ),
        ("text.so", 422, "not-elf", expect![[r##"text.so: not an ELF file: starts with "#!/bin/sh\nexit 0""##]]),
        ("empty.so", 422, "empty", expect!["empty.so is empty: build it again"]),
        (
            "huge.so",
            422,
            "too-large",
            expect!["huge.so has 1099511627776 bytes, the limit is 268435456 (plugin_bytes_max)"],
        ),
        (
            "object.so",
            422,
            "not-a-shared-library",
            expect!["object.so: an object file, not a shared library: build it as a cdylib (scripts/build_so.sh does)"],
        ),
        (
            "program.so",
            422,
            "not-a-shared-library",
            expect!["program.so: a program, not a shared library: build it as a cdylib (scripts/build_so.sh does)"],
        ),
        (
            "pie.so",
            422,
            "not-a-shared-library",
            expect!["pie.so: a program, not a shared library: build it as a cdylib (scripts/build_so.sh does)"],
        ),
        (
            "library.so",
            422,
            "no-root-symbol",
            expect![[
                r#"library.so: not a plugin: it does not export "_1as_0lib_1header_0root_bmodule_bloader", which #[logic] makes"#
            ]],
        ),
    ];
    for (name, status, code, reason) in cases {
        engine.check_refused(name, status, code, reason);
    }
    for name in ["foreign.so", "foreign-sealed.so"] {
        let reason = engine.file_refusal(name, 422, "other-machine");
        let (found, expected) = (OTHER_MACHINE.0, std::env::consts::ARCH);
        assert_eq!(reason, format!("{name}: built for {found}, this engine runs on {expected}"));
    }
    let loads = engine.whole_status().swaps;
    assert_eq!(loads.len(), 12, "each load is remembered: {loads:#?}");
    assert_eq!(
        loads[0].reason.as_deref(),
        Some(engine.file_refusal("foreign-sealed.so", 422, "other-machine").as_str())
    );
    engine.end();
}

#[test]
fn a_missing_file_names_those_that_are_there() {
    let engine = start(&good(1001, "game1"));
    engine.put("game.1002.so", b"not looked at");
    engine.put("notes.txt", b"not a plugin");
    engine.check_refused(
        "game.1003.so",
        404,
        "not-found",
        expect![[r#"no file "game.1003.so" in plugins: it has game.1002.so, base.so"#]],
    );
    // What a person sees.
    let (status, text) = engine.load("game.1003.so");
    assert_eq!((status, text.as_str()), (404, "no file \"game.1003.so\" in plugins: it has game.1002.so, base.so\n"));
    engine.end();
}
