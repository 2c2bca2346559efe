//! The binary: what it prints, and how it exits.

use crate::fake::{Fake, Fault, Manners};
use std::process::{Command, Output};

fn swarm(words: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_swarm")).args(words.split_whitespace()).output().unwrap()
}

fn line(fake: &Fake, more: &str) -> String {
    let [url, _] = fake.urls();
    format!("--url {url} --room main --players 3 --rate 50 --seconds 1 --drain 3 --expect echo --quiet {more}")
}

#[test]
fn a_clean_run_succeeds_and_tells_its_figures() {
    let fake = Fake::start(Manners::default());
    let output = swarm(&line(&fake, "--fail-on-loss --silence-max-ms 60000"));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    for part in
        ["3 joined, 0 refused, 0 disconnects", "0 lost, 0 duplicated, 0 out of order", "bar met", "rtt", "p99.9"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn while_it_runs_it_says_how_it_goes() {
    let fake = Fake::start(Manners::default());
    let [url, _] = fake.urls();
    let output = swarm(&format!("--url {url} --room main --players 3 --rate 50 --seconds 3 --drain 10 --expect echo"));
    let told = String::from_utf8(output.stderr).unwrap();
    let words: Vec<_> = told.lines().last().unwrap_or_default().split_whitespace().collect();
    let [at, "s", "3", "players", messages, "msg/s", frames, "frames/s", "rtt", rtt, "ms"] = words[..] else {
        panic!("{told:?}");
    };
    assert!(at.parse::<u32>().unwrap() >= 1, "{told}");
    for number in [messages, frames] {
        assert!((1.0..1000.0).contains(&number.parse::<f64>().unwrap()), "{told}");
    }
    let (median, p99) = rtt.split_once('/').unwrap();
    assert!(median.parse::<f64>().unwrap() <= p99.parse().unwrap(), "{told}");
}

#[test]
fn a_loss_fails_where_it_was_asked_to() {
    let mut manners = Manners::default();
    manners.faults[2] = Fault::Lose;
    let fake = Fake::start(manners);
    assert!(swarm(&line(&fake, "")).status.success(), "nothing was asked for");
    let output = swarm(&line(&fake, "--fail-on-loss --json"));
    assert_eq!(output.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["messages"]["lost"].as_u64().unwrap() > 0, "{report}");
    assert_eq!(report["bars"][0]["met"], false);
    assert_eq!(report["connections"]["joined"], 3);
}

#[test]
fn what_cannot_run_exits_with_2_and_one_line() {
    let check = |words: &str, expected: &str| {
        let output = swarm(words);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(expected), "{expected} in {text}");
    };
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    check(
        &format!("--url ws://{gone}/ws --players 1"),
        &format!("nobody was let in at ws://{gone}/ws: cannot connect: "),
    );
    check("--url wss://a:1/ws", "wss:// is not spoken here");
    check("--url ws://127.0.0.1:1/ws --players 0", "the number of players is 0; accepted is 1 to 100000");
    check("--url ws://127.0.0.1:1/ws --rate -1", "the rate is -1; accepted is above 0");
    check("--url ws://127.0.0.1:1/ws --seconds 0", "--seconds 0 is no time");
    check("--url ws://127.0.0.1:1/ws --script /nowhere.txt", "/nowhere.txt cannot be read");
    check("--url ws://127.0.0.1:1/ws --swap-every 1 --swap-between a.so?x", "\"a.so?x\" is no plugin: give NAME");
    check("--url ws://127.0.0.1:1/ws --rate 1 --in-flight 1", "cannot be used with");
}
