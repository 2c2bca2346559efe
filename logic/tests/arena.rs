//! The arena in the test kit: `/hello`, and what else is asked for by HTTP.

use logic::Arena;
use room::Request;
use room::testing::TestRoom;

#[test]
fn hello_tells_who_answers_and_who_did_before() {
    let mut room = TestRoom::<Arena>::new();
    let mut hello = || String::from_utf8(room.get("/hello").body).unwrap();
    let greeting = "hello test, this is rust plugin test!, version=1000, name=logic";
    assert_eq!(hello(), format!("{greeting}, oldversion=0, oldName=\n"));
    assert_eq!(hello(), format!("{greeting}, oldversion=1000, oldName=logic\n"));
}

#[test]
fn hello_answers_head_as_get() {
    let ask = |method: &str| {
        let request = Request { method: method.into(), path: "/hello".into(), ..Request::default() };
        TestRoom::<Arena>::new().request(request)
    };
    assert_eq!(ask("HEAD"), ask("GET"));
    assert_eq!((ask("HEAD").status, ask("POST").status), (200, 404));
}

#[test]
fn an_unknown_path_is_not_found() {
    assert_eq!(TestRoom::<Arena>::new().get("/nothing").status, 404);
}

/// A page of the world, as a browser asks for it.
#[track_caller]
fn check_file(path: &str, content_type: &str, part: &str) {
    let response = TestRoom::<Arena>::new().get(path);
    assert_eq!((response.status, response.content_type.as_str()), (200, content_type), "{path}");
    assert!(String::from_utf8_lossy(&response.body).contains(part), "{path} has no {part:?}");
    let policy = response.headers.iter().find(|(name, _)| name == "content-security-policy");
    assert!(policy.is_some_and(|(_, policy)| policy.starts_with("default-src 'none'")), "{path}");
}

#[test]
fn the_page_comes_out_of_the_plugin() {
    check_file("/", "text/html; charset=utf-8", "<script type=\"module\" src=\"arena.js\">");
    check_file("/arena.css", "text/css; charset=utf-8", "canvas");
    check_file("/arena.js", "text/javascript; charset=utf-8", "from './hotseat.js'");
    check_file("/hotseat.js", "text/javascript; charset=utf-8", "export function connect");
}

#[test]
fn the_page_changes_nothing() {
    let mut room = TestRoom::<Arena>::new();
    let before = room.room().state_hash();
    for path in ["/", "/hotseat.js", "/leaderboard"] {
        assert_eq!(room.get(path).status, 200);
    }
    assert_eq!(room.room().state_hash(), before);
}

#[test]
fn the_leaderboard_is_json() {
    let mut room = TestRoom::<Arena>::new();
    assert_eq!(room.get("/leaderboard").body, b"[\n]\n");
    room.join(br#"a"n\n"#);
    let body = String::from_utf8(room.get("/leaderboard").body).unwrap();
    assert!(body.starts_with("[\n  { \"nick\": \"a\\\"n\\\\n\", \"score\": 0, \"away\": false },\n"), "{body}");
}
