//! A wall of tiles that everybody paints on. Paint fades.
//!
//! No state lives here: it is all in the tables of [`Wall`], which the engine owns and which outlive every version of this code.

mod page;

use std::time::Duration;

use logic_api::prelude::*;

pub const WIDTH: u8 = 32;
pub const HEIGHT: u8 = 20;
/// How long paint stays. Change it while somebody plays under `engine dev`.
pub const FADES_AFTER: Duration = Duration::from_secs(30);
const COLOURS: u8 = 8;

/// Somebody with a brush.
#[derive(Row, Debug, Clone, Copy)]
#[repr(C)]
pub struct Painter {
    #[row(key)]
    pub player: PlayerId,
    pub colour: u8,
    pub painted: u32,
}

/// A tile with paint on it.
#[derive(Row, Debug, Clone, Copy)]
#[repr(C)]
pub struct Tile {
    /// Row by row, from the upper left.
    #[row(key)]
    pub place: u16,
    /// From 1.
    pub colour: u8,
    pub painted_at_us: u64,
}

/// All state of a room.
#[derive(World, Debug)]
pub struct Wall {
    pub painters: Table<Painter>,
    pub tiles: Table<Tile>,
}

#[logic]
impl Logic for Wall {
    fn join(&mut self, ctx: &mut Ctx, player: PlayerId, _join: &Join) {
        let colour = 1 + u8::try_from(ctx.rng().below(u64::from(COLOURS))).expect("few colours");
        self.painters.insert(Painter { player, colour, painted: 0 });
        self.show_all(ctx, player);
    }

    fn reconnect(&mut self, ctx: &mut Ctx, player: PlayerId) {
        self.show_all(ctx, player);
    }

    fn leave(&mut self, _ctx: &mut Ctx, player: PlayerId, _reason: &str) {
        self.painters.remove_key(player);
    }

    /// Two bytes: column and row of the tile to paint. Anything else is ignored: it may come from another version's page.
    fn message(&mut self, ctx: &mut Ctx, player: PlayerId, bytes: &[u8]) {
        let [x, y] = *bytes else { return };
        let Some(mut painter) = self.painters.find_mut(player) else { return };
        if x < WIDTH && y < HEIGHT {
            painter.painted += 1;
            let place = u16::from(y) * u16::from(WIDTH) + u16::from(x);
            let tile = Tile { place, colour: painter.colour, painted_at_us: micros(ctx.now()) };
            self.tiles.remove_key(place);
            self.tiles.insert(tile);
            ctx.broadcast(&[x, y, tile.colour]);
        }
    }

    fn tick(&mut self, ctx: &mut Ctx) {
        let fresh_from = micros(ctx.now().saturating_sub(FADES_AFTER));
        let mut faded = Vec::new();
        self.tiles.retain(|tile| {
            let is_fresh = tile.painted_at_us >= fresh_from;
            if !is_fresh {
                faded.extend(shown(tile.place, 0));
            }
            is_fresh
        });
        if !faded.is_empty() {
            ctx.broadcast(&faded);
        }
    }

    fn query(&self, request: &Request) -> Option<Response> {
        match (request.method, request.path) {
            ("GET" | "HEAD", "/painters") => Some(page::painters(&self.painters)),
            ("GET" | "HEAD", path) => page::file(path),
            _ => None,
        }
    }
}

impl Wall {
    /// Tells a player everything: column, row and colour of each tile, three bytes each.
    fn show_all(&self, ctx: &mut Ctx, player: PlayerId) {
        let all: Vec<u8> = self.tiles.iter().flat_map(|tile| shown(tile.place, tile.colour)).collect();
        ctx.send(player, &all);
    }
}

fn shown(place: u16, colour: u8) -> [u8; 3] {
    let narrow = |number: u16| u8::try_from(number).expect("the wall is narrow");
    [narrow(place % u16::from(WIDTH)), narrow(place / u16::from(WIDTH)), colour]
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).expect("the clock is far from its end")
}
