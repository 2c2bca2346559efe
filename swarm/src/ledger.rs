//! What one player has sent and what of it was confirmed: here it shows whether a message was lost, doubled or overtaken.

use std::collections::VecDeque;

use crate::options::Expect;

/// In place of the time at which a message was sent, once it needs no more confirmation.
const DONE: u64 = u64::MAX;

/// The messages of one player, by their numbers, which begin at 1.
#[derive(Debug)]
pub(crate) struct Ledger {
    expect: Expect,
    /// When they were sent, in nanoseconds of the run, from the number `first` on; the first of them is not done.
    sent_at: VecDeque<u64>,
    first: u32,
    open: u32,
    /// The highest that a header has named.
    consumed: u32,
    /// The highest whose echo has come.
    echoed: u32,
}

/// What was found out from one frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    pub(crate) duplicated: u32,
    pub(crate) out_of_order: u32,
    /// Inputs that the engine once said it had consumed, and then knew nothing of.
    pub(crate) forgotten: u32,
    /// Consumed inputs whose answers were on their way when the connection broke.
    pub(crate) answers_cut: u32,
}

impl Ledger {
    pub(crate) fn new(expect: Expect) -> Self {
        Self { expect, sent_at: VecDeque::new(), first: 1, open: 0, consumed: 0, echoed: 0 }
    }

    /// A message goes out now; gives its number.
    pub(crate) fn send(&mut self, now: u64) -> u32 {
        let number = self.next();
        self.sent_at.push_back(now);
        self.open += 1;
        number
    }

    /// Messages that nothing has confirmed yet.
    pub(crate) fn open(&self) -> u32 {
        self.open
    }

    fn next(&self) -> u32 {
        self.first + u32::try_from(self.sent_at.len()).expect("numbers have 32 bits")
    }

    /// A header says what was consumed last; where echoes are expected, they tell all the rest. `confirm` is given the time at which each message that this confirms was sent.
    pub(crate) fn header(&mut self, consumed: u32, confirm: impl FnMut(u64)) -> Findings {
        let mut findings = Findings::default();
        let last_sent = self.next() - 1;
        if self.expect == Expect::Consumed {
            if consumed > last_sent {
                // More inputs than were sent: some counted twice.
                findings.duplicated = consumed.saturating_sub(last_sent.max(self.consumed));
            }
            if consumed < self.consumed {
                findings.out_of_order = 1;
            } else {
                self.finish_up_to(consumed.min(last_sent), confirm);
            }
        }
        self.consumed = self.consumed.max(consumed);
        findings
    }

    /// The echo of a message has come. `confirm` as above.
    pub(crate) fn echo(&mut self, number: u32, confirm: impl FnOnce(u64)) -> Findings {
        let mut findings = Findings::default();
        match self.finish(number) {
            Some(sent_at) => {
                findings.out_of_order = u32::from(number < self.echoed);
                confirm(sent_at);
            }
            None => findings.duplicated = 1,
        }
        self.echoed = self.echoed.max(number);
        findings
    }

    /// The engine says that an input was not applied: no echo of it is going to come. False if it was done before.
    pub(crate) fn failed(&mut self, number: u32) -> bool {
        self.finish(number).is_some()
    }

    /// The room went back in time: what it says it has consumed may be less than before.
    pub(crate) fn resync(&mut self, consumed: u32) {
        self.consumed = consumed;
    }

    /// The engine says on a new connection what it has consumed: the rest is to be sent again. Its numbers come with the
    /// findings; `confirm` as above.
    pub(crate) fn resume(&mut self, consumed: u32, confirm: impl FnMut(u64)) -> (Findings, std::ops::Range<u32>) {
        let forgotten = self.first.saturating_sub(1).saturating_sub(consumed);
        let mut findings = if consumed >= self.consumed { self.header(consumed, confirm) } else { Findings::default() };
        self.consumed = consumed;
        findings.forgotten = forgotten;
        if self.expect == Expect::Echo {
            self.finish_up_to(consumed, |_| findings.answers_cut += 1);
        }
        // What it has forgotten is sent again too: payloads can be made again, and numbers may have no gap.
        (findings, consumed.saturating_add(1)..self.next())
    }

    fn finish_up_to(&mut self, number: u32, mut each: impl FnMut(u64)) {
        while self.first <= number {
            let Some(sent_at) = self.sent_at.pop_front() else { break };
            self.first += 1;
            if sent_at != DONE {
                self.open -= 1;
                each(sent_at);
            }
        }
        self.drop_done();
    }

    fn finish(&mut self, number: u32) -> Option<u64> {
        let place = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let sent_at = std::mem::replace(self.sent_at.get_mut(place)?, DONE);
        if sent_at == DONE {
            return None;
        }
        self.open -= 1;
        self.drop_done();
        Some(sent_at)
    }

    fn drop_done(&mut self) {
        while self.sent_at.front() == Some(&DONE) {
            self.sent_at.pop_front();
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(expect: Expect, sent: u32) -> Ledger {
        let mut ledger = Ledger::new(expect);
        for number in 1..=sent {
            assert_eq!(ledger.send(u64::from(number) * 10), number);
        }
        ledger
    }

    fn echo(ledger: &mut Ledger, number: u32) -> (Findings, Option<u64>) {
        let mut confirmed = None;
        (ledger.echo(number, |sent_at| confirmed = Some(sent_at)), confirmed)
    }

    #[test]
    fn a_header_confirms_all_up_to_its_number() {
        let mut ledger = ledger(Expect::Consumed, 4);
        let mut confirmed = Vec::new();
        assert_eq!(ledger.header(3, |sent_at| confirmed.push(sent_at)), Findings::default());
        assert_eq!((&confirmed[..], ledger.open()), (&[10, 20, 30][..], 1));
        assert_eq!(ledger.header(3, |_| panic!("confirmed already")), Findings::default());
        assert_eq!(ledger.header(2, |_| panic!()), Findings { out_of_order: 1, ..Findings::default() });
        assert_eq!(ledger.header(6, |_| {}), Findings { duplicated: 2, ..Findings::default() });
        assert_eq!(ledger.header(6, |_| panic!()), Findings::default(), "counted once");
        assert_eq!(ledger.open(), 0);
    }

    #[test]
    fn echoes_show_what_is_lost_doubled_and_overtaken() {
        let mut ledger = ledger(Expect::Echo, 5);
        assert_eq!(ledger.header(5, |_| panic!("a header confirms no echo")), Findings::default());
        assert_eq!(echo(&mut ledger, 1), (Findings::default(), Some(10)));
        assert_eq!(echo(&mut ledger, 3), (Findings::default(), Some(30)));
        assert_eq!(echo(&mut ledger, 2), (Findings { out_of_order: 1, ..Findings::default() }, Some(20)));
        let twice = Findings { duplicated: 1, ..Findings::default() };
        assert_eq!(echo(&mut ledger, 3), (twice, None));
        assert_eq!(echo(&mut ledger, 5), (Findings::default(), Some(50)));
        assert_eq!(echo(&mut ledger, 5), (twice, None), "also before the one that is open");
        assert_eq!(echo(&mut ledger, 9), (twice, None), "never sent");
        assert_eq!(ledger.open(), 1);
        assert!(ledger.failed(4));
        assert!(!ledger.failed(4));
        assert_eq!(ledger.open(), 0);
    }

    #[test]
    fn after_a_resume_the_rest_is_sent_again() {
        let mut echoing = ledger(Expect::Echo, 6);
        echo(&mut echoing, 1);
        let (findings, again) = echoing.resume(4, |_| panic!("an echo was cut, not confirmed"));
        assert_eq!((findings, again), (Findings { answers_cut: 3, ..Findings::default() }, 5..7));
        assert_eq!(echo(&mut echoing, 5), (Findings::default(), Some(50)));
        assert_eq!(echoing.open(), 1);

        let mut consumed = ledger(Expect::Consumed, 3);
        let mut confirmed = Vec::new();
        let (findings, again) = consumed.resume(1, |sent_at| confirmed.push(sent_at));
        assert_eq!((findings, again, &confirmed[..]), (Findings::default(), 2..4, &[10][..]));
        consumed.header(3, |_| {});
        let (findings, again) = consumed.resume(1, |_| panic!());
        assert_eq!((findings, again), (Findings { forgotten: 2, ..Findings::default() }, 2..4));
    }

    #[test]
    fn a_room_that_went_back_in_time_may_count_again() {
        let mut ledger = ledger(Expect::Consumed, 3);
        ledger.header(3, |_| {});
        ledger.resync(1);
        assert_eq!(ledger.header(2, |_| panic!("confirmed already")), Findings::default());
    }
}
