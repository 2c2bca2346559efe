//! A connection that breaks costs no message where the player comes back.

use crate::fake::{Fake, Manners};
use crate::findings::{PLAYERS, options, run};
use swarm::Expect;

#[test]
fn what_was_not_consumed_is_sent_again_once_and_in_order() {
    for (transport, expect) in [(0, Expect::Echo), (1, Expect::Echo), (0, Expect::Consumed), (1, Expect::Consumed)] {
        let fake = Fake::start(Manners { cut_at: Some(5), ..Manners::default() });
        let mut options = options(&fake.urls()[transport]);
        (options.reconnect, options.expect) = (true, expect);
        options.drain_max = std::time::Duration::from_secs(10);
        let report = run(&options);
        let all = u64::from(PLAYERS);
        assert_eq!((report.disconnects(), report.connections.resumed), (all, all), "{report}");
        assert!(report.messages.sent_again >= all, "{report}");
        // Nobody comes back sooner than that.
        assert!(report.longest_silence_ms >= 100.0, "{report}");
        let messages = &report.messages;
        assert_eq!((messages.lost, messages.duplicated, messages.out_of_order), (0, 0, 0), "{report}");
        assert_eq!(messages.forgotten, 0, "{report}");
        let consumed = fake.seen.lock().unwrap().consumed.iter().map(Vec::len).sum::<usize>();
        // The server itself insists on numbers that rise by one.
        assert_eq!(consumed as u64, messages.sent, "{report}");
    }
}
