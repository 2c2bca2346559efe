//! The logic's routes: everything that is not the engine's reaches the backend as it came.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::fake::{Answer, Server, within};

fn last_request(server: &Server) -> (Option<String>, room::Request) {
    server.fake.requests.lock().unwrap().pop().expect("a request reached the backend")
}

#[tokio::test]
async fn any_path_and_method_reaches_the_logic_as_it_came() {
    let server = Server::start().await;
    for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
        for path in [
            "/",
            "/hello",
            "/load/",
            "/loader",
            "/LOAD",
            "//load",
            "/%6coad",
            "/api",
            "/api/v10",
            "/a%2Fb/../c",
            "/\u{fc}",
        ] {
            let answer = server.ask(method, &format!("{path}?a=b%20c"), &["X-One: 1", "x-two: ü"]).await;
            assert_eq!((answer.status, answer.header("x-game")), (200, Some("arena")), "{method} {path}: {answer:?}");
            let (room, request) = last_request(&server);
            assert_eq!(room, None);
            assert_eq!((request.method.as_str(), request.path.as_str()), (method, path));
            assert_eq!((request.query.as_str(), request.body.as_slice()), ("a=b%20c", b"".as_slice()));
            let header =
                |name: &str| request.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
            assert_eq!((header("x-one"), header("x-two")), (Some("1"), Some("ü")));
            assert_eq!(header("host"), Some(server.host().as_str()));
        }
    }
    server.end().await;
}

#[tokio::test]
async fn a_header_that_is_not_utf8_is_left_out() {
    let server = Server::start().await;
    let answer = server.send(b"GET /hello HTTP/1.0\r\nX-A: \xff\r\nX-B: b\r\n\r\n").await;
    assert_eq!(answer.status, 200);
    assert_eq!(last_request(&server).1.headers, [("x-b".to_owned(), "b".to_owned())]);
    server.end().await;
}

#[tokio::test]
async fn the_query_chooses_the_room() {
    let server = Server::start().await;
    for (query, room) in [
        ("", None),
        ("?", None),
        ("?rooms=a", None),
        ("?room=main", Some("main")),
        ("?a=b&room=second+room", Some("second room")),
        ("?ro%6fm=second%20room", Some("second room")),
    ] {
        let answer = server.ask("GET", &format!("/hello{query}"), &[]).await;
        assert_eq!(answer.status, 200, "{query}");
        assert_eq!(last_request(&server).0.as_deref(), room, "{query}");
    }
    let answer = server.ask("GET", "/hello?room=none", &[]).await;
    assert_eq!((answer.status, answer.code().as_str()), (404, "room-unknown"));
    for query in ["?room=main&room=main", "?room=%ff"] {
        let answer = server.ask("GET", &format!("/hello{query}"), &[]).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "room-malformed"), "{query}");
    }
    server.end().await;
}

#[tokio::test]
async fn a_body_reaches_the_logic_whole() {
    let server = Server::start_with(|config| config.request_body_bytes_max = 10).await;
    let post = |rest: &str| format!("POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{rest}").into_bytes();
    let answer = server.send(&post("Content-Length: 10\r\n\r\n0123456789")).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "0123456789"));
    let answer = server.send(&post("Transfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n6\r\n456789\r\n0\r\n\r\n")).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "0123456789"));
    let answer = server.send(&post("Content-Length: 0\r\n\r\n")).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));

    server.fake.requests.lock().unwrap().clear();
    let reason = "the body is larger than 10 bytes (request_body_bytes_max)\n";
    for too_large in [
        "Content-Length: 11\r\n\r\n",
        "Content-Length: 9223372036854775807\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n7\r\n4567890\r\n0\r\n\r\n",
    ] {
        let answer = server.send(&post(too_large)).await;
        assert_eq!((answer.status, answer.body.as_str()), (413, reason), "{too_large:?}");
    }
    let answer = server.send(&post("Transfer-Encoding: chunked\r\n\r\nx\r\n")).await;
    assert_eq!(answer.status, 400);
    assert!(server.fake.requests.lock().unwrap().is_empty(), "a refused body reaches no logic");
    server.end().await;
}

#[tokio::test]
async fn a_head_without_end_is_cut_off() {
    let server = Server::start().await;
    let mut stream = server.connect().await;
    let request = format!("GET /hello HTTP/1.1\r\nHost: a\r\nX-Long: {}\r\n", "a".repeat(40_000));
    stream.write_all(request.as_bytes()).await.unwrap();
    // No further than the status: the connection is reset, for what it sent is not read.
    let mut status = [0; 12];
    within(stream.read_exact(&mut status)).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 431");
    server.end().await;
}

#[tokio::test]
async fn a_room_that_does_not_answer_is_given_up() {
    let server = Server::start_with(|config| config.request_timeout = Duration::from_millis(1)).await;
    let answer = server.ask("GET", "/stall", &[]).await;
    assert_eq!((answer.status, answer.code().as_str()), (504, "request-timeout"));
    assert_eq!(answer.reason(), "the room did not answer within 1 ms");
    let answer =
        server.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 9\r\n\r\nnever").await;
    assert_eq!((answer.status, answer.body.as_str()), (408, "the body did not arrive within 1 ms\n"));
    server.end().await;
}

#[tokio::test]
async fn an_answer_is_framed_by_the_engine() {
    let server = Server::start().await;
    let answer = server.ask("HEAD", "/hello", &[]).await;
    assert_eq!((answer.status, answer.header("content-length"), answer.body.as_str()), (200, Some("5"), ""));
    let answer =
        server.send(b"POST /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody").await;
    assert_eq!((answer.status, answer.header("content-length"), answer.body.as_str()), (204, None, ""));
    let answer = server.ask("GET", "/interim", &[]).await;
    assert_eq!((answer.status, answer.code().as_str()), (500, "answer-malformed"));
    server.end().await;
}

#[tokio::test]
async fn a_connection_carries_many_requests() {
    let server = Server::start().await;
    let mut stream = server.connect().await;
    for _ in 0..3 {
        stream.write_all(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\nhello") {
            let count = within(stream.read_buf(&mut answer)).await.unwrap();
            assert_ne!(count, 0, "{}", String::from_utf8_lossy(&answer));
        }
    }
    stream.write_all(b"GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    assert_eq!(Answer::read(&mut stream).await.body, "hello");
    server.end().await;
}
