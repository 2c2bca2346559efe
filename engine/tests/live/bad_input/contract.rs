//! Plugins that were built against another `logic_api`.

use expect_test::expect;

use super::{
    contracts::{Edit, of_other_contract},
    plugins::{cargo, good, saboteur, with_text_spoiled},
    refusals::start,
};

#[test]
fn another_contract_is_refused_by_what_differs() {
    let engine = start(&good(1001, "game1"));
    let abi = "src/abi.rs";
    let number = Edit { file: abi, from: "pub const CONTRACT: u32 = ", to: "pub const CONTRACT: u32 = 1 + " };
    engine.put("number.so", &of_other_contract("number", &[number]));
    engine.check_refused(
        "number.so",
        422,
        "contract-differs",
        expect!["number.so: built against logic_api contract 2, this engine has contract 1: build it again"],
    );

    let version = Edit { file: "Cargo.toml", from: "\nversion.workspace = true", to: "\nversion = \"0.99.0\"" };
    engine.put("version.so", &of_other_contract("version", &[version]));
    engine.check_refused(
        "version.so",
        422,
        "contract-differs",
        expect!["version.so: built against logic_api 0.99.0, this engine has 0.1.0: build it again"],
    );

    let narrower = [
        Edit { file: abi, from: "    pub timer: u64,", to: "    pub timer: u32," },
        Edit {
            file: "src/raw/entry.rs",
            from: "TimerId(call.fields().timer)",
            to: "TimerId(call.fields().timer.into())",
        },
    ];
    engine.put("narrower.so", &of_other_contract("narrower", &narrower));
    engine.check_refused("narrower.so", 422, "layout-differs", expect!["narrower.so: the shared type `Call` differs in field `timer`: expected u64, found u32; build it against this engine's logic_api"]);

    let function = "    pub fault: unsafe extern \"C\" fn(context: *mut (), message: RawBytes, location: RawBytes),";
    let more = format!("{function}\n    pub more: unsafe extern \"C\" fn(context: *mut ()),");
    let more = Edit { file: abi, from: function, to: &more };
    engine.put("more.so", &of_other_contract("more", &[more]));
    engine.check_refused("more.so", 422, "layout-differs", expect!["more.so: the shared type `Host` has another size: expected 112 bytes, found 120; build it against this engine's logic_api"]);
    engine.end();
}

#[test]
fn a_manifest_that_cannot_be_decoded_is_refused() {
    let engine = start(&good(1001, "game1"));
    engine.put("undecodable.so", &with_text_spoiled(&good(1002, "undecodable"), "undecodable"));
    engine.check_refused(
        "undecodable.so",
        422,
        "logic-unusable",
        expect!["undecodable.so: its manifest cannot be read: Tried to parse invalid utf-8"],
    );
    engine.end();
}

#[test]
fn a_schema_that_lies_is_refused() {
    let engine = start(&good(1001, "game1"));
    engine.put("lies.so", &saboteur("lies_about_its_rows"));
    engine.check_refused("lies.so", 422, "logic-unusable", expect!["lies.so: its schema is beyond what a room can hold: Row.many: at 0 it does not fit the row; Row.far: at 4096 it does not fit the row"]);
    engine.end();
}

/// A panic in it would end the engine: there would be nothing to catch.
#[test]
fn a_plugin_that_aborts_on_a_panic_does_not_compile() {
    let mut command = cargo();
    command.args(["rustc", "--package", "saboteurs", "--example", "good", "--", "-C", "panic=abort"]);
    let output = command.output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{told}");
    let expected = "error: a logic must not be built with panic = \"abort\": a panic in it would end the engine";
    assert!(told.contains(expected), "{told}");
}
