//! Where two rooms differ: the first table, row and field, in words.

use std::collections::BTreeSet;

use logic_api::schema::{ColumnType, RowSchema};
use room::{Room, World};
use serde_json::Value;

/// The first difference between two worlds: table, row, field, and both values. `None` where there is none to be seen.
pub fn first_difference(one: &World, two: &World) -> Option<String> {
    let names = |world: &World| world.schema().tables.iter().map(|table| table.name.clone()).collect::<Vec<_>>();
    let (of_one, of_two) = (names(one), names(two));
    if of_one != of_two {
        let (one, two): (BTreeSet<_>, BTreeSet<_>) = (of_one.iter().collect(), of_two.iter().collect());
        let differing: Vec<_> = one.symmetric_difference(&two).map(|name| name.as_str()).collect();
        return Some(format!("the tables are others: {}", differing.join(", ")));
    }
    of_one.iter().find_map(|table| table_difference(table, one, two)).or_else(|| player_difference(one, two))
}

fn table_difference(table: &str, one: &World, two: &World) -> Option<String> {
    let (mut ones, mut twos) = (one.row_views(table), two.row_views(table));
    loop {
        let (a, b) = match (ones.next(), twos.next()) {
            (None, None) => return None,
            (Some(row), None) => return Some(format!("{table}: {} is there in the first only", shown(row.id))),
            (None, Some(row)) => return Some(format!("{table}: {} is there in the second only", shown(row.id))),
            (Some(a), Some(b)) => (a, b),
        };
        if a.id != b.id {
            return Some(format!("{table}: {} in the first, {} in the second", shown(a.id), shown(b.id)));
        }
        let values = [&a, &b].map(|row| serde_json::to_value(row).unwrap_or(Value::Null));
        let [first, second] = &values;
        if let Some((path, first, second)) = value_difference(String::new(), first, second) {
            return Some(format!("{table}, {}: {path} is {first} in the first, {second} in the second", shown(a.id)));
        }
    }
}

fn player_difference(one: &World, two: &World) -> Option<String> {
    let ids: BTreeSet<_> = one.players().iter().chain(two.players()).collect();
    ids.into_iter().find_map(|id| {
        let (a, b) = (one.player(*id), two.player(*id));
        let shown = |player: Option<room::Player>| player.map_or("not in".to_owned(), |player| format!("{player:?}"));
        (a != b).then(|| format!("player {id}: {} in the first, {} in the second", shown(a), shown(b)))
    })
}

/// Page and slot, which is what an id names a row by.
fn shown(id: u64) -> String {
    let (slot, generation) = (id & 0xFFFF_FFFF, id >> 32);
    format!("row {}/{} (generation {generation})", slot >> 16, slot & 0xFFFF)
}

/// The path of the first field that differs, and its values.
fn value_difference(path: String, one: &Value, two: &Value) -> Option<(String, String, String)> {
    match (one, two) {
        (Value::Object(ones), Value::Object(twos)) => ones.iter().find_map(|(name, one)| {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            value_difference(path, one, twos.get(name).unwrap_or(&Value::Null))
        }),
        (Value::Array(ones), Value::Array(twos)) if ones.len() == twos.len() => ones
            .iter()
            .zip(twos)
            .enumerate()
            .find_map(|(at, (one, two))| value_difference(format!("{path}[{at}]"), one, two)),
        _ => (one != two).then(|| (path, one.to_string(), two.to_string())),
    }
}

/// The first field of a row that holds a number that is none: what bits it has is up to compiler and processor.
pub fn first_nan(world: &World) -> Option<String> {
    let tables = &world.schema().tables;
    tables.iter().find_map(|table| {
        world.row_views(&table.name).find_map(|row| {
            let value = serde_json::to_value(&row).ok()?;
            let path = nan_in_row("", &table.row, &value)?;
            Some(format!("{}, {}: {path} is no number (NaN)", table.name, shown(row.id)))
        })
    })
}

fn nan_in_row(path: &str, schema: &RowSchema, row: &Value) -> Option<String> {
    let dot = if path.is_empty() { "" } else { "." };
    schema
        .fields
        .iter()
        .find_map(|field| nan_in_column(format!("{path}{dot}{}", field.name), &field.column, row.get(&field.name)?))
}

/// By the column's type: a text may say what it likes.
fn nan_in_column(path: String, column: &ColumnType, value: &Value) -> Option<String> {
    match column {
        // As `room::RowView` writes them.
        ColumnType::F32 | ColumnType::F64 => value.as_str()?.starts_with("NaN (0x").then_some(path),
        ColumnType::Row(schema) => nan_in_row(&path, schema, value),
        ColumnType::Opt { of } => nan_in_column(path, of, value),
        ColumnType::List { of, .. } | ColumnType::Array { of, .. } => {
            let mut items = value.as_array()?.iter().enumerate();
            items.find_map(|(at, item)| nan_in_column(format!("{path}[{at}]"), of, item))
        }
        _ => None,
    }
}

/// A room as JSON: what it is, its players, and all rows of all tables by name.
pub fn to_json(room: &Room) -> Value {
    let world = room.world();
    let players = world.players().iter().filter_map(|id| world.player(*id));
    let players: Vec<Value> = players
        .map(|player| {
            let room::Player { id, is_connected, consumed } = player;
            serde_json::json!({ "id": id.0, "connected": is_connected, "consumed": consumed })
        })
        .collect();
    let rows = |name: &str| -> Vec<Value> {
        let of_row = |row: room::RowView<'_>| serde_json::json!({ "id": row.id, "row": row });
        world.row_views(name).map(of_row).collect()
    };
    // That its code is not at hand where it is looked at is no state of the room.
    let is_gone = |fault: &&room::LogicFault| room.logic().gone_because() == Some(fault.message.as_str());
    let frozen = room.frozen().filter(|fault| !is_gone(fault));
    let tables = world.schema().tables.iter().map(|table| (table.name.clone(), Value::from(rows(&table.name))));
    serde_json::json!({
        "room": room.name(),
        "version": room.logic().version().0,
        "logic": room.logic().name(),
        "tick": room.tick().0,
        "inputs": room.seq().0,
        "now_us": room.now_us(),
        "frozen": frozen.map(ToString::to_string),
        "players": players,
        "tables": tables.collect::<serde_json::Map<_, _>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use logic_api::prelude::*;
    use room::{Input, LogicVersion, Outbox, Pool, Stamp};

    #[derive(Row, Debug, Clone, Copy, Default)]
    #[repr(C)]
    struct Place {
        x: f32,
        y: f32,
    }

    #[derive(Row, Debug, Default)]
    #[repr(C)]
    struct Thing {
        #[row(key)]
        id: u64,
        name: Str<24>,
        mass: f64,
        places: [Place; 2],
        path: List<f32, 4>,
        aim: Opt<f64>,
        note: Text,
    }

    #[derive(World)]
    struct Things {
        things: Table<Thing>,
    }

    #[logic(linked)]
    impl Logic for Things {
        fn message(&mut self, _ctx: &mut Ctx, _player: PlayerId, bytes: &[u8]) {
            let mut thing = Thing { id: 1, name: Str::try_new("NaN (0x7fc00000)").expect("short"), ..Thing::default() };
            thing.note.set("NaN (0x7fc00000)");
            match bytes {
                b"mass" => thing.mass = f64::NAN,
                b"place" => thing.places[1].y = f32::NAN,
                b"path" => [1.0, f32::NAN].into_iter().for_each(|x| thing.path.push(x).expect("there is room")),
                b"aim" => thing.aim = Some(f64::NAN).into(),
                _ => thing.mass = f64::INFINITY,
            }
            self.things.clear();
            self.things.insert(thing);
        }
    }

    #[test]
    fn a_number_that_is_none_is_found_wherever_it_is_and_nothing_else() {
        let (pool, mut outbox, stamp) = (Pool::new(), Outbox::new(), Stamp { now_us: 1, seed: 1 });
        let logic = LogicVersion::linked::<Things>().unwrap();
        let mut room = Room::create("main", logic, &pool, stamp, b"", &mut outbox).unwrap();
        let player = logic_api::PlayerId(1);
        let join = Input::Join { player, hello: b""[..].into(), claims: "".into() };
        room.step(stamp, join, &mut outbox).unwrap();
        let mut number = 0;
        let mut check = |what: &str, expected: Option<&str>| {
            number += 1;
            room.step(stamp, Input::Message { player, number, bytes: what.as_bytes().into() }, &mut outbox).unwrap();
            let found = first_nan(room.world());
            let path = found.as_deref().and_then(|text| text.split_once(": ")).map(|(_, path)| path);
            assert_eq!(path, expected.map(|path| format!("{path} is no number (NaN)")).as_deref());
        };
        check("texts that say so", None);
        check("mass", Some("mass"));
        check("place", Some("places[1].y"));
        check("path", Some("path[1]"));
        check("aim", Some("aim"));
    }
}
