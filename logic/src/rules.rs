//! The rules that one would like to change while people play. Change a number, save it under `scripts/run.sh --dev` (or
//! build the next version and load it), and see it happen under the players' hands: nobody is disconnected.
//!
//! Lengths are units of the map, speeds units a second, times real time, whatever the tick rate.

use std::time::Duration;

/// How fast an avatar of the smallest size goes. Try 900.
pub(crate) const SPEED: f32 = 380.0;
/// How quickly it takes the direction it is steered in, a second. Try 1.0, which is ice.
pub(crate) const GRIP: f32 = 4.5;
/// How much of its speed the biggest avatar loses: 0.0 to 1.0.
pub(crate) const HEAVINESS: f32 = 0.45;

/// The radius of an avatar without a point …
pub(crate) const RADIUS: f32 = 18.0;
/// … how much a point adds (times the square root of the points) …
pub(crate) const GROWTH: f32 = 2.6;
/// … and where it ends.
pub(crate) const RADIUS_MAX: f32 = 64.0;

/// What is left of the speed when two meet: 1.0 are billiard balls, above that they are pinball bumpers. Try 3.0.
pub(crate) const BUMP: f32 = 1.5;
/// The part of its points that an avatar loses when it is hit at full speed: 0.0 to 1.0.
pub(crate) const LOOSE: f32 = 0.25;
/// Two who meet more slowly than this only push each other.
pub(crate) const BUMP_SPEED_MIN: f32 = 90.0;
/// For so long who was hit hard cannot steer.
pub(crate) const DAZE: Duration = Duration::from_millis(450);
/// What is left of the speed that one comes to a wall with.
pub(crate) const WALL: f32 = 0.6;

/// Points of an orb.
pub(crate) const ORB_VALUE: u8 = 1;
/// Points of a big one.
pub(crate) const BIG_ORB_VALUE: u8 = 5;
/// How many of the orbs are big.
pub(crate) const BIG_ORB_CHANCE: f32 = 0.1;
/// Orbs on the map: so many, and some more for each avatar.
pub(crate) const ORBS: usize = 70;
pub(crate) const ORBS_PER_AVATAR: usize = 4;
/// Between two new orbs.
pub(crate) const ORB_EVERY: Duration = Duration::from_millis(150);
/// How far orbs fly that were knocked loose.
pub(crate) const SCATTER: f32 = 150.0;

/// A round, and the break after it in which the podium is shown.
pub(crate) const ROUND: Duration = Duration::from_secs(90);
pub(crate) const BREAK: Duration = Duration::from_secs(8);
/// Bots join until there are so many avatars. 0 for no bots.
pub(crate) const COMPANY: usize = 5;
/// How hard bots steer: 0.0 to 1.0.
pub(crate) const BOT_SKILL: f32 = 0.72;

/// The map …
pub(crate) const WIDTH: f32 = 1600.0;
pub(crate) const HEIGHT: f32 = 1000.0;
/// … and its colours: red, green, blue. Try [0x2a, 0x0a, 0x1e] for the ground.
pub(crate) const GROUND: [u8; 3] = [0x0a, 0x0e, 0x1a];
pub(crate) const GRID: [u8; 3] = [0x1c, 0x28, 0x46];
pub(crate) const WALLS: [u8; 3] = [0x4d, 0xd0, 0xff];

/// More than so many avatars are not let in: `join_attempt` refuses them.
pub(crate) const AVATARS_MAX: usize = 10_000;
/// Whoever asks for everything anew is answered so often, and a few times at once.
pub(crate) const ANSWER_EVERY: Duration = Duration::from_secs(1);
pub(crate) const ANSWERS_AT_ONCE: u64 = 5;
/// More orbs than so many are not left lying about: what is knocked loose beyond it is lost.
pub(crate) const ORBS_MAX: usize = 600;

// Avatars and orbs have numbers of 16 bits, of which 0 is nobody's.
const _: () = assert!(AVATARS_MAX < u16::MAX as usize);
const _: () = assert!(ORBS_MAX < u16::MAX as usize);
const _: () = assert!(WIDTH > 4.0 * RADIUS_MAX && HEIGHT > 4.0 * RADIUS_MAX);
