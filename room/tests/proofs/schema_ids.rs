//! Ids across changes of tables: each names the row that it named, or none.

use crate::support::test_room;
use logic_api::prelude::*;
use room::StepError;

mod one {
    use super::*;

    #[derive(Debug, Row)]
    #[repr(C)]
    pub(super) struct Avatar {
        pub(super) number: u32,
        pub(super) target: Id<Orb>,
        pub(super) near: Opt<Id<Orb>>,
        pub(super) next: Id<Avatar>,
    }

    #[derive(Debug, Row)]
    #[repr(C)]
    pub(super) struct Orb {
        pub(super) x: f32,
    }

    #[derive(Debug, World)]
    pub(super) struct World {
        pub(super) avatars: Table<Avatar>,
        pub(super) orbs: Table<Orb>,
    }

    #[logic(linked, version = 1)]
    impl Logic for World {
        fn create(&mut self, _ctx: &mut Ctx, _config: &[u8]) {
            let mut next = Id::default();
            for number in 0..3 {
                let target = self.orbs.insert(Orb { x: number as f32 });
                next = self.avatars.insert(Avatar { number, target, near: Opt::some(target), next });
            }
        }
    }
}

/// The row types have exchanged their names.
mod exchanged {
    use super::*;

    #[derive(Debug, Row)]
    #[repr(C)]
    pub(super) struct Orb {
        pub(super) number: u32,
        pub(super) target: Id<Avatar>,
        pub(super) near: Opt<Id<Avatar>>,
        pub(super) next: Id<Orb>,
    }

    #[derive(Debug, Row)]
    #[repr(C)]
    pub(super) struct Avatar {
        pub(super) x: f32,
    }

    #[derive(Debug, World)]
    pub(super) struct World {
        pub(super) avatars: Table<Orb>,
        pub(super) orbs: Table<Avatar>,
    }

    #[logic(linked, version = 2)]
    impl Logic for World {}
}

/// The orbs are in another table, which is new.
mod anew {
    use super::*;

    #[derive(Debug, Row)]
    #[repr(C)]
    pub(super) struct Avatar {
        pub(super) number: u32,
        pub(super) target: Id<Orb>,
        pub(super) near: Opt<Id<Orb>>,
        pub(super) next: Id<Avatar>,
    }

    #[derive(Debug, Row)]
    #[repr(C)]
    pub(super) struct Orb {
        pub(super) x: f32,
    }

    #[derive(Debug, World)]
    #[world(dropped("orbs"))]
    pub(super) struct World {
        pub(super) avatars: Table<Avatar>,
        pub(super) balls: Table<Orb>,
    }

    #[logic(linked, version = 3)]
    impl Logic for World {
        fn upgraded(&mut self, _ctx: &mut Ctx, _from: Version) {
            // Into the slots that the old orbs had, in their first generation.
            for number in 10..13 {
                self.balls.insert(Orb { x: number as f32 });
            }
        }
    }
}

#[test]
fn an_id_follows_its_table_whatever_its_rows_are_called() {
    let mut room = test_room::<one::World>(b"").swap::<exchanged::World>().unwrap();
    room.read(|world| {
        for row in world.avatars.iter() {
            let orb = world.orbs.get(row.target).unwrap();
            assert_eq!((orb.x, row.near.get()), (row.number as f32, Some(row.target)));
            let next = world.avatars.get(row.next).map(|row| row.number);
            assert_eq!(next, row.number.checked_sub(1));
        }
    });
}

#[test]
fn an_id_into_a_table_that_is_dropped_names_nothing_new() {
    let (room, error) = test_room::<one::World>(b"").swap::<anew::World>().unwrap_err();
    let StepError::SchemaDiffers(lines) = error else { panic!("{error}") };
    assert_eq!(
        lines,
        [
            "Avatar.target: Id<Orb> -> Id<Orb> names rows of a table that is dropped; give a migration",
            "Avatar.near: Id<Orb> -> Id<Orb> names rows of a table that is dropped; give a migration",
        ]
    );
    let mut room = room.swap_dropping::<anew::World>(&["Avatar.target", "avatars.near"]).unwrap();
    room.read(|world| {
        assert_eq!((world.avatars.len(), world.balls.len()), (3, 3));
        for avatar in world.avatars.iter() {
            assert_eq!((avatar.target, avatar.near.get()), (Id::default(), None));
            assert!(world.balls.get(avatar.target).is_none());
            let next = world.avatars.get(avatar.next).map(|avatar| avatar.number);
            assert_eq!(next, avatar.number.checked_sub(1));
        }
    });
}
