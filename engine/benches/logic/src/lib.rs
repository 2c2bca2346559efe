//! The logic that the benches load: a table of rows of 64 bytes, and one message for each thing that is measured.

use logic_api::prelude::*;

/// 64 bytes, as a game's unit might be.
#[derive(Row, Debug, Clone, Copy, PartialEq)]
#[repr(C)]
pub struct Unit {
    #[row(key)]
    pub number: u64,
    pub x: f32,
    pub y: f32,
    pub dx: f32,
    pub dy: f32,
    pub health: u32,
    pub score: u32,
    pub cargo: [u64; 4],
}

const _: () = assert!(size_of::<Unit>() == 64);

impl Unit {
    pub fn new(number: u64) -> Self {
        let dx = (number % 7) as f32;
        Self { number, x: 0.0, y: 0.0, dx, dy: 0.5, health: 100, score: 0, cargo: [number; 4] }
    }

    /// What a writing pass does to each row.
    #[inline]
    pub fn advance(&mut self) {
        self.x += self.dx * 0.05;
        self.y += self.dy * 0.05;
        self.score = self.score.wrapping_add(1);
    }
}

/// What the room says by itself.
#[derive(Row, Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct Voice {
    /// Bytes that everybody gets at each tick; 0: nothing.
    pub bytes_each_tick: u32,
}

#[derive(World, Debug)]
pub struct Units {
    pub units: Table<Unit>,
    pub voice: One<Voice>,
}

/// Whoever joins with this hello makes the room speak at each tick.
pub const SPEAK: &str = "speak";
/// What it says then.
pub const SPOKEN_BYTES: u32 = 64;

/// The first byte of a message; the rest are numbers of eight bytes. A message that begins otherwise is sent back as it is.
pub mod operation {
    /// Inserts the units of these numbers; answers with their ids.
    pub const FILL: u8 = 1;
    /// A writing pass over all rows.
    pub const PASS: u8 = 2;
    /// Sums a field of the rows with these ids.
    pub const GET: u8 = 3;
    /// Sums a field of the rows with these keys.
    pub const FIND: u8 = 4;
    /// Takes the numbers in twos: removes the unit with the first as its key, and inserts one with the second.
    pub const TURN_OVER: u8 = 5;
    /// Moves the units with these keys, and answers with where they are.
    pub const MOVE: u8 = 7;
    /// Does nothing.
    pub const NOTHING: u8 = 6;
}

#[logic]
impl Logic for Units {
    /// With as many units as the config says.
    fn create(&mut self, _ctx: &mut Ctx, config: &[u8]) {
        let count = std::str::from_utf8(config).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
        for number in 0..count {
            self.units.insert(Unit::new(number));
        }
    }

    fn join(&mut self, _ctx: &mut Ctx, _player: PlayerId, join: &Join) {
        if join.hello == SPEAK.as_bytes() {
            self.voice.bytes_each_tick = SPOKEN_BYTES;
        }
    }

    fn tick(&mut self, ctx: &mut Ctx) {
        if self.voice.bytes_each_tick > 0 {
            ctx.broadcast(&[0; SPOKEN_BYTES as usize][..self.voice.bytes_each_tick as usize]);
        }
    }

    fn message(&mut self, ctx: &mut Ctx, _player: PlayerId, bytes: &[u8]) {
        let Some((operation, numbers)) = bytes.split_first() else {
            return;
        };
        let numbers = numbers.as_chunks::<8>().0.iter().map(|number| u64::from_le_bytes(*number));
        match *operation {
            operation::FILL => {
                let ids: Vec<u8> =
                    numbers.flat_map(|n| self.units.insert(Unit::new(n)).to_bits().to_le_bytes()).collect();
                ctx.reply(&ids);
            }
            operation::PASS => {
                for mut unit in &mut self.units {
                    unit.advance();
                }
            }
            operation::GET => {
                let sum: u64 =
                    numbers.filter_map(|id| self.units.get(Id::from_bits(id))).map(|unit| unit.cargo[3]).sum();
                ctx.reply(&sum.to_le_bytes());
            }
            operation::FIND => {
                let sum: u64 = numbers.filter_map(|key| self.units.find(key)).map(|unit| unit.cargo[3]).sum();
                ctx.reply(&sum.to_le_bytes());
            }
            operation::MOVE => {
                for number in numbers {
                    if let Some(mut unit) = self.units.find_mut(number) {
                        unit.advance();
                        ctx.reply(&unit.x.to_le_bytes());
                    }
                }
            }
            operation::TURN_OVER => {
                let mut numbers = numbers;
                while let (Some(old), Some(new)) = (numbers.next(), numbers.next()) {
                    self.units.remove_key(old);
                    self.units.insert(Unit::new(new));
                }
            }
            operation::NOTHING => {}
            _ => ctx.reply(bytes),
        }
    }
}
