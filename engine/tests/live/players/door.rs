//! Who may join.

use std::os::unix::fs::PermissionsExt;

use crate::players::client::{BOTH, Client};
use crate::players::witness::{QUIET, Witness, nobody_notices};
use crate::support::{Setup, moody};
use wire::{ClientFrame, CloseCode};

const SECRET: &str = "the secret of this test";
/// Signed with it: `{"sub":"ann","exp":4000000000}`.
const TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbm4iLCJleHAiOjQwMDAwMDAwMDB9.Jkrhz6Ddmldd_fpBHRv27nNjpubY7XCx8yhqpSiG3F0";

/// The same with `{"sub":"bob","banned":true,"exp":4000000000}`.
const BANNED: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJib2IiLCJiYW5uZWQiOnRydWUsImV4cCI6NDAwMDAwMDAwMH0.Gjnn2TDe69w2a15Vg108mQ3fyKVpZ9QGxajkpw-spPk";

fn setup(auth: &str) -> Setup {
    let setup = Setup::new(moody(), &["game.1001.so"]).with(&format!("auth = \"{auth}\"\nauth_key = \"players.key\""));
    let key = setup.plugins().join("../players.key");
    std::fs::write(&key, SECRET).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    setup
}

#[test]
fn credentials_come_in_the_join_or_in_the_handshake() {
    let engine = setup("jwt-hs256").start();
    let welcome = r#"welcome {"exp":4000000000,"sub":"ann"}"#;
    for transport in BOTH {
        let mut client = Client::open(engine.address, transport);
        client.send(&ClientFrame::Join { room: "", credentials: TOKEN, hello: b"" });
        client.joined();
        assert_eq!(client.hear(), welcome);
        let mut client = Client::open(engine.address, transport);
        client.send(&ClientFrame::Join { room: "", credentials: BANNED, hello: b"" });
        let reason = "a claim says that you are banned".to_owned();
        assert_eq!(client.closing(), (CloseCode::Refused, reason), "claims reach the logic");
        for credentials in ["", SECRET, &TOKEN[1..]] {
            let mut client = Client::open(engine.address, transport);
            client.send(&ClientFrame::Join { room: "", credentials, hello: b"" });
            assert_eq!(client.closing().0, CloseCode::BadCredentials);
        }
    }
    let mut client = Client::web_socket(engine.address, "/ws", &[&format!("Authorization: Bearer {TOKEN}")]);
    client.send(&ClientFrame::Join { room: "", credentials: "", hello: b"" });
    client.joined();
    assert_eq!(client.hear(), welcome);
    let long = format!("Authorization: Bearer {}", "x".repeat(8193));
    let mut client = Client::web_socket(engine.address, "/ws", &[&long]);
    client.send(&ClientFrame::Join { room: "", credentials: "", hello: b"" });
    let reason = "credentials of 8193 bytes; expected at most 8192".to_owned();
    assert_eq!(client.closing(), (CloseCode::BadCredentials, reason));
    assert_eq!(engine.metric("hotseat_closes_total{cause=\"credentials-wrong\",code=\"4401\"}"), 4);
    assert_eq!(engine.metric("hotseat_closes_total{cause=\"credentials-missing\",code=\"4401\"}"), 2);
}

#[test]
fn a_secret_lets_in_whoever_knows_it() {
    let engine = setup("secret").start();
    for (credentials, lets_in) in [(SECRET, true), ("the secret of another", false)] {
        let mut client = Client::open(engine.address, BOTH[0]);
        client.send(&ClientFrame::Join { room: "", credentials, hello: b"" });
        if lets_in {
            client.joined();
        } else {
            let reason = "the credentials are not accepted".to_owned();
            assert_eq!(client.closing(), (CloseCode::BadCredentials, reason));
        }
    }
}

#[test]
fn a_key_that_is_missing_is_told_at_the_start() {
    let setup = setup("secret");
    std::fs::remove_file(setup.plugins().join("../players.key")).unwrap();
    let line = setup.failure(&["serve"]);
    assert_eq!(line, "the key players.key cannot be read: No such file or directory (os error 2)");
}

#[test]
fn pages_of_other_sites_may_not_play() {
    nobody_notices(|| {
        let setup = Setup::new(moody(), &["game.1001.so"]).with(QUIET);
        let engine = setup.with("allowed_origins = [\"https://game.example.org\"]").start();
        let mut witness = Witness::new(&engine);
        let own = format!("Origin: http://{}", engine.address);
        let accepted = |headers: &[&str]| {
            let (_, head) = Client::handshake(engine.address, "/ws?room=main", headers);
            assert!(head.starts_with("HTTP/1.1 101 "), "{headers:?}: {head}");
        };
        let refused = |host: &str, headers: &[&str], status: &str, reason: &str| {
            let (mut client, head) = Client::handshake_as(host, engine.address, "/ws?room=main", headers);
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{headers:?}: {head}");
            assert_eq!(client.body(&head), format!("{reason}\n"), "{headers:?}");
        };
        let foreign = |origin: &str| {
            format!(
                "a page of the origin \"{origin}\" may not connect; add it to allowed_origins in engine.toml, or its host \
             to allowed_hosts"
            )
        };
        accepted(&[]);
        accepted(&[&own]);
        accepted(&["Origin: https://game.example.org"]);
        accepted(&["Sec-WebSocket-Protocol: other, hotseat.1"]);
        let host = engine.address.to_string();
        for origin in ["https://evil.example", "null", "http://game.example.org", "http://127.0.0.1"] {
            refused(&host, &[&format!("Origin: {origin}")], "403", &foreign(origin));
        }
        refused(&host, &[&own, "Origin: https://evil.example"], "403", &foreign(&own["Origin: ".len()..]));
        // A name that a foreign page has lead here: its Host is its Origin.
        let led_here = "http://evil.example:80";
        refused("evil.example:80", &[&format!("Origin: {led_here}")], "403", &foreign(led_here));
        let reason = "none of the subprotocols is spoken here; hotseat.1 is";
        refused(&host, &["Sec-WebSocket-Protocol: other"], "400", reason);
        let reason = "Sec-WebSocket-Version is missing or not accepted; accepted is 13";
        refused(&host, &["Sec-WebSocket-Version: 8"], "426", reason);
        witness.is_undisturbed()?;
        assert_eq!(engine.metric("hotseat_handshakes_refused_total{cause=\"origin-foreign\"}"), 6);
        assert_eq!(engine.ask("/ws").status, 426);
        // A browser keeps the answer to itself, so whoever runs the engine is told what to do.
        let log = engine.log();
        let told = log.lines().find(|line| line.contains("a page that came to play was refused"));
        for word in ["WARN", "https://evil.example", "allowed_hosts", "127.0.0.1:"] {
            assert!(told.is_some_and(|line| line.contains(word)), "{word} in {log}");
        }
        Ok(())
    });
}
