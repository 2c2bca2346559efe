//! Avatars that meet: they push each other off, the bigger one harder, and who is pushed hard loses points.

use crate::avatar::Avatar;
use crate::news::News;
use crate::orb::{self, Orb};
use crate::round::{Game, Phase};
use crate::rules::{BUMP, BUMP_SPEED_MIN, LOOSE, RADIUS_MAX, SPEED};
use logic_api::prelude::*;
use std::time::Duration;

/// What of an avatar takes part.
#[derive(Debug, Clone, Copy)]
struct Body {
    id: Id<Avatar>,
    number: u16,
    x: f32,
    y: f32,
    vx: f32,
    vy: f32,
    radius: f32,
    /// The greatest change of speed that a bump has caused it, 0 for none.
    hit: f32,
    touched: bool,
}

impl Body {
    fn mass(&self) -> f32 {
        self.radius * self.radius
    }
}

/// Lets all avatars bump that overlap.
pub(crate) fn bump_all(
    avatars: &mut Table<Avatar>,
    orbs: &mut Table<Orb>,
    game: &mut Game,
    now: Duration,
    rng: &mut Rng,
    news: &mut News,
) {
    let mut bodies: Vec<Body> = avatars.entries().filter(|(_, avatar)| !avatar.away).map(body_of).collect();
    // Stable, so that the slot decides between two at the same place: the same on every replay.
    bodies.sort_by(|one, other| one.x.total_cmp(&other.x));
    for first in 0..bodies.len() {
        for second in first + 1..bodies.len() {
            let (left, right) = bodies.split_at_mut(second);
            let (one, other) = (&mut left[first], &mut right[0]);
            if other.x - one.x > one.radius + RADIUS_MAX {
                break;
            }
            bump(one, other, news);
        }
    }
    for body in bodies.iter().filter(|body| body.touched) {
        let Some(mut avatar) = avatars.get_mut(body.id) else { continue };
        (avatar.x, avatar.y, avatar.vx, avatar.vy) = (body.x, body.y, body.vx, body.vy);
        if body.hit > BUMP_SPEED_MIN {
            avatar.daze(now);
            // What is on the podium stays won.
            let loose = if game.phase == Phase::Play { loose_points(avatar.score, body.hit) } else { 0 };
            orb::strew(orbs, game, &avatar, loose, rng, news);
            avatar.score -= loose;
        }
    }
}

fn body_of((id, avatar): (Id<Avatar>, &Avatar)) -> Body {
    let Avatar { number, x, y, vx, vy, .. } = *avatar;
    Body { id, number, x, y, vx, vy, radius: avatar.radius(), hit: 0.0, touched: false }
}

/// Moves two apart that overlap, and exchanges momentum if they are on their way towards each other.
fn bump(one: &mut Body, other: &mut Body, news: &mut News) {
    let (dx, dy) = (other.x - one.x, other.y - one.y);
    let reach = one.radius + other.radius;
    let distance = (dx * dx + dy * dy).sqrt();
    if distance >= reach {
        return;
    }
    // At the very same place any direction will do.
    let (nx, ny) = if distance > 0.0 { (dx / distance, dy / distance) } else { (1.0, 0.0) };
    let (one_share, other_share) = shares(one, other);
    let overlap = reach - distance;
    one.x -= nx * overlap * one_share;
    one.y -= ny * overlap * one_share;
    other.x += nx * overlap * other_share;
    other.y += ny * overlap * other_share;
    (one.touched, other.touched) = (true, true);
    let closing = (one.vx - other.vx) * nx + (one.vy - other.vy) * ny;
    if closing <= 0.0 {
        return;
    }
    let change = (1.0 + BUMP) * closing;
    one.vx -= nx * change * one_share;
    one.vy -= ny * change * one_share;
    other.vx += nx * change * other_share;
    other.vy += ny * change * other_share;
    if closing > BUMP_SPEED_MIN {
        one.hit = one.hit.max(change * one_share);
        other.hit = other.hit.max(change * other_share);
        news.bump(one.number, other.number, closing / (2.0 * SPEED));
    }
}

/// Which part of a push either of two takes: the heavier one the smaller part.
fn shares(one: &Body, other: &Body) -> (f32, f32) {
    let whole = one.mass() + other.mass();
    (other.mass() / whole, one.mass() / whole)
}

fn loose_points(score: u32, hit: f32) -> u32 {
    #[expect(clippy::cast_precision_loss, reason = "nobody counts that far in a round")]
    let points = score as f32 * LOOSE * (hit / SPEED).min(1.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates, and is capped by the score"
    )]
    let points = points.ceil() as u32;
    points.min(score)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(x: f32, vx: f32, radius: f32) -> Body {
        Body { id: Id::default(), number: 1, x, y: 0.0, vx, vy: 0.0, radius, hit: 0.0, touched: false }
    }

    #[test]
    fn momentum_is_kept_and_the_bigger_one_pushes_harder() {
        let (mut big, mut small) = (body(0.0, 200.0, 40.0), body(50.0, 0.0, 20.0));
        let momentum = |big: &Body, small: &Body| big.vx * big.mass() + small.vx * small.mass();
        let before = momentum(&big, &small);
        bump(&mut big, &mut small, &mut News::new());
        assert!((momentum(&big, &small) - before).abs() < 1.0);
        assert!(small.hit > 3.9 * big.hit, "{small:?} {big:?}");
        assert!(small.x - big.x > 59.9, "they do not overlap any more");
    }

    #[test]
    fn who_is_leaving_is_not_bumped_again() {
        let (mut one, mut other) = (body(0.0, -10.0, 20.0), body(30.0, 10.0, 20.0));
        let mut news = News::new();
        bump(&mut one, &mut other, &mut news);
        assert_eq!((one.vx, other.vx, news.bytes().len()), (-10.0, 10.0, 0));
    }

    #[test]
    fn no_more_is_lost_than_there_is() {
        assert_eq!((loose_points(0, 1e9), loose_points(1, 100.0)), (0, 1));
        assert!(loose_points(100, 1e9) <= 100);
    }
}
