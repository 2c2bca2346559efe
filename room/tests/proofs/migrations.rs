//! Migrations against the rows that they are for: what they do not read is lost as little in silence as anything else.

use crate::support::{linked, test_room, version};
use logic_api::prelude::*;
use room::testing::TestRoom;
use room::{Input, StepError};

#[derive(Debug, Row)]
#[repr(C)]
struct Pos {
    x: f32,
    y: f32,
}

#[derive(Debug, Row)]
#[repr(C)]
struct Avatar {
    hp: u32,
    pos: Pos,
}

#[derive(Debug, World)]
struct World {
    avatars: Table<Avatar>,
}

#[logic(linked, version = 1)]
impl Logic for World {
    fn create(&mut self, _ctx: &mut Ctx, _config: &[u8]) {
        self.avatars.insert(Avatar { hp: 7, pos: Pos { x: 1.5, y: 2.5 } });
    }
}

version!(field_reads_a_part, 2, avatars: Avatar, {
    #[derive(Debug, Row)]
    #[repr(C)]
    struct OldPos {
        x: f32,
    }

    #[derive(Debug, Row)]
    #[repr(C)]
    struct OldAvatar {
        pos: OldPos,
    }

    #[derive(Debug, Row)]
    #[repr(C)]
    pub(super) struct Avatar {
        hp: u32,
        #[row(migrate = |old: &OldAvatar| old.pos.x)]
        pub(super) x: f32,
    }
});

version!(part_beside_the_whole, 3, avatars: Avatar, {
    #[derive(Debug, Row)]
    #[repr(C)]
    struct OldPos {
        x: f32,
    }

    #[derive(Debug, Row)]
    #[repr(C)]
    struct OldAvatar {
        pos: OldPos,
    }

    #[derive(Debug, Row)]
    #[repr(C)]
    pub(super) struct Avatar {
        hp: u32,
        pub(super) pos: super::Pos,
        #[row(migrate = |old: &OldAvatar| old.pos.x)]
        pub(super) x: f32,
    }
});

version!(own_source_in_part, 6, avatars: Avatar, {
    #[derive(Debug, Row)]
    #[repr(C)]
    struct OldPos {
        x: f32,
    }

    #[derive(Debug, Row)]
    #[repr(C)]
    struct OldAvatar {
        pos: OldPos,
    }

    #[derive(Debug, Row)]
    #[repr(C)]
    pub(super) struct Avatar {
        hp: u32,
        #[row(migrate = |old: &OldAvatar| old.pos.x)]
        pub(super) pos: f32,
    }
});

version!(of_another_row, 7, avatars: Avatar, {
    #[derive(Debug, Row)]
    #[repr(C)]
    struct OldAvatar {
        hp: u32,
    }

    #[derive(Debug, Row)]
    #[repr(C)]
    #[row(migrate = |old: &OldAvatar| Avatar { hp: old.hp, pos: super::Pos { x: 9.0, y: 9.0 }, level: 9 })]
    pub(super) struct Avatar {
        pub(super) hp: u32,
        pub(super) pos: super::Pos,
        #[row(default = 1)]
        pub(super) level: u8,
    }
});

version!(in_a_row, 8, avatars: Avatar, {
    #[derive(Debug, Row)]
    #[repr(C)]
    struct OldPos {
        x: f32,
    }

    #[derive(Debug, Row)]
    #[repr(C)]
    struct Pos {
        x: f32,
        y: f32,
        #[row(migrate = |old: &OldPos| old.x / 2.0, default)]
        half: f32,
    }

    #[derive(Debug, Row)]
    #[repr(C)]
    pub(super) struct Avatar {
        hp: u32,
        pos: Pos,
    }
});

version!(row_in_a_row, 9, avatars: Avatar, {
    #[derive(Debug, Row)]
    #[repr(C)]
    struct OldPos {
        x: f32,
        y: f32,
    }

    #[derive(Debug, Row)]
    #[repr(C)]
    #[row(migrate = |old: &OldPos| Pos { x: old.x.into(), y: old.y.into() })]
    struct Pos {
        x: f64,
        y: f64,
    }

    #[derive(Debug, Row)]
    #[repr(C)]
    pub(super) struct Avatar {
        hp: u32,
        pos: Pos,
    }
});

version!(row_reads_a_part, 4, avatars: Avatar, {
    #[derive(Debug, Row)]
    #[repr(C)]
    struct OldPos {
        x: f32,
    }

    #[derive(Debug, Row)]
    #[repr(C)]
    struct OldAvatar {
        hp: u32,
        pos: OldPos,
    }

    #[derive(Debug, Row)]
    #[repr(C)]
    #[row(migrate = |old: &OldAvatar| Avatar { hp: old.hp, x: old.pos.x })]
    pub(super) struct Avatar {
        hp: u32,
        x: f32,
    }
});

version!(
    table_reads_a_part,
    5,
    #[world(migrate = |old: &[OldAvatar]| old.iter().map(|old| Avatar { hp: old.hp, x: old.pos.x }).collect())]
    avatars: Avatar,
    {
        #[derive(Debug, Row)]
        #[repr(C)]
        pub(super) struct OldPos {
            x: f32,
        }

        #[derive(Debug, Row)]
        #[repr(C)]
        pub(super) struct OldAvatar {
            hp: u32,
            pos: OldPos,
        }

        #[derive(Debug, Row)]
        #[repr(C)]
        pub(super) struct Avatar {
            hp: u32,
            x: f32,
        }
    }
);

fn room() -> TestRoom<World> {
    test_room(b"")
}

/// A swap that is refused, and leaves no trace.
#[track_caller]
fn check<L: Logic>(expected: &[&str]) {
    let mut room = room();
    let before = room.room().state_hash();
    let StepError::SchemaDiffers(lines) = room.step(Input::swap(linked::<L>())).unwrap_err() else { panic!("refused") };
    assert_eq!(lines, expected);
    assert_eq!(room.room().state_hash(), before);
}

#[test]
fn what_a_field_reads_of_a_nested_row_may_not_be_a_part() {
    check::<field_reads_a_part::New>(&[
        "Avatar.pos: Pos would be dropped, since OldAvatar.pos.y: f32 is not read; say `#[row(dropped(\"pos\"))]`, or acknowledge \
         it with drop=Avatar.pos",
    ]);
    check::<own_source_in_part::New>(&[
        "Avatar.pos: Pos would be dropped, since OldAvatar.pos.y: f32 is not read; read all of it, or acknowledge it with \
         drop=Avatar.pos",
    ]);
    room().swap_dropping::<field_reads_a_part::New>(&["Avatar.pos"]).unwrap();
    // What goes over as a whole beside it is not lost.
    let mut room = room().swap::<part_beside_the_whole::New>().unwrap();
    room.read(|world| {
        let avatar = world.avatars.iter().next().unwrap();
        assert_eq!((avatar.x, avatar.pos.x, avatar.pos.y), (1.5, 1.5, 2.5));
    });
}

#[test]
fn what_a_row_or_a_table_reads_of_a_nested_row_may_not_be_a_part() {
    let lost = [
        "Avatar.x: f32 is new; give it `#[row(default = …)]` or a migration",
        "Avatar.pos: Pos would be dropped; say `#[row(dropped(\"pos\"))]`, or acknowledge it with drop=Avatar.pos",
        "Avatar: its migration does not fit: OldAvatar.pos.y: f32 is not read",
    ];
    check::<row_reads_a_part::New>(&lost);
    check::<table_reads_a_part::New>(&lost);
}

/// It may be one from yet another version, so it is no reason to refuse what goes without it; but it is told.
#[test]
fn a_migration_that_does_not_fit_is_not_left_out_in_silence() {
    let mut room = room();
    let report = room.room().plan_swap(&linked::<of_another_row::New>(), &[]).report(None);
    let misfit = "Avatar: its migration does not fit, and is left out: OldAvatar has other fields than Avatar";
    assert_eq!((report.notes.as_slice(), report.refusals.len()), (&[misfit.to_owned()][..], 0));
    assert!(report.to_string().ends_with(&format!("\nnote: {misfit}\n")), "{report}");
    let mut room = room.swap::<of_another_row::New>().unwrap();
    room.read(|world| {
        let avatar = world.avatars.iter().next().unwrap();
        assert_eq!((avatar.hp, avatar.level, avatar.pos.x, avatar.pos.y), (7, 1, 1.5, 2.5));
    });
}

#[test]
fn a_migration_in_a_row_within_a_row_is_refused() {
    let what = "a migration does not run in a row within a row; give one above the field of the table's row, or above that row";
    check::<in_a_row::New>(&[&format!("Avatar.pos.half: {what}")]);
    check::<row_in_a_row::New>(&[&format!("Avatar.pos: {what}")]);
}
