//! The engine's own routes: what they answer, in text and in JSON.

use serde_json::json;

use crate::fake::{Server, within};

#[tokio::test]
async fn a_load_is_done_in_one_word() {
    let server = Server::start().await;
    let host = format!("Host: {}", server.host());
    for method in ["GET", "POST"] {
        let answer = server.ask_bare(method, "/load?name=plugin2.so", &[&host, "User-Agent: curl/8.5.0"]).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "done\n"), "{method}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    let loads = server.fake.loads.lock().unwrap().clone();
    assert_eq!(loads.len(), 2);
    assert_eq!(loads[0].0.name.as_str(), "plugin2.so");
    assert_eq!(loads[0].1.to_string(), format!("{} (curl/8.5.0)", loads[0].1.peer));
    server.end().await;
}

#[tokio::test]
async fn a_load_tells_more_as_json() {
    let server = Server::start().await;
    let answer = server.ask("GET", "/load?name=plugin2.so", &[]).await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let expected = json!({
        "version": 1002, "name": "game2", "build_id": "b2", "sha256": "52",
        "previous": [{"version": 1001, "name": "game1"}],
        "pauses": [{"room": "main", "pause_us": 17}],
        "total_us": 8125,
        "on_trial_for_ms": 10000,
    });
    assert_eq!(answer.json(), expected);
    server.end().await;
}

#[tokio::test]
async fn a_refused_load_says_why() {
    let server = Server::start().await;
    let host = format!("Host: {}", server.host());
    let answer = server.ask_bare("GET", "/load?name=schema.so", &[&host]).await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (422, "the schema differs\nAvatar.hp: i32 -> f32\nOrb.x: dropped\n")
    );
    let answer = server.ask("GET", "/load?name=schema.so", &[]).await;
    let details = ["Avatar.hp: i32 -> f32", "Orb.x: dropped"];
    let error = json!({"code": "schema-differs", "reason": "the schema differs", "details": details});
    assert_eq!((answer.status, answer.json()), (422, json!({ "error": error })));
    let answer = server.ask("GET", "/load?name=busy.so", &[]).await;
    assert_eq!((answer.status, answer.code().as_str()), (409, "load-busy"));
    // A bug behind the route is told, and the route goes on.
    let answer = server.ask("GET", "/load?name=broken.so", &[]).await;
    assert_eq!((answer.status, answer.code().as_str()), (500, "load-broken"));
    assert_eq!(server.ask("GET", "/load?name=plugin2.so", &[]).await.status, 200);
    server.end().await;
}

#[tokio::test]
async fn each_bad_name_has_its_own_reason() {
    let server = Server::start().await;
    let long = "a".repeat(300);
    let drops = format!("?name=plugin2.so{}", "&drop=a".repeat(1025));
    let cases = [
        ("", "name-missing", "no plugin name is given"),
        ("?", "name-missing", "no plugin name is given"),
        (
            "?nam=plugin2.so",
            "parameter-unknown",
            "\"nam\" is no parameter of /load; accepted are name, confirm, force, drop",
        ),
        ("?name", "name-malformed", "is empty"),
        ("?name=", "name-malformed", "is empty"),
        ("?name=/etc/passwd", "name-malformed", "starts with '/'"),
        ("?name=%2fetc%2fpasswd", "name-malformed", "starts with '/'"),
        ("?name=../plugin2.so", "name-malformed", "holds \"..\""),
        ("?name=%2e%2e/plugin2.so", "name-malformed", "holds \"..\""),
        ("?name=%2E%2E%2Fplugin2.so", "name-malformed", "holds \"..\""),
        ("?name=.plugin2.so", "name-malformed", "starts with a dot"),
        ("?name=a/plugin2.so", "name-malformed", "holds '/'"),
        ("?name=plugin2%00.so", "name-malformed", "holds '\\0'"),
        ("?name=plugin2.so%00", "name-malformed", "holds '\\0'"),
        ("?name=plugin2.so%0d%0aX:y", "name-malformed", "holds '\\r'"),
        ("?name=plugin+2.so", "name-malformed", "holds ' '"),
        ("?name=%252e.so", "name-malformed", "holds '%'"),
        ("?name=Plugin2.so", "name-malformed", "holds 'P'"),
        ("?name=pl%C3%BCgin.so", "name-malformed", "holds 'ü', which is not ASCII"),
        ("?name=pl\u{fc}gin.so", "name-malformed", "holds 'ü', which is not ASCII"),
        ("?name=%ff.so", "name-malformed", "is not UTF-8"),
        ("?name=%c3.so", "name-malformed", "is not UTF-8"),
        ("?name=plugin2", "name-malformed", "does not end in .so"),
        ("?name=plugin2.so&name=plugin2.so", "name-malformed", "given twice"),
        ("?name=plugin2.so&n%61me=plugin3.so", "name-malformed", "given twice"),
        (&format!("?name={long}"), "name-malformed", "is 300 bytes long; at most 64"),
        ("?name=plugin2.so&drop=%ff", "drop-malformed", "is not UTF-8"),
        (&drops, "drop-malformed", "1025 times drop; at most 1024 are accepted"),
    ];
    for (query, code, reason) in cases {
        let answer = server.ask("GET", &format!("/load{query}"), &[]).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, code), "{query}: {answer:?}");
        assert!(answer.reason().contains(reason), "{query}: {answer:?}");
        assert!(!answer.reason().contains('\n'), "{query}: {answer:?}");
    }
    assert!(server.fake.loads.lock().unwrap().is_empty());
    server.end().await;
}

#[tokio::test]
async fn a_browsers_guess_loads_nothing() {
    let server = Server::start().await;
    for purpose in ["prefetch", "prefetch;prerender"] {
        let answer = server.ask("GET", "/load?name=plugin2.so", &[&format!("Sec-Purpose: {purpose}")]).await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "load-prefetch"));
    }
    assert!(server.fake.loads.lock().unwrap().is_empty());
    server.end().await;
}

#[tokio::test]
async fn a_trial_is_ended_in_one_word_or_told_as_json() {
    let server = Server::start().await;
    for (method, target) in [("HEAD", "/api/v1/confirm"), ("PUT", "/api/v1/rollback")] {
        let answer = server.ask(method, target, &[]).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET,POST")), "{method} {target}");
    }
    let answer = server.ask("GET", "/api/v1/rollback", &["Sec-Purpose: prefetch"]).await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "load-prefetch"));
    let answer = server.ask("GET", "/api/v1/rollback?reason=a&reason=b", &[]).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "reason-malformed"));
    assert!(server.fake.verdicts.lock().unwrap().is_empty());

    let host = format!("Host: {}", server.host());
    let answer = server.ask_bare("GET", "/api/v1/confirm", &[&host]).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "confirmed\n"));
    let answer = server.ask("POST", "/api/v1/rollback", &[]).await;
    assert_eq!((answer.status, answer.code().as_str()), (409, "not-on-trial"));
    server.fake.verdicts.lock().unwrap().clear();
    let answer = server.ask("POST", "/api/v1/rollback?reason=orbs+are%0Aworth+nothing", &[]).await;
    let expected = json!({
        "version": 1002, "name": "game2", "sha256": "52", "outcome": "rewound",
        "running": [{"version": 1001, "name": "game1"}],
        "rooms": [{"room": "main", "pause_us": 1700, "inputs": 20, "lost": 1}],
        "total_us": 2300,
    });
    assert_eq!(answer.json(), expected);
    let reason = server.fake.verdicts.lock().unwrap()[0].1.clone();
    assert_eq!(reason.as_deref(), Some("orbs are worth nothing"));
    server.end().await;
}

#[tokio::test]
async fn a_misspelt_parameter_changes_nothing() {
    let server = Server::start().await;
    let cases = [
        (
            "/load?name=plugin2.so&confrim=1",
            "\"confrim\" is no parameter of /load; accepted are name, confirm, force, drop",
        ),
        (
            "/load?name=plugin2.so&room=duel",
            "\"room\" is no parameter of /load; accepted are name, confirm, force, drop",
        ),
        ("/api/v1/plan?name=plugin2.so&force=1", "\"force\" is no parameter of /api/v1/plan; accepted are name, drop"),
        ("/api/v1/confirm?force=1", "\"force\" is no parameter of /api/v1/confirm; it takes none"),
        ("/api/v1/rollback?reson=slow", "\"reson\" is no parameter of /api/v1/rollback; accepted is reason"),
    ];
    for (target, reason) in cases {
        let answer = server.ask("GET", target, &[]).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "parameter-unknown"), "{target}: {answer:?}");
        assert_eq!(answer.reason(), reason);
    }
    let notice = server.ask("POST", "/api/v1/notice?severity=error", &["Accept: application/json"]).await;
    assert_eq!(notice.reason(), "\"severity\" is no parameter of /api/v1/notice; it takes none");
    assert!(server.fake.loads.lock().unwrap().is_empty() && server.fake.verdicts.lock().unwrap().is_empty());
    server.end().await;
}

#[tokio::test]
async fn a_load_may_confirm_and_force() {
    let server = Server::start().await;
    for (query, flags) in [("", (false, false)), ("&confirm=1", (true, false)), ("&force=1&confirm=0", (false, true))] {
        assert_eq!(server.ask("GET", &format!("/load?name=plugin2.so{query}"), &[]).await.status, 200);
        let (request, _) = server.fake.loads.lock().unwrap().pop().unwrap();
        assert_eq!((request.confirm, request.force), flags, "{query}");
    }
    server.end().await;
}

#[tokio::test]
async fn a_caller_who_hangs_up_does_not_stop_the_load() {
    let server = Server::start().await;
    let mut stream = server.connect().await;
    let request = format!("GET /load?name=stall.so HTTP/1.1\r\nHost: {}\r\n\r\n", server.host());
    tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
    within(server.fake.stalled.notified()).await;
    drop(stream);
    server.stop.begin();
    // All connections have ended, so whatever belonged to this one is gone.
    within(server.served).await.unwrap();
    server.fake.release.notify_one();
    within(server.fake.loaded.notified()).await;
}

#[tokio::test]
async fn other_methods_are_told_which_there_are() {
    let server = Server::start().await;
    for method in ["HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let answer = server.ask(method, "/load?name=plugin2.so", &[]).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET,POST")), "{method}");
    }
    assert!(server.fake.loads.lock().unwrap().is_empty());
    for route in ["/healthz", "/metrics", "/api/v1", "/api/v1/", "/api/v1/status"] {
        for method in ["POST", "PUT", "DELETE"] {
            let answer = server.ask(method, route, &[]).await;
            assert_eq!((answer.status, answer.header("allow")), (405, Some("GET,HEAD")), "{method} {route}");
            assert_eq!(answer.code(), "method-not-allowed");
        }
        let answer = server.ask("HEAD", route, &[]).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{route}");
    }
    server.end().await;
}

#[tokio::test]
async fn the_status_is_json() {
    let server = Server::start().await;
    let all = server.ask_bare("GET", "/api/v1/status", &[&format!("Host: {}", server.host())]).await;
    assert_eq!(all.header("content-type"), Some("application/json"));
    assert_eq!(all.json()["rooms"][0]["state"], "frozen");
    assert_eq!(all.json()["engine"]["started_at"], "2026-01-02T03:04:05.678Z");
    assert_eq!(all.json()["swaps"][0]["outcome"], "refused");
    for route in ["/api/v1", "/api/v1/"] {
        assert_eq!(server.ask("GET", route, &[]).await.json(), all.json(), "{route}");
    }
    assert_eq!(server.ask("GET", "/api/v1/rooms", &[]).await.json(), all.json()["rooms"]);
    let unknown = server.ask("GET", "/api/v1/no/such", &[]).await;
    assert_eq!((unknown.status, unknown.code().as_str()), (404, "route-unknown"));
    let (_, there) = unknown.body.split_once("; there are ").unwrap();
    for route in ["rooms/NAME", "rooms/NAME/players", "plan", "confirm", "rollback"] {
        assert!(there.contains(&format!("/api/v1/{route}")), "{route}: {there}");
    }
    server.end().await;
}

#[tokio::test]
async fn metrics_count_answers_by_class() {
    let server = Server::start().await;
    for _ in 0..3 {
        server.ask("GET", "/hello", &[]).await;
    }
    server.ask("GET", "/hello?room=none", &[]).await;
    server.ask("GET", "/load", &[]).await;
    server.ask_bare("GET", "/metrics", &["Host: evil.example"]).await;
    let metrics = server.ask("GET", "/metrics", &[]).await;
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for line in [r#"hotseat_requests_total{class="2xx"} 3"#, r#"hotseat_requests_total{class="4xx"} 3"#] {
        assert!(metrics.body.lines().any(|found| found == line), "{line} in {}", metrics.body);
    }
    server.end().await;
}
