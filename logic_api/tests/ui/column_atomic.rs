use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
struct Avatar {
    column: std::sync::atomic::AtomicU32,
}

fn main() {}
