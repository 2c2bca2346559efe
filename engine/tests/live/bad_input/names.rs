//! Names that are none.

use expect_test::{Expect, expect};

use super::{plugins::good, refusals::start};

#[test]
fn what_is_no_name_is_refused_by_the_rule_it_breaks() {
    let engine = start(&good(1001, "game1"));
    let long = format!("?name={}.so", "a".repeat(297));
    let cases: [(&str, &str, Expect); 17] = [
        ("", "name-missing", expect!["no plugin name is given; say /load?name=plugin2.so"]),
        ("?", "name-missing", expect!["no plugin name is given; say /load?name=plugin2.so"]),
        (
            "?Name=base.so",
            "parameter-unknown",
            expect![[r#""Name" is no parameter of /load; accepted are name, confirm, force, drop"#]],
        ),
        ("?name", "name-malformed", expect!["the plugin name is empty; give one such as plugin2.so"]),
        ("?name=", "name-malformed", expect!["the plugin name is empty; give one such as plugin2.so"]),
        (
            "?name=/etc/passwd",
            "name-malformed",
            expect![
                "the plugin name starts with '/', but it is looked up in the plugins folder and never used as a path"
            ],
        ),
        (
            "?name=%2Fbase.so",
            "name-malformed",
            expect![
                "the plugin name starts with '/', but it is looked up in the plugins folder and never used as a path"
            ],
        ),
        (
            "?name=../base.so",
            "name-malformed",
            expect![[
                r#"the plugin name holds "..", but it is looked up in the plugins folder and never used as a path"#
            ]],
        ),
        (
            "?name=%2e%2e/plugins/base.so",
            "name-malformed",
            expect![[
                r#"the plugin name holds "..", but it is looked up in the plugins folder and never used as a path"#
            ]],
        ),
        (
            "?name=./base.so",
            "name-malformed",
            expect!["the plugin name starts with a dot; hidden files are never loaded"],
        ),
        (
            "?name=.base.so",
            "name-malformed",
            expect!["the plugin name starts with a dot; hidden files are never loaded"],
        ),
        (
            "?name=base.so%00",
            "name-malformed",
            expect!["the plugin name holds '\\0'; accepted are a-z, 0-9, '.', '_' and '-'"],
        ),
        (
            "?name=b%C3%A4se.so",
            "name-malformed",
            expect!["the plugin name holds 'ä', which is not ASCII; accepted are a-z, 0-9, '.', '_' and '-'"],
        ),
        (
            "?name=%ff.so",
            "name-malformed",
            expect![[r#""name" in the query is not UTF-8 once its percent escapes are decoded"#]],
        ),
        ("?name=base", "name-malformed", expect![[r#"the plugin name "base" does not end in .so"#]]),
        (
            "?name=base.so&name=base.so",
            "name-malformed",
            expect![[r#""name" is given twice in the query; give it once"#]],
        ),
        (&long, "name-malformed", expect!["the plugin name is 300 bytes long; at most 64 are accepted"]),
    ];
    for (query, code, reason) in cases {
        engine.check_query_refused(query, 400, code, reason);
    }
    assert_eq!(engine.whole_status().swaps, [], "what is no name is no load");
    engine.end();
}
