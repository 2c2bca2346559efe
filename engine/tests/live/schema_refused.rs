//! Loads that would change tables and come to nothing: refused with the reason, every row as it was.

use std::path::Path;
use std::sync::OnceLock;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::schema::{BACK, played, versions};
use crate::support::{Engine, Setup, build_so, tally};

/// Rows of a world that nobody succeeds in changing: one of them is the row at which migrations fail.
const ROWS: u32 = 600_000;

/// A folder with the versions 7 to 12 of the logic whose tables differ; all but 1011 are refused.
pub(crate) fn unfit() -> &'static Path {
    static BUILT: OnceLock<TempDir> = OnceLock::new();
    let build = || {
        let folder = tempfile::tempdir().unwrap();
        let tally = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tally");
        let versions = ["7", "8", "9", "10", "11", "12"];
        versions.iter().for_each(|version| build_so(folder.path(), &["--crate", tally, version]));
        folder
    };
    BUILT.get_or_init(build).path()
}

/// Six hundred thousand rows, and what is told of them.
fn large(line: &str) -> (Engine, String) {
    let files = ["game.1001.so", "game.1002.so", "game.1003.so", "game.1004.so", "game.1005.so"];
    let setup = Setup::new(tally(), &files).with("logic = \"game.1001.so\"").with("tick_hz = 0");
    let engine = setup.with("request_timeout_ms = 60000").with(line).start();
    assert_eq!(engine.get(&format!("/fill?{ROWS}")), format!("{ROWS}\n"));
    let told = engine.get("/tally");
    assert!(told.starts_with("600000 scores, 179999700000 hits, 0 bytes, digest "), "{told}");
    (engine, told)
}

/// A load that is refused, and changes nothing.
#[track_caller]
fn check_refused(engine: &Engine, told: &str, name: &str, expected: (u16, &str, &str)) {
    let (status, code, reason) = engine.refusal(&format!("/load?name={name}"));
    assert_eq!((status, &*code), (expected.0, expected.1), "{reason}");
    assert!(reason.contains(expected.2), "{reason}");
    assert_eq!((engine.get("/tally"), versions(engine)), (told.to_owned(), vec![1001]));
}

/// The same for one load of an engine of its own, whose journal has the world as it was.
#[track_caller]
fn check_refused_by(line: &str, name: &str, expected: (u16, &str, &str)) {
    let (engine, told) = large(line);
    let before = state_hash(&engine);
    check_refused(&engine, &told, name, expected);
    assert_eq!(state_hash(&engine), before);
}

/// What another process makes of the journal.
pub(crate) fn state_hash(engine: &Engine) -> String {
    engine.setup.said(&["replay"]).split("state hash ").nth(1).unwrap()[..16].to_owned()
}

#[test]
fn a_load_that_fails_at_one_of_many_rows_changes_none() {
    let (engine, told) = large("rewrite_timeout_ms = 60000");
    let before = state_hash(&engine);
    let at = "in the room main: Score.mean: the migration panicked at row 500000: on purpose";
    check_refused(&engine, &told, "game.1004.so", (422, "migration-failed", at));
    check_refused(&engine, &told, "game.1003.so", (409, "schema-differs", "Score.hits: u32 -> u8 would lose"));
    assert_eq!(state_hash(&engine), before);
    // Acknowledged it goes, there and back.
    assert_eq!(engine.get("/load?name=game.1002.so"), "done\n");
    assert_eq!((engine.get("/tally"), versions(&engine)), (told.clone(), vec![1002]));
    assert_eq!(engine.get(&format!("/load?name={BACK}")), "done\n");
    assert_eq!((engine.get("/tally"), versions(&engine)), (told, vec![1001]));
}

#[test]
fn a_rewrite_that_takes_too_much_memory_is_given_up_half_way() {
    let reason = "the rewritten tables take more than the 16777216 bytes that they may (rewrite_bytes_max)";
    check_refused_by("rewrite_bytes_max = 16777216", "game.1002.so", (422, "rewrite-large", reason));
}

#[test]
fn a_migration_that_loops_at_one_of_many_rows_is_given_up() {
    let reason = "were not rewritten within 2 s (rewrite_timeout_ms): a migration of scores does not return";
    check_refused_by("rewrite_timeout_ms = 2000", "game.1005.so", (422, "rewrite-late", reason));
}

/// Whether they are tried in the child first, as those are that fit, or meet the version in the engine.
#[test]
fn rows_without_a_place_are_refused_in_the_child_and_in_the_engine() {
    for line in ["rehearsal_bytes_max = 268435456", "rehearsal_bytes_max = 0"] {
        let (engine, told) = large(line);
        let before = state_hash(&engine);
        let cases = [
            (1012, 409, "row-unfit", "Score.nick: row 0 (slot 0:0) has \"filled\", 6 bytes long; 4 fit"),
            (
                1007,
                409,
                "row-unfit",
                "Score.nick: is to be unique, and the rows in slots 0:0 and 0:1 both have \"filled\"",
            ),
            (
                1008,
                409,
                "row-unfit",
                "Score.mood: the migration gave row 500000 what is no value: 77 is no variant of Mood",
            ),
            (1009, 409, "schema-differs", "Score.blows: was `hits`, which `hits` comes from too; take one of them out"),
            (1010, 422, "migration-failed", "Score.motto"),
        ];
        for (version, status, code, reason) in cases {
            let name = format!("game.{version}.so");
            engine.setup.put(&unfit().join(&name), &name);
            check_refused(&engine, &told, &name, (status, code, reason));
        }
        assert_eq!(state_hash(&engine), before);
        let failed = &engine.status()["swaps"][0];
        assert!(failed["reason"].as_str().unwrap().contains("at row 500000: on purpose, "), "{failed}");
        assert_eq!(failed["plans"][0]["plan"]["tables"][0]["in_pause_if_changed"], false, "{failed}");
        // Of the others, too, there is each line.
        let lines: Vec<Value> =
            engine.status()["swaps"].as_array().unwrap()[1..5].iter().map(|swap| swap["details"][0].clone()).collect();
        for (line, (_, _, _, reason)) in lines.iter().rev().zip(cases) {
            assert!(line.as_str().unwrap().contains(reason), "{line}");
        }
    }
}

#[test]
fn what_fails_in_the_engine_itself_changes_nothing_either() {
    let at = "in the room main: Score.mean: the migration panicked at row 500000: on purpose";
    check_refused_by("rehearsal_bytes_max = 0", "game.1004.so", (422, "migration-failed", at));
    let reason = "the rewritten tables take more than the 16777216 bytes that they may (rewrite_bytes_max)";
    let line = "rehearsal_bytes_max = 0\nrewrite_bytes_max = 16777216";
    check_refused_by(line, "game.1002.so", (422, "rewrite-large", reason));
}

/// The plan is the same before, in the answer, and in the history; and a load that was refused has left its own there.
#[test]
fn what_a_load_does_to_tables_is_told_before_and_afterwards() {
    let (engine, _) = played();
    for name in ["game.1002.so", "game.1003.so"] {
        engine.setup.put(&tally().join(name), name);
    }
    let ask = |target: &str| engine.begin(target, "application/json").end();
    let refused = ask("/load?name=game.1003.so");
    let line = "Score.hits: u32 -> u8 would lose values above 255; give a migration";
    assert_eq!((refused.status, &refused.json()["error"]["details"]), (409, &json!([line])));
    let swap = &engine.status()["swaps"][0];
    assert_eq!((&swap["outcome"], &swap["details"]), (&"refused".into(), &json!([line])));
    let plan = &swap["plans"][0]["plan"];
    assert_eq!(plan["refusals"], json!([line]));
    let hits = json!({"field": "Score.hits", "was": null, "old": "u32", "new": "u8", "how": "refused"});
    assert_eq!(plan["tables"][0]["fields"][2], hits);
    let lossy = ask("/api/v1/plan?name=game.1003.so&drop=Score.hits").json();
    let hits = &lossy[0]["plan"]["tables"][0]["fields"][2];
    assert_eq!((&hits["how"], &hits["loses"]), (&"lossy".into(), &"values above 255".into()));
    assert!(engine.setup.said(&["status"]).contains(&format!("\n  {line}\n")));

    let spared = ask("/api/v1/plan?name=game.1002.so&drop=Score.nick").json();
    assert_eq!(spared[0]["plan"]["unused_drops"], json!(["Score.nick"]));
    let plans = ask("/api/v1/plan?name=game.1002.so").json();
    assert_eq!(plans[0]["from"], json!({"version": 1001, "name": "game1"}));
    let table = &plans[0]["plan"]["tables"][0];
    assert_eq!(
        [&table["name"], &table["how"], &table["rows"], &table["row_bytes"], &table["bytes"]],
        [&json!("scores"), &json!("rewritten"), &json!(2001), &json!([40, 56]), &json!(2001 * 56)]
    );
    let count = json!({"field": "Score.count", "was": "hits", "old": "u32", "new": "u32", "how": "renamed"});
    assert!(table["fields"].as_array().unwrap().contains(&count), "{table}");
    let loaded = ask("/load?name=game.1002.so&confirm=1").json();
    assert_eq!((&loaded["plans"], &engine.status()["swaps"][0]["plans"]), (&plans, &plans));
    ask(&format!("/load?name={BACK}&confirm=1"));
    let drops = json!(["Score.lives", "Score.mean", "Score.bytes", "story"]);
    assert_eq!(engine.status()["swaps"][0]["drops"], drops, "{}", engine.status());
}
