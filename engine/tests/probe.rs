//! Plugins that misbehave before they are asked anything, and what the probe says of each.
//!
//! This program is its own child: started as `probe PATH NONCE` it maps the library, otherwise it runs the tests.

#![expect(clippy::unwrap_used, reason = "these are tests, though not of the built-in harness")]

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use engine::loader::{
    error::Class,
    intake::Intake,
    name::PluginName,
    probe::{self, Probe, ProbeOptions, Probed},
    seal::Seal,
    stage::Stage,
};
use libtest_mimic::{Arguments, Failed, Trial};

const ROOT: &str = "hotseat_root";

fn main() -> ExitCode {
    if let Some(request) = probe::child::asked() {
        request.run(|path| {
            let answer = raw::call(path, ROOT)?;
            if answer == 13 { Err("thirteen is refused here".into()) } else { Ok((answer, None)) }
        });
    }
    let tests: [(&str, fn()); 14] = [
        ("a_sound_plugin_is_loaded_and_answers", a_sound_plugin_is_loaded_and_answers),
        ("a_crash_is_told_by_its_signal", a_crash_is_told_by_its_signal),
        ("an_exit_is_told_by_its_code", an_exit_is_told_by_its_code),
        ("a_constructor_that_never_ends_is_stopped", a_constructor_that_never_ends_is_stopped),
        ("a_plugin_with_a_thread_is_refused", a_plugin_with_a_thread_is_refused),
        ("garbage_on_every_output_changes_nothing", garbage_on_every_output_changes_nothing),
        ("a_forged_verdict_is_not_believed", a_forged_verdict_is_not_believed),
        ("a_plugin_that_forks_is_refused_and_no_process_stays", a_plugin_that_forks_is_refused_and_no_process_stays),
        ("a_plugin_that_changes_the_process_is_refused", a_plugin_that_changes_the_process_is_refused),
        ("the_loaders_own_reason_is_passed_on", the_loaders_own_reason_is_passed_on),
        ("a_crash_at_the_end_is_a_crash", a_crash_at_the_end_is_a_crash),
        ("memory_without_end_is_refused", memory_without_end_is_refused),
        ("the_child_gets_nothing_of_the_engines", the_child_gets_nothing_of_the_engines),
        ("a_probe_that_cannot_start_is_the_engines_fault", a_probe_that_cannot_start_is_the_engines_fault),
    ];
    let trial = |(name, test): (&str, fn())| {
        Trial::test(name, move || {
            test();
            Ok::<(), Failed>(())
        })
    };
    libtest_mimic::run(&Arguments::from_args(), tests.map(trial).into()).exit_code()
}

/// The real dynamic linker, without the checks of a real plugin's contract: the probe must stand what it does.
#[expect(unsafe_code, reason = "dlopen")]
mod raw {
    use std::{error::Error as _, path::Path};

    use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

    pub(crate) fn call(path: &Path, symbol: &str) -> Result<u32, String> {
        let told = |error: libloading::Error| error.source().map_or_else(|| error.to_string(), ToString::to_string);
        // SAFETY: runs the library's constructors, which may do anything: in this process there is nothing to harm.
        let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }.map_err(told)?;
        // SAFETY: every library of these tests defines the symbol as a function of this type.
        let function = unsafe { library.get::<extern "C" fn() -> u32>(symbol) }.map_err(told)?;
        let answer = function();
        std::mem::forget(library);
        Ok(answer)
    }
}

/// A plugins folder with one plugin made of C code, and an engine's data folder.
struct Setup {
    folder: tempfile::TempDir,
    intake: Intake,
}

impl Setup {
    fn new(code: &str, time_max: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let plugins = folder.path().join("plugins");
        fs::create_dir(&plugins).unwrap();
        compile(code, &plugins.join("a.so"));
        let stage = Stage::new(&folder.path().join("data"));
        let probe = ProbeOptions { time_max, ..ProbeOptions::default() };
        Self { intake: Intake { plugins, stage, root_symbol: ROOT, plugin_bytes_max: 64 << 20, probe }, folder }
    }

    fn probe(&self) -> Result<Probed<u32>, engine::loader::error::LoadError> {
        let candidate = self.intake.read(&name("a.so"))?;
        let staged = self.intake.stage(&candidate)?;
        let probe: Probe<u32> = self.intake.probe(&candidate, &staged)?;
        probe.rehearse(std::iter::empty()).map_err(|fault| candidate.not_probed(fault))
    }
}

fn name(name: &str) -> PluginName {
    PluginName::parse(name).unwrap()
}

const INCLUDES: &str = "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <unistd.h>\n\
    #include <signal.h>\n#include <pthread.h>\n#include <fcntl.h>\n#include <sys/file.h>\n#include <sys/wait.h>\n\
    #define AT_START __attribute__((constructor)) static void\n\
    #define AT_END __attribute__((destructor)) static void\n";
const SOUND: &str = "unsigned hotseat_root(void) { return 7; }\n";
const LONG: Duration = Duration::from_secs(60);

fn compile(code: &str, output: &Path) {
    let source: PathBuf = output.with_extension("c");
    fs::write(&source, format!("{INCLUDES}{code}")).unwrap();
    let flags = ["-shared", "-fPIC", "-pthread", "-w", "-Wl,--build-id=sha1", "-o"];
    let status = Command::new("cc").args(flags).arg(output).arg(&source).status().unwrap();
    assert!(status.success());
    fs::remove_file(source).unwrap();
}

/// Probes a plugin whose root function is sound, and expects this refusal. Returns what it printed.
fn check(code: &str, code_word: &str, expected: &str) -> Option<String> {
    check_within(LONG, code, code_word, expected)
}

fn check_within(time_max: Duration, code: &str, code_word: &str, expected: &str) -> Option<String> {
    let error = Setup::new(&format!("{SOUND}{code}"), time_max).probe().unwrap_err();
    assert_eq!((error.code(), error.to_string().as_str()), (code_word, expected));
    assert_eq!(error.class(), Class::Unloadable);
    error.printed().map(str::to_owned)
}

fn a_sound_plugin_is_loaded_and_answers() {
    let setup = Setup::new(SOUND, LONG);
    let candidate = setup.intake.read(&name("a.so")).unwrap();
    assert_eq!(candidate.seal, Seal::Unsealed);
    let probed = setup.probe().unwrap();
    assert_eq!((probed.loaded, probed.printed.as_str()), (7, ""));
    // Whatever the name has been, a link is none.
    symlink("a.so", setup.folder.path().join("plugins/b.so")).unwrap();
    assert_eq!(setup.intake.read(&name("b.so")).unwrap_err().code(), "not-a-file");
}

fn a_crash_is_told_by_its_signal() {
    // Again and again: Rust's own handler lets the first one pass, to see whether the fault is repeated.
    let crash = |name: &str| format!("AT_START go(void) {{ fputs(\"about to\\n\", stderr); for (;;) raise({name}); }}");
    for (name, number) in [("SIGSEGV", 11), ("SIGBUS", 7), ("SIGILL", 4), ("SIGKILL", 9)] {
        let expected = format!("a.so: crashed while being loaded: signal {number} ({name})");
        assert_eq!(check(&crash(name), "crashes-on-load", &expected).as_deref(), Some("about to"));
    }
    let wild = "AT_START go(void) { *(volatile int *)8 = 1; }";
    check(wild, "crashes-on-load", "a.so: crashed while being loaded: signal 11 (SIGSEGV)");
    let aborted = "a.so: crashed while being loaded: signal 6 (SIGABRT)";
    check("AT_START go(void) { abort(); }", "crashes-on-load", aborted);
}

fn an_exit_is_told_by_its_code() {
    for code in [0, 3] {
        let expected = format!("a.so: called exit({code}) while being loaded");
        check(&format!("AT_START go(void) {{ exit({code}); }}"), "exits-on-load", &expected);
        check(&format!("AT_START go(void) {{ _exit({code}); }}"), "exits-on-load", &expected);
    }
}

fn a_constructor_that_never_ends_is_stopped() {
    let limit = Duration::from_secs(1);
    let expected = "a.so: did not finish loading within 1 s: a constructor that loops?";
    let loops = ["for (;;);", "for (;;) pause();", "for (;;) puts(\"still here\");", "raise(SIGSTOP);"];
    for code in loops {
        let started = Instant::now();
        check_within(limit, &format!("AT_START go(void) {{ {code} }}"), "never-loads", expected);
        assert!(started.elapsed() >= limit);
    }
}

fn a_plugin_with_a_thread_is_refused() {
    let code = "static void *run(void *arg) { for (;;) pause(); }\n\
        AT_START go(void) { pthread_t thread; pthread_create(&thread, 0, run, 0); }";
    let expected = "a.so: starts a thread of its own: logic has no threads (it has 1 after loading)";
    check(code, "starts-threads", expected);
}

fn garbage_on_every_output_changes_nothing() {
    let code = "AT_START go(void) {\n\
        for (int i = 0; i < 100000; i++) { puts(\"{\\\"garbage\\\":\"); fputs(\"\\x1b[31m\", stderr); }\n\
        fflush(0); fputs(\"the end\", stderr); write(100, \"garbage\\n\", 8); }";
    let probed = Setup::new(&format!("{SOUND}{code}"), LONG).probe().unwrap();
    assert_eq!(probed.loaded, 7);
    assert!(probed.printed.ends_with("the end"));
    assert!(probed.printed.len() <= 3 * 2048, "bounded, though an escaped byte takes three");
    assert!(!probed.printed.contains('\x1b'));
}

fn a_forged_verdict_is_not_believed() {
    // On standard output, where a verdict would be if the child had not moved it; and an orderly end.
    let forge = "AT_START go(void) {\n\
        const char *words = \"{\\\"nonce\\\":\\\"0\\\",\\\"message\\\":{\\\"loaded\\\":1}}\\n\";\n\
        write(1, words, strlen(words)); write(100, words, strlen(words)); exit(0); }";
    let printed = check(forge, "exits-on-load", "a.so: called exit(0) while being loaded").unwrap();
    assert!(printed.contains("\"loaded\":1"));
}

fn a_plugin_that_forks_is_refused_and_no_process_stays() {
    let expected = "a.so: starts a process of its own: logic has none";
    // It keeps every descriptor open and would never end.
    check("AT_START go(void) { if (fork() == 0) for (;;) pause(); }", "starts-processes", expected);
    // One that has got away from its parent and its group, and holds a lock for as long as it lives.
    let lock = tempfile::NamedTempFile::new().unwrap();
    let code = format!(
        "AT_START go(void) {{ if (fork() == 0) {{ setsid(); if (fork() == 0) {{\n\
            flock(open(\"{}\", O_RDWR), LOCK_EX); for (;;) pause(); }}\n\
         _exit(0); }} wait(0); }}",
        lock.path().display()
    );
    check(&code, "starts-processes", expected);
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
}

fn a_plugin_that_changes_the_process_is_refused() {
    let expected = "a.so: opens or closes files: logic has none";
    for code in ["open(\"/dev/null\", O_RDONLY);", "close(0);", "dup2(open(\"/dev/full\", O_RDWR), 0);"] {
        check(&format!("AT_START go(void) {{ {code} }}"), "changes-files", expected);
    }
    let expected = "a.so: changes what is done on signals: that is the engine's to say";
    for code in
        ["signal(SIGTERM, SIG_IGN);", "signal(SIGINT, exit);", "sigset_t s; sigfillset(&s); sigprocmask(0, &s, 0);"]
    {
        check(&format!("AT_START go(void) {{ {code} }}"), "changes-signals", expected);
    }
    // What is put back is no change.
    let code = "AT_START go(void) { signal(SIGTERM, signal(SIGTERM, SIG_IGN)); close(dup(0)); }";
    assert_eq!(Setup::new(&format!("{SOUND}{code}"), LONG).probe().unwrap().loaded, 7);
}

fn the_loaders_own_reason_is_passed_on() {
    let setup = Setup::new("unsigned hotseat_root(void) { return 13; }", LONG);
    let error = setup.probe().unwrap_err();
    assert_eq!((error.code(), error.to_string().as_str()), ("refused-by-loader", "a.so: thirteen is refused here"));
    let setup = Setup::new("unsigned missing(void); unsigned hotseat_root(void) { return missing(); }", LONG);
    let message = setup.probe().unwrap_err().to_string();
    assert!(message.starts_with("a.so: ") && message.ends_with("undefined symbol: missing"), "{message}");
}

fn a_crash_at_the_end_is_a_crash() {
    let expected = "a.so: crashed after being loaded, when its process ended: signal 11 (SIGSEGV)";
    check("AT_END go(void) { *(volatile int *)8 = 1; }", "fails-at-exit", expected);
    let expected = "a.so: called exit(5) after being loaded, when its process ended";
    check("AT_END go(void) { _exit(5); }", "fails-at-exit", expected);
}

fn memory_without_end_is_refused() {
    let code = "AT_START go(void) { while (malloc(1 << 26)); abort(); }";
    check(code, "crashes-on-load", "a.so: crashed while being loaded: signal 6 (SIGABRT)");
}

fn the_child_gets_nothing_of_the_engines() {
    // What it could read would be a way in for hidden state.
    let code = "extern char **environ;\nAT_START go(void) { char byte;\n\
        for (char **name = environ; *name; name++) if (strncmp(*name, \"LD_\", 3)) exit(1);\n\
        if (read(0, &byte, 1) != 0) exit(2); }";
    let code = format!("{SOUND}{code}");
    assert_eq!(Setup::new(&code, LONG).probe().unwrap().loaded, 7);
}

fn a_probe_that_cannot_start_is_the_engines_fault() {
    let mut setup = Setup::new(SOUND, LONG);
    setup.intake.probe.program = "/bin/false".into();
    let error = setup.probe().unwrap_err();
    assert_eq!((error.class(), error.code()), (Class::Unavailable, "probe-failed"));
    let expected = "a.so: the probe did not get as far as loading it: its process ended with exit(1)";
    assert_eq!(error.to_string(), expected);
    setup.intake.probe.program = "/nowhere/engine".into();
    let expected = "a.so: the probe's process could not be started: No such file or directory (os error 2)";
    assert_eq!(setup.probe().unwrap_err().to_string(), expected);
}
