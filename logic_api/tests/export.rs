//! What a plugin exports is found where the loader looks.

use logic_api::prelude::*;

#[derive(Row, Debug)]
#[repr(C)]
pub struct Avatar {
    #[row(key)]
    player: PlayerId,
    #[row(unique)]
    name: Str<15>,
    kind: Kind,
    place: [f32; 3],
    friends: List<PlayerId, 4>,
    target: Opt<Id<Avatar>>,
    story: Text,
}

#[derive(Row, Clone, Copy, PartialEq, Debug, Default)]
#[repr(u8)]
pub enum Kind {
    #[default]
    Human,
    Bot = 7,
}

#[derive(World, Debug)]
pub struct Arena {
    avatars: Table<Avatar>,
}

#[logic]
impl Logic for Arena {
    fn join(&mut self, _ctx: &mut Ctx, player: PlayerId, _join: &Join) {
        let (kind, place) = (Kind::Human, [0.0; 3]);
        let (friends, target) = (List::new(), None.into());
        let story = Text::new("once");
        self.avatars.insert(Avatar { player, name: Str::truncated("x"), kind, place, friends, target, story });
        assert!(self.avatars.find(player).is_some());
        assert!(self.avatars.id_by(Avatar::BY_NAME, Str::truncated("x")).is_some());
    }
}

#[test]
fn the_root_module_has_the_name_that_the_loader_looks_for() {
    // The macro has the name as a literal, because an attribute takes nothing else.
    assert_eq!(abi_stable::library::ROOT_MODULE_LOADER_NAME, "_1as_0lib_1header_0root_bmodule_bloader");
}

#[test]
fn the_schema_is_that_of_the_structs() {
    let schema = Arena::schema();
    let row = &schema.tables[0].row;
    let columns: Vec<String> = row.fields.iter().map(|f| format!("{}@{} {}", f.name, f.offset, f.column)).collect();
    assert_eq!(
        columns,
        [
            "player@0 PlayerId",
            "name@8 Str<15>",
            "kind@24 Kind",
            "place@28 [f32; 3]",
            "friends@40 List<PlayerId, 4>",
            "target@80 Opt<Id<Avatar>>",
            "story@92 Text"
        ]
    );
    assert_eq!((row.size as usize, row.fields.len()), (size_of::<Avatar>(), 7));
    for field in &row.fields {
        assert!(field.offset + field.column.size() <= row.size, "{}", field.name);
    }
    let bytes = |table: &logic_api::abi::LogicTable| format!("{table:?}").len();
    assert!(bytes(&logic_api::raw::linked::<Arena>()) > 0);
    assert_eq!(<Arena as logic_api::raw::LogicInfo>::CALLBACKS, ["join"]);
}
