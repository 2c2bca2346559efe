//! Records as bytes: what is read is what was written, and nothing else is read.

use crate::game::New;
use crate::support::linked;
use logic_api::{PlayerId, Tick, Version};
use proptest::prelude::*;
use room::{Input, LogicFault, Note, Record, RecordKind, Request, Skipped, Stamp, TrialId, encode_input};
use std::sync::Arc;
use std::time::Duration;

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..200)
}

fn request() -> impl Strategy<Value = Request> {
    let headers = prop::collection::vec((".{0,9}", ".{0,30}"), 0..5);
    (".{0,9}", ".{0,30}", ".{0,30}", headers, bytes()).prop_map(|(method, path, query, headers, body)| Request {
        method,
        path,
        query,
        headers,
        body,
    })
}

fn input() -> impl Strategy<Value = Input> {
    let player = || any::<u64>().prop_map(PlayerId);
    prop_oneof![
        bytes().prop_map(|bytes| Input::Create { config: bytes.into() }),
        (player(), bytes(), ".{0,50}")
            .prop_map(|(player, bytes, claims)| { Input::Join { player, hello: bytes.into(), claims: claims.into() } }),
        player().prop_map(|player| Input::Drop { player }),
        player().prop_map(|player| Input::Reconnect { player }),
        (player(), ".{0,50}").prop_map(|(player, reason)| Input::Leave { player, reason: reason.into() }),
        (player(), any::<u32>(), bytes()).prop_map(|(player, number, bytes)| Input::Message {
            player,
            number,
            bytes: bytes.into()
        }),
        (player(), any::<u32>()).prop_map(|(player, number)| Input::Skip { player, number }),
        (player(), any::<bool>()).prop_map(|(player, is_connected)| Input::Presence { player, is_connected }),
        Just(Input::Confirm),
        proptest::collection::btree_set(1..u32::MAX, 0..4)
            .prop_map(|numbers| Input::Rewind { without: numbers.into_iter().collect() }),
        Just(Input::Tick),
        request().prop_map(|request| Input::Request(Arc::new(request))),
        (".{0,50}", bytes()).prop_map(|(name, bytes)| Input::Signal { name: name.into(), bytes: bytes.into() }),
        (proptest::collection::vec("[a-zA-Z.]{0,9}", 0..3), any::<u64>().prop_map(TrialId))
            .prop_map(|(drops, trial)| Input::Swap { to: linked::<New>(), drops: drops.into(), trial }),
        (any::<u64>(), 0..1_000_000_000u32)
            .prop_map(|(seconds, nanos)| Input::Terminate { grace: Duration::new(seconds, nanos) }),
        Just(Input::Dispose),
    ]
}

fn note() -> impl Strategy<Value = Note> {
    let callback = prop::sample::select(vec!["tick", "message", "replay", "process"]);
    let stamp = proptest::option::of((any::<u64>(), any::<u64>()).prop_map(|(now_us, seed)| Stamp { now_us, seed }));
    let fault = (any::<u32>(), callback, ".{0,50}", ".{0,50}", any::<u64>(), stamp);
    let fault = fault.prop_map(|(version, callback, message, location, tick, stamp)| {
        let (version, tick) = (Version(version), Tick(tick));
        Note::Freeze { fault: LogicFault { version, callback, message, location, tick }, tick: stamp }
    });
    let skipped = (any::<u64>(), any::<u32>()).prop_map(|(record, again)| Note::Skipped(Skipped { record, again }));
    let leaving = (any::<u64>(), ".*")
        .prop_map(|(player, reason)| Note::Leaving { player: PlayerId(player), reason: reason.into() });
    prop_oneof![fault, any::<u64>().prop_map(Note::Hash), skipped, leaving]
}

fn encode(stamp: Stamp, input: &Input) -> (RecordKind, Vec<u8>) {
    let mut bytes = Vec::new();
    let kind = encode_input(stamp, input, &linked::<New>(), &mut bytes);
    (kind, bytes)
}

/// The input that a record gives back, where the versions are known.
pub(crate) fn through_bytes(stamp: Stamp, input: &Input) -> (Stamp, Input) {
    let (kind, bytes) = encode(stamp, input);
    match (Record::decode(kind, &bytes).unwrap(), input) {
        (Record::Input { stamp, input }, _) => (stamp, input),
        (Record::Create { stamp, version, config }, _) => {
            assert_eq!(version, linked::<New>().mark());
            (stamp, Input::Create { config })
        }
        (Record::Swap { stamp, to, drops, trial }, Input::Swap { to: logic, .. }) => {
            assert_eq!(to, logic.mark());
            (stamp, Input::Swap { to: logic.clone(), drops: drops.into(), trial })
        }
        (other, _) => panic!("{input:?} became {other:?}"),
    }
}

fn refused(kind: RecordKind, bytes: &[u8]) -> bool {
    Record::decode(kind, bytes).is_err()
}

proptest! {
    #[test]
    fn an_input_comes_back_as_it_went(now_us: u64, seed: u64, input in input()) {
        let stamp = Stamp { now_us, seed };
        let (stamp_back, back) = through_bytes(stamp, &input);
        prop_assert_eq!(stamp_back, stamp);
        prop_assert_eq!(format!("{back:?}"), format!("{input:?}"));
        let (kind, bytes) = encode(stamp, &input);
        prop_assert!((0..bytes.len()).all(|len| refused(kind, &bytes[..len])));
        prop_assert!(refused(kind, &[&bytes[..], &[0]].concat()));
        prop_assert!(!Record::decode(kind, &bytes).unwrap().to_string().contains('\n'));
    }

    #[test]
    fn a_note_comes_back_as_it_went(note in note()) {
        let mut bytes = Vec::new();
        let kind = note.encode(&mut bytes);
        let Record::Note(back) = Record::decode(kind, &bytes).unwrap() else { panic!("a note is a note") };
        prop_assert_eq!(&back, &note);
        prop_assert!((0..bytes.len()).all(|len| refused(kind, &bytes[..len])));
        prop_assert!(refused(kind, &[&bytes[..], &[0]].concat()));
    }

    #[test]
    fn whatever_the_bytes_are_nothing_panics(kind in 0u16..40, bytes in bytes()) {
        if let Ok(record) = Record::decode(RecordKind(kind), &bytes) {
            prop_assert!(!record.to_string().is_empty());
        }
    }

    #[test]
    fn a_changed_byte_is_another_record_or_none(input in input(), at: prop::sample::Index, to: u8) {
        let (kind, bytes) = encode(Stamp::default(), &input);
        let mut changed = bytes.clone();
        changed[at.index(bytes.len())] = to;
        if let Ok(record) = Record::decode(kind, &changed) {
            let original = Record::decode(kind, &bytes).unwrap();
            prop_assert_eq!(format!("{record:?}") == format!("{original:?}"), changed == bytes);
        }
    }
}

#[test]
fn lengths_that_lie_are_told() {
    let (kind, mut bytes) = encode(Stamp::default(), &Input::Signal { name: "go".into(), bytes: [].into() });
    bytes[16..20].copy_from_slice(&u32::MAX.to_le_bytes());
    let error = Record::decode(kind, &bytes).unwrap_err().to_string();
    assert_eq!(error, "signal: 4294967295 bytes expected, 6 left");
    let error = Record::decode(RecordKind(99), &[0; 16]).unwrap_err().to_string();
    assert_eq!(error, "kind of record: found 99, expected one that this engine knows");
}
