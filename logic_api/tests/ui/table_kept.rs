use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
struct Avatar {
    number: u32,
}

#[derive(World)]
struct Arena {
    avatars: Table<Avatar>,
}

static KEPT: std::sync::OnceLock<&'static Avatar> = std::sync::OnceLock::new();

#[logic(linked)]
impl Logic for Arena {
    fn tick(&mut self, _ctx: &mut Ctx) {
        if let Some(avatar) = self.avatars.iter().next() {
            let _ = KEPT.set(avatar);
        }
    }
}

fn main() {}
