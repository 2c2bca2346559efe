//! Fails in its callbacks, when it is asked to.

#[path = "../src/lib.rs"]
pub mod game;

use logic_api::prelude::*;

/// The mark that has `tick` panic: it is in the world, so the next version sees it too.
const ARMED: u64 = u64::MAX;

#[logic]
impl Logic for game::Game {
    fn query(&self, request: &Request) -> Option<Response> {
        assert_ne!(request.path, "/panic-in-query", "a question too much");
        None
    }

    fn request(&mut self, ctx: &mut Ctx, request: &Request) -> Response {
        match request.path {
            "/panic" => {
                self.mark();
                panic!("it was asked to");
            }
            "/index" => {
                self.mark();
                let rows = [1, 2, 3];
                let at: usize = request.param("at").and_then(|at| at.parse().ok()).unwrap_or(rows.len());
                Response::text(rows[at].to_string())
            }
            "/arm" => {
                self.marks.insert(game::Mark { number: ARMED });
                Response::text("armed\n")
            }
            "/flood" => {
                self.mark();
                for _ in 0..100 {
                    ctx.broadcast(&[0; 1 << 20]);
                }
                Response::text("flooded\n")
            }
            "/long" => {
                self.mark();
                Response::new("application/octet-stream", vec![b'x'; 100 << 20])
            }
            "/odd" => {
                let status = request.param("status").and_then(|status| status.parse().ok()).unwrap_or(200);
                Response::text("odd\n").header("content-type", "text/odd").status(status)
            }
            "/recurse" => Response::text(depth(u64::MAX).to_string()),
            _ => self.answer(Self::version(), Self::name(), request),
        }
    }

    fn tick(&mut self, _ctx: &mut Ctx) {
        assert!(self.marks.find(ARMED).is_none(), "armed");
    }
}

/// No optimiser makes a loop of it: what it takes from the stack is looked at after the call.
fn depth(left: u64) -> u64 {
    let on_stack = std::hint::black_box([left; 64]);
    if left == 0 { 0 } else { depth(left - 1) + on_stack[0] }
}
