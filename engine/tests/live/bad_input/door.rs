//! Loads that foreign pages ask for, or that are asked for in another way than `/load` is.

use expect_test::{Expect, expect};

use super::{plugins::good, refusals::start};

#[test]
fn a_foreign_page_cannot_load() {
    let engine = start(&good(1001, "game1"));
    engine.put("plugin2.so", &good(1002, "game2"));
    let host = format!("Host: {}", engine.address);
    let port = engine.address.port();
    let foreign_port = format!("Host: 127.0.0.1:{}", port ^ 1);
    let cases: [(&[&str], &str, Expect); 8] = [
        (
            &["Host: evil.example"],
            "host-foreign",
            expect![[
                r#"the Host "evil.example" is not one of this engine's; use http://ADDRESS, or add it to allowed_hosts in engine.toml"#
            ]],
        ),
        (
            &["Host: localhost.evil.example"],
            "host-foreign",
            expect![[
                r#"the Host "localhost.evil.example" is not one of this engine's; use http://ADDRESS, or add it to allowed_hosts in engine.toml"#
            ]],
        ),
        (
            &[&foreign_port],
            "host-foreign",
            expect![[
                r#"the Host "127.0.0.1:OTHER" is not one of this engine's; use http://ADDRESS, or add it to allowed_hosts in engine.toml"#
            ]],
        ),
        (
            &[&host, "Origin: https://evil.example"],
            "origin-foreign",
            expect![[
                r#"the request comes from a page of the origin "https://evil.example"; type the address into the address bar, or use curl"#
            ]],
        ),
        (
            &[&host, "Origin: null"],
            "origin-foreign",
            expect![[
                r#"the request comes from a page of the origin "null"; type the address into the address bar, or use curl"#
            ]],
        ),
        (
            &[&host, "Sec-Fetch-Site: cross-site"],
            "site-foreign",
            expect![[
                r#"the request was started by another site (Sec-Fetch-Site: "cross-site"); type the address into the address bar, or use curl"#
            ]],
        ),
        (
            &[&host, "Sec-Fetch-Site: same-site"],
            "site-foreign",
            expect![[
                r#"the request was started by another site (Sec-Fetch-Site: "same-site"); type the address into the address bar, or use curl"#
            ]],
        ),
        (
            &[&host, "Sec-Purpose: prefetch"],
            "load-prefetch",
            expect!["a browser asked for this before its user did; press Enter to have it done"],
        ),
    ];
    for (headers, code, reason) in cases {
        let headers = [headers, &["Accept: application/json"]].concat();
        let told = ["GET", "POST"].map(|method| {
            let answer = engine.send_bare(method, "/load?name=plugin2.so", &headers);
            assert_eq!((answer.status, answer.code().as_str()), (403, code), "{method} {headers:?}: {answer:?}");
            let told = answer.reason().replace(&engine.address.to_string(), "ADDRESS");
            told.replace(&format!(":{}", port ^ 1), ":OTHER")
        });
        assert_eq!(told[0], told[1]);
        reason.assert_eq(&told[0]);
    }
    assert_eq!(engine.hello(), "game1 1001");
    assert_eq!(engine.whole_status().swaps, []);
    engine.end();
}

#[test]
fn only_get_and_post_load() {
    let engine = start(&good(1001, "game1"));
    engine.put("plugin2.so", &good(1002, "game2"));
    for method in ["HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let answer = engine.send(method, "/load?name=plugin2.so", &[]);
        assert_eq!(answer.status, 405, "{method}: {answer:?}");
        assert!(answer.head.contains("allow: GET,POST"), "{method}: {answer:?}");
        if method != "HEAD" {
            let reason = format!("{method} is not a method of this route; see the Allow header");
            assert_eq!((answer.code().as_str(), answer.reason()), ("method-not-allowed", reason));
        }
    }
    assert_eq!(engine.hello(), "game1 1001");
    let answer = engine.send("POST", "/load?name=plugin2.so", &["Content-Length: 0"]);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(engine.hello(), "game2 1002");
    engine.end();
}
