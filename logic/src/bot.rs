//! Bots: company for whoever is alone.

use crate::avatar::{Avatar, micros};
use crate::orb::Orb;
use crate::rules::{BOT_SKILL, HEIGHT, WIDTH};
use logic_api::prelude::*;
use std::time::Duration;

/// Bots are numbered from here. Players are below 2^53.
pub(crate) const BOTS_FROM: u64 = 1 << 60;
/// How far a bot sees who is smaller than itself, and how likely it goes for them.
const SIGHT: f32 = 330.0;
const TEMPER: f32 = 0.22;
/// Then it thinks again.
const THOUGHT: Duration = Duration::from_millis(1300);
/// An orb this near counts as here.
const NEAR: f32 = 60.0;

const NICKS: [&str; 12] = ["Ada", "Bit", "Core", "Dot", "Echo", "Flux", "Gizmo", "Hex", "Iota", "Jolt", "Kilo", "Lux"];

/// What drives an avatar that no player drives.
#[derive(Row, Debug, Clone, Copy)]
#[repr(C)]
pub struct Bot {
    /// Its avatar's.
    #[row(key)]
    pub player: PlayerId,
    /// Where it is going, if that still lies there.
    pub orb: Id<Orb>,
    /// Whom it would like to bump; nobody most of the time.
    pub prey: Id<Avatar>,
    /// When it thinks again: microseconds since the Unix epoch.
    pub thinks_at_us: u64,
}

impl Bot {
    pub(crate) fn new(player: PlayerId) -> Self {
        Self { player, orb: Id::default(), prey: Id::default(), thinks_at_us: 0 }
    }
}

pub(crate) fn is_bot(player: PlayerId) -> bool {
    player.0 >= BOTS_FROM
}

pub(crate) fn nick(player: PlayerId) -> Str<16> {
    let place = usize::try_from(player.0 - BOTS_FROM).unwrap_or_default();
    Str::truncated(NICKS[place % NICKS.len()])
}

/// Lets every bot steer its avatar.
pub(crate) fn steer_all(
    bots: &mut Table<Bot>,
    avatars: &mut Table<Avatar>,
    orbs: &Table<Orb>,
    now: Duration,
    rng: &mut Rng,
) {
    for mut bot in bots.iter_mut() {
        let Some(id) = avatars.id_of(bot.player) else { continue };
        let Some(own) = avatars.get(id).copied() else { continue };
        if micros(now) >= bot.thinks_at_us || !(orbs.contains(bot.orb) || avatars.contains(bot.prey)) {
            bot.thinks_at_us = micros(now + THOUGHT);
            bot.prey = if rng.chance(TEMPER) { prey(id, &own, avatars) } else { Id::default() };
            bot.orb = best_orb(&own, orbs, rng);
        }
        let goal = avatars.get(bot.prey).map(|prey| (prey.x + prey.vx * 0.2, prey.y + prey.vy * 0.2));
        let goal = goal.or_else(|| orbs.get(bot.orb).map(|orb| (orb.x, orb.y)));
        let (x, y) = goal.unwrap_or((WIDTH * 0.5, HEIGHT * 0.5));
        // Straight there would circle around it: what it has of speed already is taken off.
        let (dx, dy) = (x - own.x - own.vx * 0.25, y - own.y - own.vy * 0.25);
        let length = (dx * dx + dy * dy).sqrt().max(1.0);
        if let Some(mut avatar) = avatars.get_mut(id) {
            avatar.steer(dx / length * BOT_SKILL, dy / length * BOT_SKILL);
        }
    }
}

/// The nearest one in sight who is smaller and has something to lose.
fn prey(id: Id<Avatar>, own: &Avatar, avatars: &Table<Avatar>) -> Id<Avatar> {
    let worth = |other: &Avatar| !other.away && other.score > 0 && other.radius() < own.radius();
    let near = avatars.entries().filter(|(other, avatar)| *other != id && worth(avatar));
    let near = near.map(|(other, avatar)| (other, distance(own, avatar.x, avatar.y)));
    let nearest = near.filter(|(_, far)| *far < SIGHT).min_by(|one, other| one.1.total_cmp(&other.1));
    nearest.map_or_else(Id::default, |(other, _)| other)
}

/// The orb that is worth most for its distance, more or less: no two bots should always want the same one.
fn best_orb(own: &Avatar, orbs: &Table<Orb>, rng: &mut Rng) -> Id<Orb> {
    let worth = orbs.entries().map(|(id, orb)| {
        let far = distance(own, orb.x, orb.y);
        (id, f32::from(orb.value) * (0.5 + rng.unit_f32()) / (NEAR + far))
    });
    worth.max_by(|one, other| one.1.total_cmp(&other.1)).map_or_else(Id::default, |(id, _)| id)
}

fn distance(from: &Avatar, x: f32, y: f32) -> f32 {
    let (dx, dy) = (x - from.x, y - from.y);
    (dx * dx + dy * dy).sqrt()
}
