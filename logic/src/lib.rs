//! The game that ships with the engine: an arena in which players steer about, collect orbs and bump into each other, and
//! `/hello`, which shows who is answering.
//!
//! Begin with `rules.rs`: its numbers are there to be changed while people play. No state lives here: it is all in the
//! tables of [`Arena`], which the engine owns and which outlive every version.

mod asker;
mod avatar;
mod bot;
mod bump;
mod hello;
mod news;
mod orb;
mod page;
mod round;
mod rules;

pub use asker::Asker;
pub use avatar::Avatar;
pub use bot::Bot;
pub use orb::Orb;
pub use round::{Game, Phase, Place};

use hello::Greeting;
use logic_api::prelude::*;
use news::News;

/// What timers are for: their tags.
const TIMER_ROUND: u64 = 1;
const TIMER_ORB: u64 = 2;

/// All state of a room.
#[derive(World, Debug)]
pub struct Arena {
    pub avatars: Table<Avatar>,
    pub orbs: Table<Orb>,
    pub bots: Table<Bot>,
    pub game: One<Game>,
    pub askers: Table<Asker>,
    /// Who answered `/hello` last.
    greeting: One<Greeting>,
}

#[logic]
impl Logic for Arena {
    fn join_attempt(&self, _ctx: &Ctx, _player: PlayerId, _join: &Join) -> Admission {
        admission(self.avatars.len())
    }

    fn join(&mut self, ctx: &mut Ctx, player: PlayerId, join: &Join) {
        if self.game.phase == Phase::Idle {
            self.start_round(ctx);
            self.game.ticked_at_us = avatar::micros(ctx.now());
            self.game.orb_timer = ctx.after(rules::ORB_EVERY, TIMER_ORB).0;
        }
        let number = self.free_number();
        self.embody(ctx, player, number, avatar::nick_of(join.hello, number));
        self.tell_all_to(ctx, player);
        self.match_company(ctx);
    }

    fn drop(&mut self, _ctx: &mut Ctx, player: PlayerId) {
        if let Some(mut avatar) = self.avatars.find_mut(player) {
            avatar.away = true;
        }
    }

    fn reconnect(&mut self, ctx: &mut Ctx, player: PlayerId) {
        if let Some(mut avatar) = self.avatars.find_mut(player) {
            avatar.away = false;
            avatar.steer(0.0, 0.0);
        }
        self.tell_all_to(ctx, player);
    }

    fn leave(&mut self, ctx: &mut Ctx, player: PlayerId, _reason: &str) {
        self.askers.remove_key(player);
        self.disembody(ctx, player);
        self.match_company(ctx);
        if self.avatars.is_empty() {
            self.rest(ctx);
        }
    }

    fn message(&mut self, ctx: &mut Ctx, player: PlayerId, bytes: &[u8]) {
        match *bytes {
            [x, y] => {
                if let Some(mut avatar) = self.avatars.find_mut(player) {
                    avatar.steer(f32::from(x.cast_signed()) / 127.0, f32::from(y.cast_signed()) / 127.0);
                }
            }
            [0] if asker::is_answered(&mut self.askers, player, ctx.now()) => self.tell_all_to(ctx, player),
            // Asked for too often, or from a client of another version.
            _ => {}
        }
    }

    fn tick(&mut self, ctx: &mut Ctx) {
        if self.game.phase == Phase::Idle {
            return;
        }
        let (now, mut news) = (ctx.now(), News::new());
        let seconds = self.game.seconds_since_tick(now);
        bot::steer_all(&mut self.bots, &mut self.avatars, &self.orbs, now, ctx.rng());
        for mut avatar in &mut self.avatars {
            avatar.advance(seconds, now);
        }
        bump::bump_all(&mut self.avatars, &mut self.orbs, &mut self.game, now, ctx.rng(), &mut news);
        if self.game.phase == Phase::Play {
            orb::collect(&mut self.orbs, &mut self.avatars, &mut news);
        }
        news.state(&self.avatars, ctx.tick(), now);
        ctx.broadcast(news.bytes());
    }

    fn timer(&mut self, ctx: &mut Ctx, timer: TimerId, tag: u64) {
        match tag {
            TIMER_ROUND if timer.0 == self.game.round_timer => match self.game.phase {
                Phase::Play => self.end_round(ctx),
                Phase::Break => self.start_round(ctx),
                Phase::Idle => {}
            },
            TIMER_ORB if timer.0 == self.game.orb_timer => self.lay_orb(ctx),
            // Set by a version that had more of them.
            _ => {}
        }
    }

    fn query(&self, request: &Request) -> Option<Response> {
        match (request.method, request.path) {
            ("GET" | "HEAD", "/leaderboard") => Some(page::leaderboard(&round::ranking(&self.avatars))),
            ("GET" | "HEAD", path) => page::file(path),
            _ => None,
        }
    }

    fn request(&mut self, _ctx: &mut Ctx, request: &Request) -> Response {
        match (request.method, request.path) {
            // The engine sends the head of it alone where only that was asked for.
            ("GET" | "HEAD", "/hello") => self.greeting.answer(Self::version(), Self::name()),
            _ => Response::not_found(),
        }
    }

    /// The rules may have changed: what they say of the map and of bots holds from here on.
    fn upgraded(&mut self, ctx: &mut Ctx, _from: Version) {
        if self.game.phase == Phase::Idle {
            return;
        }
        let mut news = News::new();
        news.rules();
        ctx.broadcast(news.bytes());
        self.match_company(ctx);
    }
}

fn admission(avatars: usize) -> Admission {
    if avatars < rules::AVATARS_MAX {
        Admission::Accept
    } else {
        Admission::Refuse(format!("the arena is full: it has {avatars} avatars"))
    }
}

impl Arena {
    fn free_number(&mut self) -> u16 {
        // `join_attempt` lets in fewer than there are numbers.
        loop {
            let number = self.game.next_avatar();
            if self.avatars.find_by(Avatar::BY_NUMBER, number).is_none() {
                return number;
            }
        }
    }

    fn embody(&mut self, ctx: &mut Ctx, player: PlayerId, number: u16, nick: Str<16>) {
        let avatar = Avatar::new(player, number, nick, ctx.rng());
        self.avatars.insert(avatar);
        let mut news = News::new();
        news.face(&avatar);
        ctx.broadcast_except(player, news.bytes());
    }

    fn disembody(&mut self, ctx: &mut Ctx, player: PlayerId) {
        if let Some(avatar) = self.avatars.remove_key(player) {
            let mut news = News::new();
            news.gone(avatar.number);
            ctx.broadcast(news.bytes());
        }
    }

    /// Lets bots come and go until there are as many avatars as there should be. Without players there are no bots.
    fn match_company(&mut self, ctx: &mut Ctx) {
        let players = self.avatars.len() - self.bots.len();
        let wanted = if players == 0 { 0 } else { rules::COMPANY.saturating_sub(players) };
        while self.bots.len() > wanted {
            let last = self.bots.iter().map(|bot| bot.player).max().expect("there are bots");
            self.bots.remove_key(last);
            self.disembody(ctx, last);
        }
        for place in 0.. {
            if self.bots.len() >= wanted {
                break;
            }
            let player = PlayerId(bot::BOTS_FROM + place);
            if self.bots.find(player).is_none() {
                let number = self.free_number();
                self.bots.insert(Bot::new(player));
                self.embody(ctx, player, number, bot::nick(player));
            }
        }
    }

    /// Sends a player everything that they would know had they been here all the time.
    fn tell_all_to(&mut self, ctx: &mut Ctx, player: PlayerId) {
        let Some(own) = self.avatars.find(player) else { return };
        let mut news = News::new();
        news.rules();
        news.you(own.number);
        self.avatars.iter().for_each(|avatar| news.face(avatar));
        self.orbs.iter().for_each(|orb| news.orb(orb, 0));
        news.round(&self.game, ctx.now());
        ctx.send(player, news.bytes());
    }

    fn start_round(&mut self, ctx: &mut Ctx) {
        self.game.round += 1;
        self.game.begin(Phase::Play, ctx.now(), rules::ROUND);
        self.game.round_timer = ctx.after(rules::ROUND, TIMER_ROUND).0;
        for mut avatar in &mut self.avatars {
            avatar.score = 0;
        }
        let mut news = News::new();
        news.swept();
        self.orbs.clear();
        for _ in 0..orb::wanted(self.avatars.len()) / 2 {
            orb::lay(&mut self.orbs, &mut self.game, ctx.rng(), &mut news);
        }
        news.round(&self.game, ctx.now());
        ctx.broadcast(news.bytes());
    }

    fn end_round(&mut self, ctx: &mut Ctx) {
        self.game.award(&self.avatars);
        self.game.begin(Phase::Break, ctx.now(), rules::BREAK);
        self.game.round_timer = ctx.after(rules::BREAK, TIMER_ROUND).0;
        let mut news = News::new();
        news.round(&self.game, ctx.now());
        ctx.broadcast(news.bytes());
    }

    fn lay_orb(&mut self, ctx: &mut Ctx) {
        self.game.orb_timer = ctx.after(rules::ORB_EVERY, TIMER_ORB).0;
        if self.game.phase == Phase::Play && self.orbs.len() < orb::wanted(self.avatars.len()) {
            let mut news = News::new();
            orb::lay(&mut self.orbs, &mut self.game, ctx.rng(), &mut news);
            ctx.broadcast(news.bytes());
        }
    }

    /// Everybody has left: nothing is kept but the numbers, and no tick costs anything.
    fn rest(&mut self, ctx: &mut Ctx) {
        ctx.cancel(TimerId(self.game.round_timer));
        ctx.cancel(TimerId(self.game.orb_timer));
        self.orbs.clear();
        self.game.podium.clear();
        self.game.phase = Phase::Idle;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_arena_lets_nobody_in() {
        assert_eq!(admission(rules::AVATARS_MAX - 1), Admission::Accept);
        let reason = "the arena is full: it has 10000 avatars".to_owned();
        assert_eq!(admission(rules::AVATARS_MAX), Admission::Refuse(reason));
    }
}
