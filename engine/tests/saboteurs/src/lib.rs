//! The game that the saboteurs spoil: `/hello` as the arena has it, and a count that shows what became of an input.
//!
//! Each saboteur in `examples/` takes this file in as a module and adds its one misdeed, so that all of them have the same
//! schema: a swap to one of them gets as far as the misdeed.

pub mod deeds;

use logic_api::prelude::*;

/// All state of a room.
#[derive(World, Debug)]
pub struct Game {
    pub greeting: One<Greeting>,
    pub marks: Table<Mark>,
}

/// Who answered `/hello` last.
#[derive(Row, Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct Greeting {
    /// 0 before the first answer.
    pub version: u32,
    pub name: Str<32>,
}

/// A request that was carried out.
#[derive(Row, Debug, Clone, Copy)]
#[repr(C)]
pub struct Mark {
    #[row(key)]
    pub number: u64,
}

impl Game {
    /// What every saboteur answers to a request that is none of its own.
    pub fn answer(&mut self, version: Version, name: &str, request: &Request) -> Response {
        match request.path {
            "/hello" => self.hello(version, name),
            "/mark" => {
                self.mark();
                self.count()
            }
            "/marks" => self.count(),
            path => match path.strip_prefix("/only/").and_then(|number| number.parse().ok()) {
                Some(number) => {
                    self.marks.clear();
                    self.marks.insert(Mark { number });
                    self.count()
                }
                None => Response::not_found(),
            },
        }
    }

    pub fn mark(&mut self) {
        let number = self.marks.len() as u64;
        self.marks.insert(Mark { number });
    }

    fn count(&self) -> Response {
        Response::text(format!("{} marks\n", self.marks.len()))
    }

    fn hello(&mut self, version: Version, name: &str) -> Response {
        let now = Greeting { version: version.0, name: Str::truncated(name) };
        let before = std::mem::replace(&mut *self.greeting, now);
        Response::text(format!(
            "version={}, name={}, oldversion={}, oldName={}\n",
            now.version, now.name, before.version, before.name
        ))
    }
}

/// Has the dynamic linker run code when it maps the plugin.
#[macro_export]
macro_rules! at_start {
    ($code:expr) => {
        const _: () = {
            extern "C" fn run() {
                $code
            }
            #[used]
            #[allow(unsafe_code, reason = "the section that the dynamic linker runs")]
            #[unsafe(link_section = ".init_array")]
            static RUN: extern "C" fn() = run;
        };
    };
}

/// The logic of a saboteur that does no harm once it is loaded.
#[macro_export]
macro_rules! harmless_logic {
    () => {
        use logic_api::prelude::*;

        #[logic]
        impl Logic for game::Game {
            fn request(&mut self, _ctx: &mut Ctx, request: &Request) -> Response {
                self.answer(Self::version(), Self::name(), request)
            }
        }
    };
}
