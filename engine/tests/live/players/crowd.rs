//! A crowd of players, with the load generator's own eyes: nothing is lost while versions take turns under it.

use std::time::Duration;

use swarm::{Expect, Options, Pace, Stop, Swaps};

use crate::support::{Setup, echoing};

/// A run goes on until there were so many, however busy the machine is.
const SWAPS: usize = 5;

fn check(url: impl Fn(std::net::SocketAddr) -> String, expect: Expect) {
    let files = ["game.1001.so", "plugin1.so", "plugin2.so"];
    let engine = Setup::new(echoing(), &files).with("frames_per_second_max = 0").with("probation = \"10s\"").start();
    let options = Options {
        players: 40,
        pace: Pace::PerSecond(40.0),
        duration: Duration::from_secs(60),
        expect,
        drain_max: Duration::from_secs(30),
        swaps: Some(Swaps {
            every: Duration::from_millis(100),
            between: ["plugin2.so", "plugin1.so"].map(|name| name.parse().unwrap()).into(),
            margin: Duration::from_millis(10),
            token: None,
        }),
        ..Options::new(url(engine.address).parse().unwrap())
    };
    let stop = Stop::default();
    let report = swarm::run(&options, &stop, |progress| {
        if progress.swaps >= SWAPS {
            stop.begin();
        }
    });
    let report = report.unwrap();
    let messages = &report.messages;
    let wrong = [messages.lost, messages.duplicated, messages.out_of_order, messages.damaged, messages.failed];
    assert_eq!((wrong, report.refused(), report.disconnects()), ([0; 5], 0, 0), "{report}");
    assert_eq!((report.connections.joined, messages.confirmed), (40, messages.sent), "{report}");
    let swaps = report.swaps.as_ref().unwrap();
    assert!(swaps.done >= SWAPS && swaps.refused.is_empty(), "{report}");
    assert!(report.rtt.inside_swaps.is_some_and(|inside| inside.count > 0), "messages met the swaps: {report}");
}

#[test]
fn nothing_is_lost_over_web_sockets_while_versions_take_turns() {
    check(|address| format!("ws://{address}/ws"), Expect::Echo);
}

#[test]
fn nothing_is_lost_over_tcp_while_versions_take_turns() {
    check(|address| format!("tcp://{address}"), Expect::Echo);
    check(|address| format!("tcp://{address}"), Expect::Consumed);
}
