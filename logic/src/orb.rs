//! Orbs: what lies about and is worth points.

use crate::avatar::Avatar;
use crate::news::News;
use crate::round::Game;
use crate::rules::{
    BIG_ORB_CHANCE, BIG_ORB_VALUE, HEIGHT, ORB_VALUE, ORBS, ORBS_MAX, ORBS_PER_AVATAR, RADIUS, SCATTER, WIDTH,
};
use logic_api::prelude::*;

/// How far orbs stay from the walls, and how near to an avatar's rim they are taken.
const MARGIN: f32 = RADIUS;
const REACH: f32 = 6.0;
/// Into so many orbs at most what is knocked loose falls.
const PIECES_MAX: u32 = 10;

/// Points that lie about.
#[derive(Row, Debug, Clone, Copy)]
#[repr(C)]
pub struct Orb {
    /// What the clients call it; never 0.
    #[row(key)]
    pub number: u16,
    pub value: u8,
    pub x: f32,
    pub y: f32,
}

/// How many orbs there should be with so many avatars.
pub(crate) fn wanted(avatars: usize) -> usize {
    (ORBS + avatars * ORBS_PER_AVATAR).min(ORBS_MAX)
}

/// Lays one more orb anywhere.
pub(crate) fn lay(orbs: &mut Table<Orb>, game: &mut Game, rng: &mut Rng, news: &mut News) {
    let value = if rng.chance(BIG_ORB_CHANCE) { BIG_ORB_VALUE } else { ORB_VALUE };
    let (x, y) = (rng.unit_f32() * WIDTH, rng.unit_f32() * HEIGHT);
    put(orbs, game, value, (x, y), None, news);
}

/// Strews the points that an avatar has lost around it.
pub(crate) fn strew(
    orbs: &mut Table<Orb>,
    game: &mut Game,
    from: &Avatar,
    points: u32,
    rng: &mut Rng,
    news: &mut News,
) {
    let mut left = points;
    for pieces in (1..=points.min(PIECES_MAX)).rev() {
        let value = u8::try_from(left.div_ceil(pieces)).unwrap_or(u8::MAX);
        left -= u32::from(value);
        let (x, y) = anywhere_around(rng);
        let away = from.radius() + SCATTER * (0.4 + 0.6 * rng.unit_f32());
        put(orbs, game, value, (from.x + x * away, from.y + y * away), Some(from), news);
    }
}

/// A direction, one unit long: a point of the square that is not in its middle, brought to the circle. Sines would differ
/// between builds in their last bit.
fn anywhere_around(rng: &mut Rng) -> (f32, f32) {
    loop {
        let (x, y) = (rng.unit_f32() * 2.0 - 1.0, rng.unit_f32() * 2.0 - 1.0);
        let length = (x * x + y * y).sqrt();
        if (0.1..=1.0).contains(&length) {
            return (x / length, y / length);
        }
    }
}

fn put(orbs: &mut Table<Orb>, game: &mut Game, value: u8, (x, y): (f32, f32), from: Option<&Avatar>, news: &mut News) {
    if orbs.len() >= ORBS_MAX {
        return;
    }
    // Fewer orbs than numbers, so that one is free.
    let number = loop {
        let number = game.next_orb();
        if orbs.find(number).is_none() {
            break number;
        }
    };
    let orb = Orb { number, value, x: x.clamp(MARGIN, WIDTH - MARGIN), y: y.clamp(MARGIN, HEIGHT - MARGIN) };
    orbs.insert(orb);
    news.orb(&orb, from.map_or(0, |avatar| avatar.number));
}

/// Gives the orbs to those who touch them. Of two who do, the one with the lower slot has it.
pub(crate) fn collect(orbs: &mut Table<Orb>, avatars: &mut Table<Avatar>, news: &mut News) {
    let mut lying: Vec<(Id<Orb>, Orb)> = orbs.entries().map(|(id, orb)| (id, *orb)).collect();
    for mut avatar in avatars.iter_mut().filter(|avatar| !avatar.away) {
        let (x, y, reach) = (avatar.x, avatar.y, avatar.radius() + REACH);
        lying.retain(|(id, orb)| {
            let (dx, dy) = (orb.x - x, orb.y - y);
            let touched = dx * dx + dy * dy <= reach * reach;
            if touched {
                orbs.remove(*id);
                avatar.score = avatar.score.saturating_add(u32::from(orb.value));
                news.taken(orb.number, avatar.number);
            }
            !touched
        });
    }
}
