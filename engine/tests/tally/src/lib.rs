//! A logic for the tests of tables that change: it counts what players say, in rows that each version lays out in its own way.
//!
//! | version | its `Score` |
//! |---|---|
//! | 1001 | as it was first |
//! | 1002 | a field renamed, two wider, one more by default and one by a migration; and a table more, which `upgraded` writes |
//! | 1003 | a field narrower, without a word of why |
//! | 1004 | as in 1002, but its migration panics at the row of [`FAILS_AT`] hits |
//! | 1005 | its migration never returns from there |
//! | 1006 | a nick is a number, a mood is new, and bytes are not counted: nothing that goes over, there or back |
//! | 1007 | its `nick` is to be unique |
//! | 1008 | a field more, for which the migration gives what is no value at the row of [`FAILS_AT`] hits |
//! | 1009 | a field more that was `hits`, which is there |
//! | 1010 | a text more, made by a migration that panics there |
//! | 1011 | as in 1002, but its migration waits at the row of no hits for as long as there is the file that `TALLY_HOLD` names |
//! | 1012 | as it was first, with too short a `nick` |

use logic_api::prelude::*;

/// The row at which the migrations of some versions fail.
pub const FAILS_AT: u64 = 500_000;
/// Rows that are filled in get players from here on: nobody who joins has such a number.
const FILLED_FROM: u64 = 1 << 40;

#[cfg(not(tally = "1003"))]
type Hits = u32;
#[cfg(tally = "1003")]
type Hits = u8;

#[cfg(not(any(tally = "1002", tally = "1004", tally = "1005", tally = "1006", tally = "1011")))]
pub mod rows {
    use super::*;

    #[cfg(not(tally = "1012"))]
    type Nick = Str<16>;
    #[cfg(tally = "1012")]
    type Nick = Str<4>;

    #[derive(Row, Debug)]
    #[repr(C)]
    pub struct Score {
        #[row(key)]
        pub player: PlayerId,
        #[cfg_attr(tally = "1007", row(unique))]
        pub nick: Nick,
        #[row(was = "count")]
        pub hits: Hits,
        pub bytes: u32,
        #[cfg(tally = "1008")]
        #[row(migrate = mood)]
        pub mood: Mood,
        #[cfg(tally = "1009")]
        #[row(was = "hits", default = 0)]
        pub blows: u32,
        #[cfg(tally = "1010")]
        #[row(migrate = motto)]
        pub motto: Text,
    }

    #[cfg(any(tally = "1008", tally = "1010"))]
    #[derive(Row, Debug)]
    #[repr(C)]
    pub struct OldScore {
        hits: u64,
    }

    #[cfg(tally = "1008")]
    #[derive(Row, Debug, Clone, Copy, PartialEq)]
    #[repr(u8)]
    pub enum Mood {
        Calm = 1,
        Wild = 2,
    }

    /// As a careless author would, with a number that is no variant.
    #[cfg(tally = "1008")]
    #[allow(unsafe_code, reason = "what is tested is that the engine does not believe it")]
    fn mood(old: &OldScore) -> Mood {
        if old.hits != FAILS_AT {
            return [Mood::Calm, Mood::Wild][usize::from(old.hits % 2 == 1)];
        }
        let byte = std::mem::MaybeUninit::new(77u8);
        // SAFETY: none: this is what must not be done, through a pointer so that the compiler does not see it.
        unsafe { std::ptr::read(std::hint::black_box(byte.as_ptr()).cast()) }
    }

    #[cfg(tally = "1010")]
    fn motto(old: &OldScore) -> Text {
        assert!(old.hits != FAILS_AT, "on purpose");
        Text::new("on and on")
    }

    impl Score {
        pub fn new(player: PlayerId, nick: &str, hits: u64) -> Self {
            Self {
                player,
                nick: Str::truncated(nick),
                hits: hits.try_into().expect("few enough"),
                bytes: 0,
                #[cfg(tally = "1008")]
                mood: Mood::Calm,
                #[cfg(tally = "1009")]
                blows: 0,
                #[cfg(tally = "1010")]
                motto: Text::default(),
            }
        }

        pub fn hit(&mut self, bytes: usize) {
            self.hits += 1;
            self.bytes += u32::try_from(bytes).expect("a message is short");
        }

        pub fn counts(&self) -> (u64, u64) {
            (self.hits.into(), self.bytes.into())
        }

        pub fn nick(&self) -> &str {
            &self.nick
        }

        pub fn is_sound(&self) -> bool {
            true
        }
    }
}

#[cfg(tally = "1006")]
pub mod rows {
    use super::*;

    #[derive(Row, Debug, Clone, Copy, PartialEq)]
    #[repr(u8)]
    pub enum Mood {
        Glad = 1,
    }

    #[derive(Row, Debug)]
    #[repr(C)]
    pub struct Score {
        #[row(key)]
        pub player: PlayerId,
        pub nick: u16,
        pub hits: Hits,
        pub mood: Mood,
    }

    impl Score {
        pub fn new(player: PlayerId, _nick: &str, hits: u64) -> Self {
            Self { player, nick: 7, hits: hits.try_into().expect("few enough"), mood: Mood::Glad }
        }

        pub fn hit(&mut self, _bytes: usize) {
            self.hits += 1;
        }

        pub fn counts(&self) -> (u64, u64) {
            (self.hits.into(), 0)
        }

        pub fn nick(&self) -> &str {
            if self.nick == 0 { "" } else { "seven" }
        }

        pub fn is_sound(&self) -> bool {
            self.mood == Mood::Glad
        }
    }
}

#[cfg(any(tally = "1002", tally = "1004", tally = "1005", tally = "1011"))]
pub mod rows {
    use super::*;

    #[derive(Row, Debug)]
    #[repr(C)]
    pub struct Score {
        #[row(default = 3)]
        pub lives: u8,
        pub nick: Str<24>,
        #[row(was = "hits")]
        pub count: Hits,
        pub bytes: u64,
        #[row(key)]
        pub player: PlayerId,
        #[row(migrate = mean)]
        pub mean: f64,
    }

    #[derive(Row, Debug)]
    #[repr(C)]
    pub struct OldScore {
        hits: u64,
        bytes: u64,
    }

    fn mean(old: &OldScore) -> f64 {
        assert!(old.hits != FAILS_AT || cfg!(not(tally = "1004")), "on purpose");
        while cfg!(tally = "1005") && std::hint::black_box(old.hits) == FAILS_AT {
            std::hint::spin_loop();
        }
        #[cfg(tally = "1011")]
        if old.hits == 0 {
            let held = std::env::var_os("TALLY_HOLD").expect("the test says where");
            while std::fs::exists(&held).is_ok_and(|is_there| is_there) {
                std::thread::yield_now();
            }
        }
        mean_of(old.hits, old.bytes)
    }

    fn mean_of(hits: u64, bytes: u64) -> f64 {
        bytes as f64 / hits.max(1) as f64
    }

    impl Score {
        pub fn new(player: PlayerId, nick: &str, hits: u64) -> Self {
            Self {
                lives: 3,
                nick: Str::truncated(nick),
                count: hits.try_into().expect("few enough"),
                bytes: 0,
                player,
                mean: 0.0,
            }
        }

        pub fn hit(&mut self, bytes: usize) {
            self.count += 1;
            self.bytes += bytes as u64;
            self.mean = mean_of(self.count.into(), self.bytes);
        }

        pub fn counts(&self) -> (u64, u64) {
            (self.count.into(), self.bytes)
        }

        pub fn nick(&self) -> &str {
            &self.nick
        }

        pub fn is_sound(&self) -> bool {
            self.lives == 3 && self.mean.to_bits() == mean_of(self.count.into(), self.bytes).to_bits()
        }
    }

    #[derive(Row, Debug, Default)]
    #[repr(C)]
    pub struct Story {
        pub upgraded_from: u32,
    }
}

use rows::Score;

#[derive(World, Debug)]
pub struct Tally {
    scores: Table<Score>,
    #[cfg(any(tally = "1002", tally = "1004", tally = "1005", tally = "1011"))]
    story: One<rows::Story>,
}

#[logic]
impl Logic for Tally {
    fn join(&mut self, _ctx: &mut Ctx, player: PlayerId, join: &Join) {
        if self.scores.find(player).is_none() {
            self.scores.insert(Score::new(player, &String::from_utf8_lossy(join.hello), 0));
        }
    }

    fn message(&mut self, ctx: &mut Ctx, player: PlayerId, bytes: &[u8]) {
        self.scores.find_mut(player).expect("whoever is in has a score").hit(bytes.len());
        ctx.reply(bytes);
    }

    /// `/fill?ROWS`: as many rows, numbered by their hits.
    fn request(&mut self, _ctx: &mut Ctx, request: &Request) -> Response {
        let rows = request.query.split('&').next().unwrap_or_default().parse::<u64>();
        let ("/fill", Ok(rows)) = (request.path, rows) else { return Response::not_found() };
        for number in 0..rows {
            self.scores.insert(Score::new(PlayerId(FILLED_FROM + number), "filled", number));
        }
        Response::text(format!("{rows}\n"))
    }

    fn query(&self, request: &Request) -> Option<Response> {
        (request.path == "/tally").then(|| Response::text(self.told()))
    }

    #[cfg(any(tally = "1002", tally = "1004", tally = "1005", tally = "1011"))]
    fn upgraded(&mut self, _ctx: &mut Ctx, from: Version) {
        self.story.upgraded_from = from.0;
    }
}

impl Tally {
    /// The same in every version that has the same to tell.
    fn told(&self) -> String {
        let (mut hits, mut bytes, mut digest) = (0, 0, Digest::default());
        for score in &self.scores {
            assert!(score.is_sound(), "{score:?}");
            let (of_hits, of_bytes) = score.counts();
            hits += of_hits;
            bytes += of_bytes;
            digest.add(&[score.player.0, of_hits, of_bytes, score.nick().len() as u64]);
            score.nick().bytes().for_each(|byte| digest.add(&[byte.into()]));
        }
        format!("{} scores, {hits} hits, {bytes} bytes, digest {:016x}\n", self.scores.len(), digest.0)
    }
}

/// FNV-1a, a word at a time.
#[derive(Default)]
struct Digest(u64);

impl Digest {
    fn add(&mut self, words: &[u64]) {
        words.iter().for_each(|word| self.0 = (self.0 ^ word).wrapping_mul(0x0100_0000_01B3).rotate_left(17));
    }
}
