//! Good plugins that something happened to on their way.

use std::{fs::File, os::unix::fs::FileExt as _};

use expect_test::expect;
use object::{LittleEndian as LE, elf, pod};

use super::{
    plugins::{good, sealed},
    refusals::start,
};

const SEAL_BYTES: usize = 78;

/// Where the entry of each section is in the file, and what it says.
fn sections(content: &[u8]) -> Vec<(usize, elf::SectionHeader64<LE>)> {
    let (header, _) = pod::from_bytes::<elf::FileHeader64<LE>>(content).unwrap();
    let (at, count) = (usize::try_from(header.e_shoff.get(LE)).unwrap(), header.e_shnum.get(LE).into());
    let (entries, _) = pod::slice_from_bytes::<elf::SectionHeader64<LE>>(&content[at..], count).unwrap();
    entries.iter().enumerate().map(|(number, entry)| (at + number * size_of_val(entry), *entry)).collect()
}

/// 64 lengths: within the ELF header, the segment table, the sections, the section table and the seal, and evenly between.
fn cuts(content: &[u8]) -> Vec<usize> {
    let (length, table) = (content.len(), sections(content)[0].0);
    let special = [
        1,
        3,
        4,
        15,
        16,
        17,
        40,
        63,
        64,
        65,
        100,
        120,
        500,
        4095,
        4096,
        4097,
        table - 1,
        table,
        table + 1,
        table + 64,
        table + 100,
        length - 1,
        length - 64,
        length + 1,
        length + 12,
        length + 13,
        length + 14,
        length + 40,
        length + 77,
    ];
    let even = (1..).map(|step| length * step / 36).take(64 - special.len());
    special.into_iter().chain(even).collect()
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let content = good(1002, "game2");
    let whole = sealed(&content);
    let engine = start(&good(1001, "game1"));
    let lengths = cuts(&content);
    assert_eq!(lengths.len(), 64);
    for length in lengths {
        engine.put("cut.so", &whole[..length]);
        let code = match length {
            0..4 => "not-elf",
            _ if length <= content.len() => "cut-short",
            _ => "damaged",
        };
        let reason = engine.file_refusal("cut.so", 422, code);
        let found = match code {
            "not-elf" => "not an ELF file: starts with ".to_owned(),
            "cut-short" => format!("the file has {length} bytes; build it again"),
            _ => format!("{} bytes of a seal follow its content", length - content.len()),
        };
        assert!(reason.contains(&found), "{length} bytes: {reason}");
    }
    // One that is cut between two sections still has a whole header; its end is what gives it away.
    engine.put("cut.so", &whole[..4096]);
    let reason = engine.file_refusal("cut.so", 422, "cut-short");
    assert_eq!(
        reason.replace(&content.len().to_string(), "WHOLE"),
        "cut.so: the file is cut short: the section table ends at WHOLE, the file has 4096 bytes; build it again"
    );
    // What was cut at the seal's start is a whole plugin that is not sealed.
    engine.put("cut.so", &whole[..whole.len() - SEAL_BYTES]);
    engine.must_load("cut.so");
    assert_eq!(engine.hello(), "game2 1002");
    engine.end();
}

#[test]
fn a_sealed_file_with_any_bit_flipped_is_refused() {
    let content = good(1002, "game2");
    let whole = sealed(&content);
    let engine = start(&good(1001, "game1"));
    engine.put("flipped.so", &whole);
    let file = File::options().write(true).open(engine.setup.plugins().join("flipped.so")).unwrap();
    let of = |kind| sections(&content).into_iter().find(|(_, section)| section.sh_type.get(LE) == kind).unwrap().0;
    let mut flips: Vec<usize> = [of(elf::SHT_DYNSYM), of(elf::SHT_PROGBITS)]
        .into_iter()
        .flat_map(|at| at * 8..(at + size_of::<elf::SectionHeader64<LE>>()) * 8)
        .collect();
    // Code, data and the seal itself.
    flips.extend((1..50).map(|step| whole.len() * 8 / 50 * step + step));
    flips.extend([whole.len() * 8 - 1, whole.len() * 8 - 300, whole.len() * 8 - 77 * 8]);
    let hello = engine.hello();
    let before = engine.traces();
    for &bit in &flips {
        let flipped = whole[bit / 8] ^ 1 << (bit % 8);
        file.write_all_at(&[flipped], bit as u64 / 8).unwrap();
        let answer = engine.send("GET", "/load?name=flipped.so", &[]);
        assert_eq!((answer.status, answer.code().as_str()), (422, "damaged"), "bit {bit}: {answer:?}");
        let reason = answer.reason();
        let known =
            ["flipped.so is damaged: the seal says sha256 ", "flipped.so is damaged: the seal at its end is not"];
        assert!(known.iter().any(|known| reason.starts_with(known)), "bit {bit}: {reason}");
        file.write_all_at(&[whole[bit / 8]], bit as u64 / 8).unwrap();
    }
    engine.check_unharmed(&hello, &before);
    // Put right again, it is what it was.
    engine.must_load("flipped.so");
    engine.end();
}

#[test]
fn an_unsealed_file_with_a_broken_section_table_is_refused() {
    let content = good(1002, "game2");
    let engine = start(&good(1001, "game1"));
    let (offset_at, size_at, link_at) = (24, 32, 40);
    let mut broken = 0;
    for (at, section) in sections(&content) {
        let kind = section.sh_type.get(LE);
        if kind == elf::SHT_NULL || kind == elf::SHT_NOBITS {
            continue;
        }
        // An offset and a size far beyond the file; for the tables that the linker reads, also another kind and link.
        let mut flips = vec![(at + offset_at + 5, 1), (at + size_at + 5, 1)];
        if [elf::SHT_DYNSYM, elf::SHT_DYNAMIC].contains(&kind) {
            flips.extend([(at + 4, 4), (at + link_at + 1, 1)]);
        }
        for (place, bit) in flips {
            let mut bytes = content.to_vec();
            bytes[place] ^= bit;
            engine.put("broken.so", &bytes);
            let answer = engine.send("GET", "/load?name=broken.so", &[]);
            assert_eq!(answer.status, 422, "byte {place} of {section:?}: {answer:?}");
            assert!(["cut-short", "damaged"].contains(&answer.code().as_str()), "byte {place}: {answer:?}");
            broken += 1;
        }
    }
    assert!(broken > 40, "only {broken} ways to break it");
    let (place, _) = sections(&content)[1];
    let mut bytes = content.to_vec();
    bytes[place + offset_at + 5] ^= 1;
    engine.put("broken.so", &bytes);
    let reason = engine.file_refusal("broken.so", 422, "cut-short");
    let reason = reason.replace(&content.len().to_string(), "WHOLE");
    expect![
        "broken.so: the file is cut short: section 1 ends at 1099511628492, the file has WHOLE bytes; build it again"
    ]
    .assert_eq(&reason);
    engine.end();
}
