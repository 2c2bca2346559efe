//! A logic for the tests of the engine: it fails when it is asked to, some of its versions fail by themselves, and it logs its
//! end.
//!
//! | version | |
//! |---|---|
//! | 1001 | its `tick` panics in a room that is spoilt |
//! | 1002 | ticks in spoilt rooms, too |
//! | 1003 | its `upgraded` panics |
//! | 1004 | its `upgraded` never returns |

use std::time::Duration;

use logic_api::prelude::*;

#[derive(Row, Debug, Clone, Copy, Default)]
#[repr(C)]
struct State {
    count: u64,
    ticks: u64,
    spoilt: u64,
}

#[derive(World, Debug)]
struct Moody {
    state: One<State>,
}

#[logic]
impl Logic for Moody {
    fn tick(&mut self, _ctx: &mut Ctx) {
        self.state.ticks += 1;
        assert!(self.state.spoilt == 0 || Self::version() != Version(1001), "the room is spoilt");
    }

    fn query(&self, request: &Request) -> Option<Response> {
        match request.path {
            "/peek" => Some(Response::text(format!("{} in {}\n", self.state.count, Self::version()))),
            "/panic-in-query" => panic!("the query was told to"),
            _ => None,
        }
    }

    fn request(&mut self, _ctx: &mut Ctx, request: &Request) -> Response {
        self.state.count += 1;
        match request.path {
            "/count" => Response::text(format!("{} in {}\n", self.state.count, Self::version())),
            "/panic" => panic!("the request was told to"),
            "/spoil" => {
                self.state.spoilt = 1;
                Response::text("spoilt\n")
            }
            _ => Response::not_found(),
        }
    }

    fn terminate(&mut self, ctx: &mut Ctx, grace: Duration) {
        ctx.log(format_args!("{} is told to end in {} ms", ctx.room(), grace.as_millis()));
    }

    fn dispose(&mut self, ctx: &mut Ctx) {
        ctx.log(format_args!("{} ends after {} requests", ctx.room(), self.state.count));
    }

    fn upgraded(&mut self, _ctx: &mut Ctx, from: Version) {
        self.state.count += 100;
        match Self::version() {
            Version(1003) => panic!("nothing can come after {from}"),
            Version(1004) => loop {
                std::hint::spin_loop();
            },
            _ => {}
        }
    }
}
