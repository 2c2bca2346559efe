//! The admin door: what passes, and what does not, on every admin route and method.

use crate::fake::{Answer, Server};

const ADMIN: [&str; 9] = [
    "/load?name=plugin2.so",
    "/api/v1/confirm",
    "/metrics",
    "/api/v1",
    "/api/v1/",
    "/api/v1/status",
    "/api/v1/rooms",
    "/api/v1/rooms/main",
    "/api/v1/no/such",
];
const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"];

/// The header lines are refused with this status and code on every admin route and method, and nothing is loaded.
async fn check_refused(server: &Server, headers: &[&str], status: u16, code: &str) {
    let headers = [headers, &["Accept: application/json"]].concat();
    for route in ADMIN {
        for method in METHODS {
            let answer = server.ask_bare(method, route, &headers).await;
            assert_eq!(answer.status, status, "{method} {route} {headers:?}: {answer:?}");
            if method != "HEAD" {
                assert_eq!(answer.code(), code, "{method} {route} {headers:?}: {answer:?}");
            }
        }
    }
    assert!(server.fake.loads.lock().unwrap().is_empty(), "{headers:?}");
    check_logic_is_open(server, &headers).await;
}

/// The same header lines mean nothing to the logic's routes nor to `/healthz`.
async fn check_logic_is_open(server: &Server, headers: &[&str]) {
    for (route, body) in [("/hello", "hello"), ("/healthz", "ready\n")] {
        let answer = server.ask_bare("GET", route, headers).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, body), "{route} {headers:?}");
    }
}

async fn check_passes(server: &Server, headers: &[&str]) {
    for route in ADMIN {
        let answer = server.ask_bare("GET", route, headers).await;
        let expected = if route.ends_with("/such") { 404 } else { 200 };
        assert_eq!(answer.status, expected, "{route} {headers:?}: {answer:?}");
    }
    assert_eq!(server.fake.loads.lock().unwrap().drain(..).count(), 1, "{headers:?}");
    assert_eq!(server.fake.verdicts.lock().unwrap().drain(..).count(), 1, "{headers:?}");
}

#[tokio::test]
async fn this_machine_passes_under_its_own_names() {
    let server = Server::start().await;
    let port = server.address.port();
    for name in ["127.0.0.1", "localhost", "[::1]"] {
        let host = format!("Host: {name}:{port}");
        let origin = format!("Origin: http://{name}:{port}");
        check_passes(&server, &[&host]).await;
        check_passes(&server, &[&host, "Sec-Fetch-Site: none"]).await;
        check_passes(&server, &[&host, "Sec-Fetch-Site: same-origin", &origin]).await;
        check_passes(&server, &[&host, "Authorization: Bearer of-no-interest-here"]).await;
    }
    server.end().await;
}

#[tokio::test]
async fn a_foreign_host_is_refused() {
    let server = Server::start().await;
    let port = server.address.port();
    let hosts = [
        String::new(),
        "evil.example".to_owned(),
        format!("evil.example:{port}"),
        "127.0.0.1".to_owned(),
        "localhost".to_owned(),
        "127.0.0.1:1".to_owned(),
        format!("127.0.0.1:{port}0"),
        format!("127.0.0.1:0{port}"),
        format!("127.0.0.1.evil.example:{port}"),
        format!("localhost.:{port}"),
        format!("LOCALHOST:{port}"),
        format!("127.1:{port}"),
        format!("2130706433:{port}"),
        format!("0.0.0.0:{port}"),
        format!("::1:{port}"),
        format!("[::ffff:127.0.0.1]:{port}"),
        format!("evil@127.0.0.1:{port}"),
        format!("127.0.0.1:{port}, evil.example"),
        format!("127.0.0.1:{port}/"),
        format!("http://127.0.0.1:{port}"),
        "h\u{e4}".to_owned(),
    ];
    for host in hosts {
        check_refused(&server, &[&format!("Host: {host}")], 403, "host-foreign").await;
    }
    server.end().await;
}

#[tokio::test]
async fn a_host_that_could_be_read_in_two_ways_is_refused() {
    let server = Server::start().await;
    let host = format!("Host: {}", server.host());
    check_refused(&server, &[], 400, "host-missing").await;
    check_refused(&server, &[&host, "Host: evil.example"], 400, "host-repeated").await;
    check_refused(&server, &["Host: evil.example", &host], 400, "host-repeated").await;
    check_refused(&server, &[&host, &host], 400, "host-repeated").await;
    server.end().await;
}

#[tokio::test]
async fn another_site_is_refused() {
    let server = Server::start().await;
    let host = format!("Host: {}", server.host());
    for site in ["cross-site", "same-site", "None", "", "none, cross-site", "\u{e4}"] {
        check_refused(&server, &[&host, &format!("Sec-Fetch-Site: {site}")], 403, "site-foreign").await;
    }
    check_refused(&server, &[&host, "Sec-Fetch-Site: none", "Sec-Fetch-Site: cross-site"], 403, "site-foreign").await;
    server.end().await;
}

#[tokio::test]
async fn a_foreign_origin_is_refused() {
    let server = Server::start().await;
    let host = format!("Host: {}", server.host());
    let own = server.host();
    let origins = [
        "null".to_owned(),
        String::new(),
        own.clone(),
        format!("https://{own}"),
        format!("HTTP://{own}"),
        format!("http://{own}/"),
        format!("http://{own}.evil.example"),
        format!("http://evil.example#{own}"),
        format!("http://evil@{own}"),
        format!("http://{own} http://evil.example"),
        "http://127.0.0.1".to_owned(),
        "http://localhost:1".to_owned(),
    ];
    for origin in origins {
        check_refused(&server, &[&host, &format!("Origin: {origin}")], 403, "origin-foreign").await;
    }
    let origin = format!("Origin: http://{own}");
    check_refused(&server, &[&host, &origin, "Origin: null"], 400, "origin-repeated").await;
    check_refused(&server, &[&host, &origin, &origin], 400, "origin-repeated").await;
    server.end().await;
}

#[tokio::test]
async fn a_whole_url_as_the_target_is_refused() {
    let server = Server::start().await;
    let host = format!("Host: {}", server.host());
    for authority in [server.host(), "evil.example".to_owned(), format!("evil@{}", server.host())] {
        for route in ADMIN {
            let target = format!("http://{authority}{route}");
            let answer = server.ask_bare("GET", &target, &[&host, "Accept: application/json"]).await;
            assert_eq!((answer.status, answer.code().as_str()), (400, "target-absolute"), "{target}");
        }
    }
    assert!(server.fake.loads.lock().unwrap().is_empty());
    server.end().await;
}

#[tokio::test]
async fn old_and_odd_requests_do_not_slip_through() {
    let server = Server::start().await;
    let host = server.host();
    let refused = [
        ("GET /load?name=plugin2.so HTTP/1.0\r\n\r\n".to_owned(), 400),
        ("GET /load?name=plugin2.so HTTP/1.0\r\nHost: evil.example\r\n\r\n".to_owned(), 403),
        ("GET http://evil.example/load?name=plugin2.so HTTP/1.0\r\n\r\n".to_owned(), 400),
        // A target that is no path, and one that hyper does not take.
        (format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"), 400),
        (format!("OPTIONS * HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"), 400),
        (format!("GET load?name=plugin2.so HTTP/1.1\r\nHost: {host}\r\n\r\n"), 400),
        // A folded and a space-ended name, by which two parsers would see two different hosts.
        (format!("GET /load?name=plugin2.so HTTP/1.1\r\nHost: evil.example\r\n {host}\r\n\r\n"), 400),
        (format!("GET /load?name=plugin2.so HTTP/1.1\r\nHost : {host}\r\n\r\n"), 400),
    ];
    for (request, status) in refused {
        let answer = server.send(request.as_bytes()).await;
        assert_eq!(answer.status, status, "{request:?}: {answer:?}");
    }
    assert!(server.fake.loads.lock().unwrap().is_empty());

    let answer = server.send(format!("GET /load?name=plugin2.so HTTP/1.0\r\nHost: {host}\r\n\r\n").as_bytes()).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "done\n"));
    server.end().await;
}

#[tokio::test]
async fn a_listener_that_others_reach_wants_the_token() {
    let server = Server::start_with(|config| config.listen = "0.0.0.0:0".parse().unwrap()).await;
    let host = format!("Host: {}", server.host());
    let digits = server.token.reveal().to_owned();
    check_refused(&server, &[&host], 401, "token-missing").await;
    for (presented, code) in [
        ("Basic Zm9vOmJhcg==".to_owned(), "token-missing"),
        ("Bearer".to_owned(), "token-missing"),
        (digits.clone(), "token-missing"),
        ("Bearer x".to_owned(), "token-wrong"),
        (format!("Bearer {}", &digits[1..]), "token-wrong"),
        (format!("Bearer {digits}0"), "token-wrong"),
        (format!("Bearer {}", "0".repeat(64)), "token-wrong"),
        (format!("Bearer {digits}, Bearer {digits}"), "token-wrong"),
    ] {
        check_refused(&server, &[&host, &format!("Authorization: {presented}")], 401, code).await;
    }
    let good = format!("Authorization: Bearer {digits}");
    check_refused(&server, &[&host, &good, &good], 401, "token-repeated").await;
    // A token opens nothing to a foreign page: a browser might have been talked into sending it.
    check_refused(&server, &["Host: evil.example", &good], 403, "host-foreign").await;
    check_refused(&server, &[&host, &good, "Sec-Fetch-Site: cross-site"], 403, "site-foreign").await;
    check_refused(&server, &[&host, &good, "Origin: null"], 403, "origin-foreign").await;

    check_passes(&server, &[&host, &good]).await;
    check_passes(&server, &[&host, &format!("authorization: bearer  {digits}")]).await;

    let answer = server.ask("GET", "/metrics", &[]).await;
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    server.end().await;
}

#[tokio::test]
async fn an_allowed_host_passes_with_the_token_only() {
    let server = Server::start_with(|config| config.allowed_hosts = vec!["game.example.org".to_owned()]).await;
    let good = format!("Authorization: Bearer {}", server.token.reveal());
    check_refused(&server, &["Host: game.example.org"], 401, "token-missing").await;
    check_refused(&server, &["Host: game.example.org:1", &good], 403, "host-foreign").await;
    check_passes(&server, &["Host: game.example.org", &good]).await;
    check_passes(&server, &["Host: game.example.org", "Origin: http://game.example.org", &good]).await;
    check_passes(&server, &[&format!("Host: {}", server.host())]).await;
    server.end().await;
}

#[tokio::test]
async fn each_refusal_says_why_and_what_to_do_in_one_line() {
    let server = Server::start().await;
    let host = server.host();
    let own = format!("Host: {host}");
    let text = async |headers: &[&str]| -> Answer { server.ask_bare("GET", "/load?name=plugin2.so", headers).await };
    let check = |answer: Answer, expected: String| {
        assert_eq!(answer.body, expected + "\n");
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    };
    check(
        text(&["Host: evil.example"]).await,
        format!(
            "the Host \"evil.example\" is not one of this engine's; use http://{host}, or add it to allowed_hosts in engine.toml"
        ),
    );
    check(
        text(&[&own, "Sec-Fetch-Site: cross-site"]).await,
        "the request was started by another site (Sec-Fetch-Site: \"cross-site\"); type the address into the address bar, or use curl"
            .to_owned(),
    );
    check(
        text(&[&own, "Origin: http://evil.example"]).await,
        "the request comes from a page of the origin \"http://evil.example\"; type the address into the address bar, or use curl"
            .to_owned(),
    );
    check(text(&[]).await, format!("the request has no Host header; send \"Host: {host}\""));
    let long = text(&[&format!("Host: {}", "a".repeat(5000))]).await;
    assert!(long.body.len() < 300, "{long:?}");
    server.end().await;
}
