//! What the server does wrong is in the report, as often as it did it.

use crate::fake::{Fake, Fault, Manners};
use std::time::Duration;
use swarm::{Expect, Options, Pace, Protocol, Report, RunError, Stop, Swaps};

pub(crate) const PLAYERS: u32 = 5;

pub(crate) fn options(url: &str) -> Options {
    Options {
        room: "main".to_owned(),
        players: PLAYERS,
        pace: Pace::PerSecond(100.0),
        duration: Duration::from_secs(1),
        expect: Expect::Echo,
        // It is waited for what is lost only.
        drain_max: Duration::from_secs(10),
        joins_per_second: f64::INFINITY,
        ..Options::new(url.parse().unwrap())
    }
}

pub(crate) fn run(options: &Options) -> Report {
    swarm::run(options, &Stop::default(), |_| {}).unwrap()
}

/// For a server that loses some.
fn soon(options: &mut Options) {
    options.drain_max = Duration::from_secs(2);
}

/// Runs over both transports beside a server of these manners.
fn check(manners: &Manners, change: impl Fn(&mut Options), expect: impl Fn(&Report, &Fake)) {
    for transport in 0..2 {
        let fake = Fake::start(manners.clone());
        let mut options = options(&fake.urls()[transport]);
        change(&mut options);
        let report = run(&options);
        assert!(report.messages.sent > 0, "{report}");
        expect(&report, &fake);
    }
}

fn with_fault(digit: usize, fault: Fault) -> Manners {
    let mut manners = Manners::default();
    manners.faults[digit] = fault;
    manners
}

/// Lost, duplicated, out of order, damaged, failed.
fn wrongs(report: &Report) -> [u64; 5] {
    let messages = &report.messages;
    [messages.lost, messages.duplicated, messages.out_of_order, messages.damaged, messages.failed]
}

#[test]
fn a_good_server_has_a_clean_report() {
    check(
        &Manners::default(),
        |options| options.threads = 2,
        |report, fake| {
            assert_eq!(wrongs(report), [0; 5], "{report}");
            assert_eq!((report.refused(), report.disconnects()), (0, 0), "{report}");
            assert_eq!(report.messages.confirmed, report.messages.sent);
            assert_eq!(report.rtt.all.unwrap().count, report.messages.sent);
            let seen = fake.seen.lock().unwrap();
            let consumed: usize = seen.consumed.iter().map(Vec::len).sum();
            assert_eq!(consumed as u64, report.messages.sent);
            let mut hellos = seen.hellos.clone();
            hellos.sort();
            assert_eq!(hellos, (0..PLAYERS).map(|player| format!("swarm{player}").into_bytes()).collect::<Vec<_>>());
        },
    );
}

#[test]
fn lost_messages_are_found() {
    check(&with_fault(3, Fault::Lose), soon, |report, fake| {
        let lost = fake.seen.lock().unwrap().lost;
        assert!(lost > 0);
        assert_eq!(wrongs(report), [lost, 0, 0, 0, 0], "{report}");
    });
}

#[test]
fn doubled_messages_are_found() {
    check(
        &with_fault(3, Fault::Duplicate),
        |_| {},
        |report, fake| {
            let duplicated = fake.seen.lock().unwrap().duplicated;
            assert!(duplicated > 0);
            assert_eq!(wrongs(report), [0, duplicated, 0, 0, 0], "{report}");
        },
    );
}

#[test]
fn overtaken_messages_are_found() {
    check(
        &with_fault(3, Fault::Overtake),
        |_| {},
        |report, fake| {
            let seen = fake.seen.lock().unwrap();
            assert!(seen.overtaken > 0);
            assert_eq!(wrongs(report)[1..], [0, seen.overtaken, 0, 0], "{report}");
        },
    );
}

#[test]
fn damaged_and_failed_messages_are_found() {
    let mut manners = with_fault(3, Fault::Damage);
    manners.faults[4] = Fault::Fail;
    check(
        &manners,
        |_| {},
        |report, fake| {
            let seen = fake.seen.lock().unwrap();
            assert!(seen.damaged > 0 && seen.failed > 0);
            assert_eq!(wrongs(report), [0, 0, 0, seen.damaged, seen.failed], "{report}");
            assert_eq!(report.messages.confirmed + seen.failed, report.messages.sent);
        },
    );
}

#[test]
fn a_wrong_count_of_consumed_inputs_is_found() {
    let consumed = |options: &mut Options| options.expect = Expect::Consumed;
    check(&Manners::default(), consumed, |report, _| {
        assert_eq!(wrongs(report), [0; 5], "{report}");
        assert_eq!(report.messages.confirmed, report.messages.sent);
    });
    // From the third on, one less than was consumed: the last one of each player never shows.
    let consumed_soon = |options: &mut Options| {
        consumed(options);
        soon(options);
    };
    check(&Manners { miscount: Some((3, -1)), ..Manners::default() }, consumed_soon, |report, _| {
        assert_eq!(wrongs(report), [u64::from(PLAYERS), 0, 0, 0, 0], "{report}");
    });
    // Back to where it was, once each.
    check(&Manners { miscount: Some((3, -2)), ..Manners::default() }, consumed_soon, |report, _| {
        assert_eq!(wrongs(report), [u64::from(PLAYERS) * 2, 0, u64::from(PLAYERS), 0, 0], "{report}");
    });
    // One more than were sent: some input counted twice.
    let ahead = Manners { miscount: Some((3, 1)), ..Manners::default() };
    let one_by_one = |options: &mut Options| {
        consumed_soon(options);
        options.pace = Pace::InFlight(1);
    };
    check(&ahead, one_by_one, |report, _| assert!(report.messages.duplicated >= u64::from(PLAYERS), "{report}"));
}

#[test]
fn who_is_refused_or_cut_off_is_counted_by_code() {
    check(
        &Manners { seats: 3, ..Manners::default() },
        |_| {},
        |report, _| {
            assert_eq!(report.connections.joined, 3);
            assert_eq!(report.connections.refused.iter().collect::<Vec<_>>(), [(&"4503 NoPlace".to_owned(), &2)]);
        },
    );
    let close = |code| Manners { close_at: Some((4, code)), ..Manners::default() };
    check(
        &close(wire::CloseCode::SlowReader),
        |_| {},
        |report, _| {
            let all = u64::from(PLAYERS);
            assert_eq!(
                report.connections.disconnects.iter().collect::<Vec<_>>(),
                [(&"4441 SlowReader".to_owned(), &all)]
            );
            assert!(report.messages.lost >= all, "what was sent last was never answered: {report}");
        },
    );
    check(
        &Manners { cut_at: Some(4), ..Manners::default() },
        |_| {},
        |report, _| {
            assert_eq!(report.connections.disconnects.keys().collect::<Vec<_>>(), ["cut"]);
            assert_eq!(report.disconnects(), u64::from(PLAYERS));
        },
    );
}

#[test]
fn so_many_are_in_flight_and_no_more() {
    // The second message is never answered, so that two in flight come to a stop at the third.
    let lose = Manners { faults: [Fault::Lose; 10], ..Manners::default() };
    check(
        &lose,
        |options| {
            options.pace = Pace::InFlight(2);
            soon(options);
        },
        |report, _| {
            assert_eq!(report.messages.sent, u64::from(PLAYERS) * 2);
        },
    );
}

#[test]
fn a_bare_echo_server_will_do() {
    let bare = |options: &mut Options| {
        options.protocol = Protocol::BareEcho;
        options.pace = Pace::InFlight(3);
    };
    check(&Manners { bare: true, ..Manners::default() }, bare, |report, _| {
        assert_eq!(wrongs(report), [0; 5], "{report}");
        assert_eq!(report.messages.confirmed, report.messages.sent);
    });
}

#[test]
fn swaps_take_turns_and_refusals_are_counted() {
    let swap = |options: &mut Options| {
        options.swaps = Some(Swaps {
            every: Duration::from_millis(50),
            between: ["good.so?drop=Unit.x&drop=orbs", "bad.so"].map(|text| text.parse().unwrap()).into(),
            margin: Duration::from_millis(10),
            token: None,
        });
    };
    check(&Manners::default(), swap, |report, fake| {
        let loads = &fake.seen.lock().unwrap().loads;
        assert!(loads.len() >= 2);
        let turns: Vec<_> = ["good.so&drop=Unit.x&drop=orbs", "bad.so"].into_iter().cycle().take(loads.len()).collect();
        assert_eq!(*loads, turns);
        let swaps = report.swaps.as_ref().unwrap();
        assert_eq!(swaps.done, loads.len().div_ceil(2));
        assert_eq!(
            swaps.refused.iter().collect::<Vec<_>>(),
            [(&"bad.so: it is bad".to_owned(), &(loads.len() as u64 / 2))]
        );
        let (inside, outside) = (report.rtt.inside_swaps.unwrap(), report.rtt.outside_swaps.unwrap());
        assert_eq!(inside.count + outside.count, report.messages.confirmed);
    });
}

#[test]
fn nobody_let_in_is_no_run() {
    let fake = Fake::start(Manners { seats: 0, ..Manners::default() });
    for url in fake.urls() {
        let error = swarm::run(&options(&url), &Stop::default(), |_| {}).unwrap_err();
        assert_eq!(error.to_string(), format!("nobody was let in at {url}: 4503 NoPlace"));
    }
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = swarm::run(&options(&format!("tcp://{gone}")), &Stop::default(), |_| {}).unwrap_err();
    assert!(matches!(&error, RunError::Nobody { reason, .. } if reason.contains("refused")), "{error}");
}
