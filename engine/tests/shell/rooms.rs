//! `/api/v1/rooms`: what is read from a request, and what is answered.

use engine::status::NewRoom;
use serde_json::json;

use crate::fake::{Answer, Server};

const ALL: &str = "/api/v1/rooms";
const MAIN: &str = "/api/v1/rooms/main";

impl Server {
    /// A request with a body, JSON accepted.
    async fn tell(&self, method: &str, target: &str, body: &str) -> Answer {
        let (host, length) = (self.host(), body.len());
        let head =
            format!("{method} {target} HTTP/1.1\r\nConnection: close\r\nHost: {host}\r\nContent-Length: {length}");
        self.send(format!("{head}\r\nAccept: application/json\r\n\r\n{body}").as_bytes()).await
    }
}

#[tokio::test]
async fn a_room_is_opened_as_the_body_says() {
    let server = Server::start().await;
    let body = r#"{"name": "duel", "config": "x", "players_max": 2, "locked": true, "label": "d",
                   "dispose_when_empty": true, "linger_ms": 5, "tick_hz": 60}"#;
    let answer = server.tell("POST", ALL, body).await;
    assert_eq!((answer.status, answer.header("location")), (201, Some("/api/v1/rooms/duel")));
    let room = answer.json();
    assert_eq!((&room["name"], &room["players_max"], &room["locked"]), (&json!("duel"), &json!(2), &json!(true)));
    for nothing in ["", "{}"] {
        assert_eq!(server.tell("POST", ALL, nothing).await.json()["name"], "room-2");
    }
    let opened = server.fake.opened.lock().unwrap().clone();
    let expected = NewRoom {
        name: Some("duel".to_owned()),
        config: Some("x".to_owned()),
        players_max: Some(2),
        locked: true,
        label: Some("d".to_owned()),
        dispose_when_empty: true,
        linger_ms: Some(5),
        tick_hz: Some(60),
    };
    assert_eq!(opened, [expected, NewRoom::default(), NewRoom::default()]);
    server.end().await;
}

#[tokio::test]
async fn a_body_that_is_not_understood_changes_nothing() {
    let server = Server::start().await;
    let check = async |method: &str, target: &str, body: &str, status: u16, code: &str, reason: &str| {
        let answer = server.tell(method, target, body).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{body:?}");
        assert!(answer.reason().contains(reason), "{}", answer.reason());
    };
    let malformed = "body-malformed";
    check("POST", ALL, r#"{"players": 2}"#, 400, malformed, "unknown field `players`, expected one of `name`").await;
    check("POST", ALL, r#"{"name": 2}"#, 400, malformed, "expected a string").await;
    check("POST", ALL, r#"{"name": "a", "name": "b"}"#, 400, malformed, "duplicate field `name`").await;
    check("POST", ALL, r#"{"players_max": -1}"#, 400, malformed, "expected u64").await;
    check("POST", ALL, "{\"\u{fffd}", 400, malformed, "EOF while parsing").await;
    for body in ["[]", " [\"yy\", \"\"]", "null", "name=a"] {
        for (method, target) in [("POST", ALL), ("PATCH", MAIN), ("POST", "/api/v1/notice")] {
            check(method, target, body, 400, malformed, "expected: send an object, {…}").await;
        }
    }
    check("PATCH", MAIN, r#"{"name": "b"}"#, 400, malformed, "unknown field `name`").await;
    check("POST", ALL, &" ".repeat(1 << 20), 413, "body-too-large", "larger than 397312 bytes").await;
    check("POST", ALL, r#"{"name": "main"}"#, 409, "room-name-taken", "there is a room main already").await;
    assert_eq!(server.tell("PUT", ALL, "").await.header("allow"), Some("GET,HEAD,POST"));
    assert_eq!(server.tell("PUT", MAIN, "").await.header("allow"), Some("GET,HEAD,PATCH,DELETE"));
    check("PUT", ALL, "", 405, "method-not-allowed", "PUT").await;
    check("POST", MAIN, "", 405, "method-not-allowed", "POST").await;
    assert_eq!(server.fake.opened.lock().unwrap().len(), 0);
    server.end().await;
}

#[tokio::test]
async fn a_room_is_shown_changed_and_closed_by_its_name() {
    let server = Server::start().await;
    assert_eq!(server.ask("GET", MAIN, &[]).await.json()["name"], "main");
    let changed = server.tell("PATCH", MAIN, r#"{"locked": true, "label": "d"}"#).await;
    let room = changed.json();
    assert_eq!((changed.status, &room["locked"], &room["label"]), (200, &json!(true), &json!("d")));
    let closed = server.ask("DELETE", &format!("{MAIN}?grace_ms=50"), &[]).await;
    assert_eq!((closed.status, closed.body.as_str()), (204, ""));
    server.ask("DELETE", MAIN, &[]).await;
    let expected = [("main".to_owned(), Some(50)), ("main".to_owned(), None)];
    assert_eq!(*server.fake.closed.lock().unwrap(), expected);
    let malformed = server.ask("DELETE", &format!("{MAIN}?grace_ms=soon"), &[]).await;
    assert_eq!((malformed.status, malformed.code().as_str()), (400, "query-malformed"));
    for method in ["GET", "PATCH", "DELETE"] {
        for name in ["duel", "MAIN", "%6dain", "main/", ".."] {
            let answer = server.ask(method, &format!("{ALL}/{name}"), &[]).await;
            assert_eq!(answer.status, 404, "{method} {name}: {answer:?}");
        }
    }
    assert_eq!(server.fake.closed.lock().unwrap().len(), 2);
    server.end().await;
}

#[tokio::test]
async fn a_player_is_taken_out_by_their_number() {
    let server = Server::start().await;
    let players = server.ask("GET", &format!("{MAIN}/players"), &[]).await.json();
    assert_eq!((&players[0]["player"], &players[1]["connected"]), (&json!(4711), &json!(false)));
    let of = |target: &str| format!("{MAIN}/players/{target}");
    for target in ["4711?reason=too%20loud", "7"] {
        let answer = server.ask("DELETE", &of(target), &[]).await;
        assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    }
    let expected = [(4711, "too loud"), (7, "taken out by an operator")];
    let expected = expected.map(|(player, reason)| ("main".to_owned(), player, reason.to_owned()));
    assert_eq!(*server.fake.kicked.lock().unwrap(), expected);
    let check = async |method: &str, target: &str, status: u16, code: &str| {
        let answer = server.ask(method, target, &["Accept: application/json"]).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{target}");
    };
    check("DELETE", &of("ann"), 404, "player-unknown").await;
    check("DELETE", &of("-1"), 404, "player-unknown").await;
    check("DELETE", &of(&format!("7?reason={}", "x".repeat(4097))), 400, "query-malformed").await;
    check("DELETE", "/api/v1/rooms/duel/players/7", 404, "room-unknown").await;
    check("GET", &of("7"), 405, "method-not-allowed").await;
    assert_eq!(server.fake.kicked.lock().unwrap().len(), 2);
    server.end().await;
}

#[tokio::test]
async fn the_list_is_filtered() {
    let server = Server::start().await;
    // The one room has free seats, is not locked, and has no label.
    let listed =
        [("", 1), ("?free=1", 1), ("?free=0", 0), ("?locked=false&free=true", 1), ("?locked=1", 0), ("?label=", 1)];
    for (query, count) in listed.into_iter().chain([("?label=d", 0)]) {
        let answer = server.ask("GET", &format!("{ALL}{query}"), &[]).await;
        assert_eq!(answer.json().as_array().unwrap().len(), count, "{query}");
    }
    let refused = server.ask("GET", &format!("{ALL}?free=yes"), &[]).await;
    assert_eq!(refused.reason(), "free=yes in the query is not accepted; accepted is 1 or 0");
    server.end().await;
}

#[tokio::test]
async fn a_misspelt_parameter_opens_ends_and_lists_nothing() {
    let server = Server::start().await;
    let cases = [
        (
            "GET",
            format!("{ALL}?lable=d"),
            "\"lable\" is no parameter of /api/v1/rooms; accepted are free, locked, label",
        ),
        ("POST", format!("{ALL}?players_max=2"), "\"players_max\" is no parameter of /api/v1/rooms; it takes none"),
        ("PATCH", format!("{MAIN}?locked=1"), "\"locked\" is no parameter of /api/v1/rooms/main; it takes none"),
        ("DELETE", format!("{MAIN}?grace=0"), "\"grace\" is no parameter of /api/v1/rooms/main; accepted is grace_ms"),
        (
            "DELETE",
            format!("{MAIN}/players/7?why=loud"),
            "\"why\" is no parameter of /api/v1/rooms/main/players/7; accepted is reason",
        ),
    ];
    for (method, target, reason) in cases {
        let answer = server.ask(method, &target, &["Accept: application/json"]).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "parameter-unknown"), "{target}: {answer:?}");
        assert_eq!(answer.reason(), reason);
    }
    assert_eq!(server.fake.opened.lock().unwrap().len() + server.fake.closed.lock().unwrap().len(), 0);
    assert!(server.fake.kicked.lock().unwrap().is_empty());
    server.end().await;
}

#[tokio::test]
async fn a_page_of_another_origin_opens_no_room() {
    let server = Server::start().await;
    for (method, target) in
        [("POST", ALL), ("PATCH", MAIN), ("DELETE", MAIN), ("DELETE", "/api/v1/rooms/main/players/7")]
    {
        let answer = server.ask(method, target, &["Origin: https://evil.example"]).await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "origin-foreign"), "{method}");
    }
    assert_eq!(server.fake.opened.lock().unwrap().len() + server.fake.closed.lock().unwrap().len(), 0);
    assert!(server.fake.kicked.lock().unwrap().is_empty());
    server.end().await;
}
