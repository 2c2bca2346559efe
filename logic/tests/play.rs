//! The rules of the arena in the test kit.

use logic::{Arena, Avatar, Orb, Phase};
use logic_api::PlayerId;
use room::testing::TestRoom;
use std::time::Duration;

fn avatar(room: &mut TestRoom<Arena>, player: PlayerId) -> Avatar {
    room.read(|arena| *arena.avatars.find(player).expect("the player has an avatar"))
}

#[expect(clippy::cast_possible_truncation, reason = "from -127 to 127")]
fn part(of: f32) -> u8 {
    ((of * 127.0) as i8).cast_unsigned()
}

/// Kinds and contents of the parts of all messages: as a client would take them apart.
fn parts(messages: &[Vec<u8>]) -> Vec<(u8, Vec<u8>)> {
    let mut found = Vec::new();
    for message in messages {
        let mut rest = &message[..];
        while let [kind, after @ ..] = rest {
            let length = match kind {
                1 => 14,
                2 | 4 => 2,
                3 => 4 + usize::from(after[3]),
                5 => 9,
                6 => 4,
                7 => 5,
                8 => (0..after[9]).fold(10, |at, _| at + 7 + usize::from(after[at + 6])),
                9 => 0,
                10 => 6 + 10 * usize::from(u16::from_le_bytes([after[4], after[5]])),
                other => panic!("no part has kind {other}: {message:?}"),
            };
            found.push((*kind, after[..length].to_vec()));
            rest = &after[length..];
        }
    }
    found
}

fn count(parts: &[(u8, Vec<u8>)], kind: u8) -> usize {
    parts.iter().filter(|(found, _)| *found == kind).count()
}

#[test]
fn an_empty_arena_costs_nothing() {
    let mut room = TestRoom::<Arena>::new();
    let before = room.room().state_hash();
    room.run(Duration::from_secs(5));
    assert_eq!(room.room().state_hash(), before);
    assert_eq!(room.room().world().size().rows, 2, "the game and the greeting");
}

#[test]
fn a_player_is_steered() {
    let mut room = TestRoom::<Arena>::new();
    let ann = room.join(b"ann");
    let before = avatar(&mut room, ann);
    let towards_middle = if before.x < 800.0 { 127u8 } else { (-127i8).cast_unsigned() };
    room.send(ann, &[towards_middle, 0]);
    room.run(Duration::from_millis(500));
    let after = avatar(&mut room, ann);
    assert!((after.x - before.x).abs() > 50.0, "{before:?} {after:?}");
    for nonsense in [&b""[..], &[1], &[1, 2, 3], &[0; 1000]] {
        room.send(ann, nonsense);
    }
    assert_eq!((after.steer_x.abs(), after.steer_y), (1.0, 0.0));
}

#[test]
fn who_asks_for_everything_over_and_over_gets_it_now_and_then() {
    let mut room = TestRoom::<Arena>::new();
    let (ann, ben) = (room.join(b"ann"), room.join(b"ben"));
    let mut answers = |times: usize, wait: Duration| {
        room.run(wait);
        room.received(ann);
        (0..times).for_each(|_| room.send(ann, &[0]));
        count(&parts(&room.received(ann)), 2)
    };
    assert_eq!(answers(200, Duration::ZERO), 5);
    assert_eq!(answers(200, Duration::from_millis(2100)), 2);
    assert_eq!(answers(1, Duration::ZERO), 0);
    assert_eq!(answers(200, Duration::from_secs(10)), 5);
    // It is each player's own, and nothing of it is left of somebody who has gone.
    room.received(ben);
    room.send(ben, &[0]);
    assert_eq!(count(&parts(&room.received(ben)), 2), 1);
    room.leave(ann);
    assert_eq!(room.read(|arena| arena.askers.len()), 1);
}

#[test]
fn walls_hold() {
    let mut room = TestRoom::<Arena>::new();
    let ann = room.join(b"ann");
    for direction in [[127, 127], [129, 129], [127, 129], [129, 127]] {
        room.send(ann, &direction);
        for _ in 0..200 {
            room.tick();
            room.read(|arena| {
                for avatar in &arena.avatars {
                    assert!((0.0..=1600.0).contains(&avatar.x) && (0.0..=1000.0).contains(&avatar.y), "{avatar:?}");
                }
            });
        }
    }
}

#[test]
fn an_orb_is_worth_its_points() {
    let mut room = TestRoom::<Arena>::new();
    let ann = room.join(b"ann");
    let mut news = Vec::new();
    while avatar(&mut room, ann).score == 0 {
        let own = avatar(&mut room, ann);
        let away = |orb: &Orb| (orb.x - own.x).powi(2) + (orb.y - own.y).powi(2);
        let nearest: Orb = room.read(|arena| {
            let nearest = arena.orbs.iter().min_by(|one, other| away(one).total_cmp(&away(other)));
            *nearest.expect("a round has orbs")
        });
        let length = away(&nearest).sqrt();
        room.send(ann, &[part((nearest.x - own.x) / length), part((nearest.y - own.y) / length)]);
        room.tick();
        news.extend(parts(&room.received(ann)));
        room.read(|arena| assert_eq!(arena.game.round, 1, "a round is long enough to take an orb"));
    }
    let Avatar { number, score, .. } = avatar(&mut room, ann);
    let taken = news.iter().filter(|(kind, of)| *kind == 6 && of[2..4] == number.to_le_bytes());
    let worth =
        |orb: &[u8]| news.iter().find(|(kind, of)| *kind == 5 && of[..2] == *orb).map(|(_, of)| u32::from(of[6]));
    let points: u32 = taken.map(|(_, of)| worth(&of[..2]).expect("it was told where it lies")).sum();
    assert_eq!(points, score);
}

#[test]
fn a_bump_knocks_points_loose_and_loses_none() {
    let mut room = TestRoom::<Arena>::new();
    let players: Vec<PlayerId> = (0..6).map(|_| room.join(b"")).collect();
    let whole = |room: &mut TestRoom<Arena>| -> u32 {
        room.read(|arena| {
            let orbs: u32 = arena.orbs.iter().map(|orb| u32::from(orb.value)).sum();
            orbs + arena.avatars.iter().map(|avatar| avatar.score).sum::<u32>()
        })
    };
    let (mut bumped, mut loose) = (0, 0);
    let mut before = whole(&mut room);
    // Until the end of the round: all chase the first one, who goes to and fro.
    for turn in 0..1700u32 {
        let first = avatar(&mut room, players[0]);
        room.send(players[0], if turn / 40 % 2 == 0 { &[127, 50] } else { &[129, 206] });
        for player in &players[1..] {
            let own = avatar(&mut room, *player);
            let (dx, dy) = (first.x - own.x, first.y - own.y);
            let length = (dx * dx + dy * dy).sqrt().max(1.0);
            room.send(*player, &[part(dx / length), part(dy / length)]);
        }
        room.tick();
        let news = parts(&room.received(players[0]));
        bumped += count(&news, 7);
        let laid = news.iter().filter(|(kind, of)| *kind == 5 && of[7..9] == [0, 0]).map(|(_, of)| u32::from(of[6]));
        let laid: u32 = laid.sum();
        loose += news.iter().filter(|(kind, of)| *kind == 5 && of[7..9] != [0, 0]).count();
        let after = whole(&mut room);
        // The first message tells orbs that were there before.
        assert!(turn == 0 || after == before + laid, "turn {turn}: {before} and {laid} laid make {after}");
        before = after;
    }
    assert!(bumped > 10 && loose > 10, "{bumped} bumps, {loose} loose orbs");
}

#[test]
fn bots_come_and_go() {
    let mut room = TestRoom::<Arena>::new();
    let sizes = |room: &mut TestRoom<Arena>| room.read(|arena| (arena.avatars.len(), arena.bots.len()));
    let ann = room.join(b"ann");
    assert_eq!(sizes(&mut room), (5, 4));
    let others: Vec<PlayerId> = (0..5).map(|_| room.join(b"")).collect();
    assert_eq!(sizes(&mut room), (6, 0));
    for player in others {
        room.leave(player);
    }
    assert_eq!(sizes(&mut room), (5, 4));
    room.run(Duration::from_secs(20));
    let scores: u32 =
        room.read(|arena| arena.bots.iter().map(|bot| arena.avatars.find(bot.player).unwrap().score).sum());
    assert!(scores > 10, "bots play: {scores}");
    room.leave(ann);
    assert_eq!(sizes(&mut room), (0, 0));
    assert_eq!(room.room().world().size().rows, 2, "the game and the greeting");
}

#[test]
fn rounds_end_on_a_podium_and_begin_anew() {
    let mut room = TestRoom::<Arena>::new();
    let ann = room.join(b"ann");
    room.run(Duration::from_secs(89));
    let best = room.read(|arena| {
        assert_eq!((arena.game.phase, arena.game.round), (Phase::Play, 1));
        arena.avatars.iter().map(|avatar| avatar.score).max().unwrap()
    });
    room.received(ann);
    room.run(Duration::from_secs(2));
    let podium = room.read(|arena| {
        assert_eq!(arena.game.phase, Phase::Break);
        arena.game.podium
    });
    assert_eq!(podium.len(), 3);
    assert!(podium[0].score >= podium[1].score && podium[1].score >= podium[2].score && best > 0);
    let told = parts(&room.received(ann)).into_iter().find(|(kind, _)| *kind == 8).unwrap().1;
    assert_eq!((told[0], told[9]), (2, 3), "a break, with three places");

    room.run(Duration::from_secs(7));
    room.read(|arena| assert_eq!((arena.game.phase, arena.game.round), (Phase::Play, 2)));
    let told = parts(&room.received(ann));
    assert_eq!((count(&told, 9), count(&told, 8)), (1, 1));
    // Everybody leaves and comes back: no timer of before ends the new round.
    room.leave(ann);
    room.read(|arena| assert_eq!(arena.game.phase, Phase::Idle));
    room.join(b"bob");
    room.run(Duration::from_secs(89));
    room.read(|arena| assert_eq!((arena.game.phase, arena.game.round), (Phase::Play, 3)));
}

#[test]
fn who_is_dropped_coasts_and_comes_back() {
    let mut room = TestRoom::<Arena>::new();
    let (ann, bob) = (room.join(b"ann"), room.join(b"bob"));
    room.send(ann, &[127, 0]);
    room.run(Duration::from_secs(1));
    room.drop_connection(ann);
    room.run(Duration::from_secs(5));
    let gone = avatar(&mut room, ann);
    assert!(gone.away && gone.vx.abs() < 1.0, "{gone:?}");
    room.received(ann);
    room.received(bob);
    room.tick();
    let state = parts(&room.received(bob)).pop().unwrap().1;
    let flags = state[6..].chunks(10).find(|one| one[..2] == gone.number.to_le_bytes()).unwrap()[9];
    assert_eq!(flags, 1, "away");

    room.received(ann);
    room.reconnect(ann);
    assert!(!avatar(&mut room, ann).away);
    let told = parts(&room.received(ann));
    assert_eq!((told[0].0, told[1].0), (1, 2), "first the rules, then who one is");
    let (avatars, orbs) = room.read(|arena| (arena.avatars.len(), arena.orbs.len()));
    assert_eq!((count(&told, 3), count(&told, 5), count(&told, 8)), (avatars, orbs, 1));
}

#[test]
fn who_asks_is_told_everything_anew() {
    let mut room = TestRoom::<Arena>::new();
    let ann = room.join(b"ann");
    room.received(ann);
    room.send(ann, &[0]);
    assert_eq!(room.received(ann).len(), 1);
}

#[test]
fn a_crowd_takes_turns() {
    let mut room = TestRoom::<Arena>::new();
    let players: Vec<PlayerId> = (0..300).map(|_| room.join(b"")).collect();
    room.received(players[0]);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..3 {
        room.tick();
        let news = parts(&room.received(players[0]));
        let state = &news.iter().find(|(kind, _)| *kind == 10).unwrap().1;
        assert_eq!(state.len(), 6 + 10 * 100);
        seen.extend(state[6..].chunks(10).map(|one| [one[0], one[1]]));
    }
    assert_eq!(seen.len(), 300);
}

/// Some inputs of every kind.
fn play(room: &mut TestRoom<Arena>, turns: std::ops::Range<u32>) {
    for turn in turns {
        let players = room.room().world().players().to_vec();
        let chosen = players.get(turn as usize % players.len().max(1)).copied();
        let is_connected = |room: &mut TestRoom<Arena>, player| {
            room.room().world().player(player).is_some_and(|player| player.is_connected)
        };
        match (turn % 50, chosen) {
            (0, _) => drop(room.join(b"ann")),
            (49, Some(player)) if players.len() > 7 => room.leave(player),
            (20, Some(player)) if is_connected(room, player) => room.drop_connection(player),
            (_, Some(player)) if !is_connected(room, player) => room.reconnect(player),
            (_, Some(player)) => room.send(player, &turn.wrapping_mul(0x9E37_79B9).to_le_bytes()[..2]),
            (_, None) => {}
        }
        room.tick();
    }
}

#[test]
fn the_same_inputs_give_the_same_world_through_a_swap_too() {
    let mut one = TestRoom::<Arena>::with(b"", 7);
    play(&mut one, 0..2200);
    let mut other = TestRoom::<Arena>::with(b"", 7);
    play(&mut other, 0..2200);
    assert_eq!(one.room().state_hash(), other.room().state_hash());
    play(&mut other, 2200..2201);
    assert_ne!(one.room().state_hash(), other.room().state_hash());

    let ann = one.join(b"ann");
    one.received(ann);
    let mut swapped = one.swap::<Arena>().unwrap_or_else(|(_, error)| panic!("{error}"));
    let told = parts(&swapped.received(ann));
    assert_eq!(told[0].0, 1, "the rules of the new version");
    play(&mut swapped, 2200..2400);
    swapped.read(|arena| assert!(arena.game.round >= 1 && arena.avatars.len() >= 5));
}
