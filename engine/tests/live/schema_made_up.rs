//! Plugins whose account of their tables no derive would write: refused at every door while somebody plays, or, where it is within
//! what may be, planned and loaded like any other.

use serde_json::{Value, json};
use wire::ClientFrame;

use crate::bad_input::plugins::{saboteur, with_text_spoiled};
use crate::players::client::{Client, Transport};
use crate::schema::{played, versions};
use crate::schema_refused::state_hash;
use crate::support::Engine;

const LARGE: &str = "large.so&drop=scores";

fn put(engine: &Engine, name: &str, bytes: &[u8]) {
    let file = engine.setup.path("made-up");
    std::fs::write(&file, bytes).unwrap();
    engine.setup.put(&file, name);
}

fn ask(engine: &Engine, target: &str) -> Value {
    engine.begin(target, "application/json").end().json()
}

#[test]
fn an_account_of_tables_that_cannot_be_is_refused_at_every_door() {
    let (engine, _) = played();
    let mut client = Client::open(engine.address, Transport::Tcp);
    client.send(&ClientFrame::Join { room: "", credentials: "", hello: b"bob" });
    client.joined();
    let many = "its schema is beyond what a room can hold: Row0: 10000 fields, at most 1024 are possible; those of rows in it count \
                too; an array is one field";
    let more = saboteur("more_fields");
    let cases = [
        ("many.so", saboteur("ten_thousand_fields").to_vec(), many),
        // The name of a table, and one that a table had: the one is in the schema, the other in what is said of older ones.
        ("schema.so", with_text_spoiled(&more, "scores"), "its manifest cannot be read: Tried to parse invalid utf-8"),
        (
            "changes.so",
            with_text_spoiled(&more, "marks"),
            "what it says of older tables cannot be believed: they cannot be read: Tried to parse invalid utf-8",
        ),
    ];
    for (name, bytes, reason) in cases {
        put(&engine, name, &bytes);
        assert_eq!(client.ask(name.as_bytes()), name);
        let (told, before) = (engine.get("/tally"), state_hash(&engine));
        let refused = (422, "logic-unusable".to_owned(), format!("{name}: {reason}"));
        assert_eq!(engine.refusal(&format!("/load?name={name}")), refused);
        assert_eq!(engine.refusal(&format!("/api/v1/plan?name={name}")), refused);
        let file = |name: &str| engine.setup.plugins().join(name).display().to_string();
        let (old, new) = (file("game.1001.so"), file(name));
        for words in [["plan", &old, &new], ["plan", &new, &old]] {
            assert_eq!(engine.setup.failure(&words), refused.2, "{words:?}");
        }
        assert_eq!((engine.get("/tally"), versions(&engine), state_hash(&engine)), (told, vec![1001], before));
        let swap = &engine.status()["swaps"][0];
        let expected = json!([name, "refused", refused.2, null, null]);
        assert_eq!(json!([swap["name"], swap["outcome"], swap["reason"], swap["plans"], swap["to"]]), expected);
    }
    assert_eq!(client.ask(b"on"), "on");
}

#[test]
fn as_many_tables_and_fields_as_there_may_be_are_planned_and_loaded() {
    let (engine, _) = played();
    put(&engine, "large.so", &saboteur("large"));
    put(&engine, "changed.so", &saboteur("large_changed"));
    let plan = engine.get(&format!("/api/v1/plan?name={LARGE}"));
    assert_eq!(plan.matches(": new\n").count(), 256, "{plan}");
    assert_eq!(engine.get(&format!("/load?name={LARGE}")), "done\n");
    assert_eq!((engine.get("/"), versions(&engine)), ("made up\n".to_owned(), vec![1000]));

    let plans = ask(&engine, "/api/v1/plan?name=changed.so");
    let tables = plans[0]["plan"]["tables"].as_array().unwrap();
    assert_eq!((tables.len(), tables[255]["fields"].as_array().unwrap().len()), (256, 64));
    let file = |name: &str| engine.setup.plugins().join(name).display().to_string();
    let text = engine.setup.said(&["plan", &file("large.so"), &file("changed.so")]);
    assert!(text.ends_with("\n  Row255.field63: u8 -> u64, converted\n"), "{text}");
    assert_eq!(engine.get("/load?name=changed.so"), "done\n");

    // The way back loses something of every field, which is told of each, and kept of the first.
    let before = state_hash(&engine);
    let refused = ask(&engine, "/load?name=large.so");
    let details = refused["error"]["details"].as_array().unwrap();
    let line = "Row255.field63: u64 -> u8 would lose values above 255; give a migration";
    assert_eq!((details.len(), &details[16_383]), (16_384, &line.into()));
    assert_eq!(engine.status()["swaps"][0]["details"].as_array().unwrap().len(), 100);
    assert_eq!((engine.get("/"), state_hash(&engine)), ("made up\n".to_owned(), before));
}
