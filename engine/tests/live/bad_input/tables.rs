//! Loads that change tables: what is carried over, what is refused, and that a refusal leaves everything as it was.

use expect_test::expect;
use saboteurs::deeds::LOOP;

use super::{
    plugins::{good, saboteur},
    refusals::{start, start_with},
};
use crate::support::Engine;

/// An engine whose rooms have marks, and in which a load is confirmed at once.
fn marked(line: &str) -> Engine {
    let engine = start_with(&good(1001, "game1"), &format!("probation = \"0s\"\n{line}"));
    for _ in 0..3 {
        engine.get("/mark");
    }
    assert_eq!(engine.hello(), "game1 1001");
    engine
}

#[test]
fn fields_come_and_go_while_the_rooms_play_on() {
    let engine = marked("");
    engine.put("more.so", &saboteur("more_fields"));
    let plan = engine.get("/api/v1/plan?name=more.so");
    let end = plan.find("estimated pause").unwrap();
    expect![[r#"
        from game1 1001:
        greeting: rows of 40 bytes become 56, 2 rows
          Greeting.version: u32 -> u64, converted
          Greeting.nick: was name, Str<32> -> Str<40>, converted
        signs: was marks, rows of 8 bytes become 16, 3 rows
          Sign.weight: u32, new, by default
          1 more field, copied
        scores: new
    "#]]
    .assert_eq(&plan[..end]);
    assert_eq!(engine.hello(), "game1 1001", "a plan changes nothing");
    // What is said may be lost and is not is told where no table changes, too; and a load is refused for it.
    assert_eq!(engine.get("/api/v1/plan?name=base.so"), "the tables stay as they are\n");
    let plan = engine.get("/api/v1/plan?name=base.so&drop=orbs");
    assert!(
        plan.contains("marks: stays as it is, 3 rows\n") && plan.ends_with("\nnothing called \"orbs\" is lost\n"),
        "{plan}"
    );
    let (status, code, _) = engine.refusal("/load?name=base.so&drop=orbs");
    assert_eq!((status, code.as_str()), (400, "drop-unknown"));

    engine.must_load("more.so");
    assert_eq!(engine.get("/"), "game1 1001: 3 signs of 6\n");
    let swap = engine.whole_status().swaps.remove(0);
    assert_eq!(swap.plans[0].plan.tables[1].rows, 3);

    // Back again: what the older version has no place for must be named.
    let (status, text) = engine.load("base.so");
    assert_eq!(status, 409);
    expect![[r#"
        the tables of saboteurs 1000, which is running, cannot be carried over to game1 1001; what may be lost can be acknowledged with &drop=NAME
        Greeting.version: u64 -> u32 would lose values above 4294967295; give a migration
        Mark.weight: u32 would be dropped; say `#[row(dropped("weight"))]`, or acknowledge it with drop=Mark.weight
        scores: the table would be dropped with its rows; say `#[world(dropped("scores"))]`, or acknowledge it with drop=scores
    "#]]
    .assert_eq(&text);
    let drops = "drop=Greeting.version&drop=Mark.weight&drop=scores";
    let answer = engine.ask(&format!("/load?name=base.so&{drops}&drop=orbs"));
    assert_eq!(
        (answer.status, &*answer.body),
        (400, "nothing called \"orbs\" is lost by this load; leave drop=orbs out\n")
    );
    let answer = engine.ask(&format!("/load?name=base.so&{drops}"));
    assert_eq!((answer.status, &*answer.body), (200, "done\n"));
    assert_eq!(engine.hello(), "game1 1001");
    assert_eq!(engine.get("/marks"), "3 marks\n");
    engine.end();
}

#[test]
fn a_plan_of_two_files_needs_no_engine() {
    let engine = start(&good(1001, "game1"));
    engine.put("more.so", &saboteur("more_fields"));
    let (old, new) = (engine.setup.plugins().join("more.so"), engine.setup.plugins().join("base.so"));
    let words = ["plan", old.to_str().unwrap(), new.to_str().unwrap(), "--drop", "scores", "--drop", "nobody"];
    let output = engine.setup.run(&words);
    assert_eq!(
        (output.status.code(), output.stderr.as_slice()),
        (Some(1), &b""[..]),
        "a script sees that it is refused"
    );
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("saboteurs 1000 -> game1 1001:\ngreeting: rows of 56 bytes become 40\n"), "{text}");
    assert!(text.ends_with("acknowledge it with drop=Mark.weight\nnothing called \"nobody\" is lost\n"), "{text}");
    let output = engine.setup.run(&[&words[..], &["--json"]].concat());
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json[0]["plan"]["tables"][2]["how"], "dropped");
    let output = engine.setup.run(&[&words[..], &["--drop", "Greeting.version", "--drop", "Mark.weight"]].concat());
    assert_eq!(output.status.code(), Some(1), "a load is refused for nobody: {output:?}");
    let all = ["--drop", "Greeting.version", "--drop", "Mark.weight"];
    let output = engine.setup.run(&[&words[..5], &all].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    engine.end();
}

/// Where no version is tried on copies: a thread of the engine cannot be stopped.
#[test]
fn a_migration_that_loops_in_the_engine_is_given_up_and_left_behind() {
    let engine = marked("rewrite_timeout_ms = 300\nrehearsal_bytes_max = 0");
    engine.get(&format!("/only/{LOOP}"));
    engine.put("loops.so", &saboteur("migration_misbehaves"));
    let (status, text) = engine.load("loops.so");
    assert_eq!(status, 422);
    assert!(
        text.starts_with("the tables were not rewritten within 0.3 s (rewrite_timeout_ms): a migration does not"),
        "{text}"
    );
    assert_eq!((engine.get("/marks"), engine.hello()), ("1 marks\n".to_owned(), "game1 1001".to_owned()));
    engine.put("more.so", &saboteur("more_fields"));
    let (status, code, _) = engine.refusal("/load?name=more.so");
    assert_eq!((status, code.as_str(), engine.metric("hotseat_rewrites")), (503, "rewrite-stuck", 1));
    assert_eq!(engine.hello(), "game1 1001");
}
