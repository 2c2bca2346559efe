//! What the dynamic linker reads: the dynamic table, the exported symbols and the build id.

use std::fmt;

use object::{LittleEndian as LE, elf, pod};

use super::{
    ElfFault,
    sections::{Section, Sections},
    segments::Segments,
    slice, string,
};
use crate::loader::digest::write_hex;

/// What the linker wrote into the file to tell this build from any other.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct BuildId(Box<[u8]>);

/// A build id that is shorter cannot tell builds apart; none of the linkers' kinds is longer.
const BUILD_ID_BYTES: std::ops::RangeInclusive<usize> = 8..=64;

impl BuildId {
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What mapped code says of itself: any bytes, so that they can be compared and shown.
impl From<Vec<u8>> for BuildId {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BuildId({self})")
    }
}

impl serde::Serialize for BuildId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A table that the dynamic table points to: its address, its size when that is given, and the section it must be.
struct Pointer {
    address: elf::DynamicTag,
    size: Option<elf::DynamicTag>,
    section: elf::SectionType,
    what: &'static str,
}

const fn pointer(
    address: elf::DynamicTag,
    size: Option<elf::DynamicTag>,
    section: elf::SectionType,
    what: &'static str,
) -> Pointer {
    Pointer { address, size, section, what }
}

const POINTERS: &[Pointer] = &[
    pointer(elf::DT_SYMTAB, None, elf::SHT_DYNSYM, "the symbol table"),
    pointer(elf::DT_STRTAB, Some(elf::DT_STRSZ), elf::SHT_STRTAB, "the string table"),
    pointer(elf::DT_GNU_HASH, None, elf::SHT_GNU_HASH, "the GNU hash table"),
    pointer(elf::DT_HASH, None, elf::SHT_HASH, "the hash table"),
    pointer(elf::DT_RELA, Some(elf::DT_RELASZ), elf::SHT_RELA, "the relocations"),
    pointer(elf::DT_JMPREL, Some(elf::DT_PLTRELSZ), elf::SHT_RELA, "the PLT's relocations"),
    pointer(elf::DT_RELR, Some(elf::DT_RELRSZ), elf::SHT_RELR, "the relative relocations"),
    pointer(elf::DT_INIT_ARRAY, Some(elf::DT_INIT_ARRAYSZ), elf::SHT_INIT_ARRAY, "the constructors"),
    pointer(elf::DT_FINI_ARRAY, Some(elf::DT_FINI_ARRAYSZ), elf::SHT_FINI_ARRAY, "the destructors"),
    pointer(elf::DT_VERSYM, None, elf::SHT_GNU_VERSYM, "the symbols' versions"),
    pointer(elf::DT_VERNEED, None, elf::SHT_GNU_VERNEED, "the needed versions"),
    pointer(elf::DT_VERDEF, None, elf::SHT_GNU_VERDEF, "the defined versions"),
];

/// Checks the dynamic table, and that it and the section table tell the same story.
pub(super) fn check(bytes: &[u8], segments: &Segments, sections: &Sections<'_>) -> Result<(), ElfFault> {
    let segment = &segments.dynamic;
    let described = sections.all.iter().any(|section| {
        (section.kind, section.offset, section.size) == (elf::SHT_DYNAMIC, segment.offset, segment.file_bytes)
    });
    if !described {
        return Err(damaged("is not the section that the section table says"));
    }
    let entries = entries(slice(bytes, segment.offset, segment.file_bytes).unwrap_or_default())?;
    let value = |tag| entries.iter().find(|(found, _)| *found == tag).map(|(_, value)| *value);

    let (Some(_), Some(_), Some(strings_size)) = (value(elf::DT_SYMTAB), value(elf::DT_STRTAB), value(elf::DT_STRSZ))
    else {
        return Err(damaged("names no symbol and string tables"));
    };
    if value(elf::DT_FLAGS_1).is_some_and(|flags| flags & PROGRAM != 0) {
        return Err(ElfFault::NotShared { found: "a program" });
    }
    let name_tags = [elf::DT_NEEDED, elf::DT_SONAME, elf::DT_RPATH, elf::DT_RUNPATH];
    if entries.iter().any(|(tag, value)| name_tags.contains(tag) && *value >= strings_size) {
        return Err(damaged("has a name outside its string table"));
    }
    for pointer in POINTERS {
        let Some(address) = value(pointer.address) else {
            continue;
        };
        let size = pointer.size.and_then(value);
        let fits = |section: &&Section<'_>| {
            section.kind == pointer.section
                && section.address == address
                // Some linkers count the PLT's relocations, which follow, among the others.
                && size.is_none_or(|size| size == section.size || (pointer.address == elf::DT_RELA && size > section.size))
        };
        if !sections.all.iter().filter(|section| section.is_loaded()).any(|section| fits(&section)) {
            let size = size.map(|size| format!(" with {size} bytes")).unwrap_or_default();
            return Err(damaged(format!("has {} at {address:#x}{size}, where no section has it", pointer.what)));
        }
    }
    Ok(())
}

/// `DF_1_PIE`: a program that is linked like a shared library.
const PROGRAM: u64 = 0x0800_0000;

fn entries(table: &[u8]) -> Result<Vec<(elf::DynamicTag, u64)>, ElfFault> {
    let Ok(raw) = pod::slice_from_all_bytes::<elf::Dyn64<LE>>(table) else {
        return Err(damaged(format!("has {} bytes, not a multiple of 16", table.len())));
    };
    let Some(end) = raw.iter().position(|entry| entry.d_tag.get(LE) == elf::DT_NULL) else {
        return Err(damaged("has no end"));
    };
    Ok(raw[..end].iter().map(|entry| (entry.d_tag.get(LE), entry.d_val.get(LE))).collect())
}

/// Checks every dynamic symbol, and that one of them is `wanted`, defined here and visible.
pub(super) fn find_symbol(
    bytes: &[u8],
    segments: &Segments,
    sections: &Sections<'_>,
    wanted: &str,
) -> Result<(), ElfFault> {
    let missing = || ElfFault::NoSymbol { symbol: wanted.into() };
    let table = sections.all.iter().find(|section| section.kind == elf::SHT_DYNSYM).ok_or_else(missing)?;
    let broken = |index: usize, reason: &str| ElfFault::damaged(format!("symbol {index}"), reason);
    let strings = &sections.all[table.link as usize];
    let strings = slice(bytes, strings.offset, strings.size).unwrap_or_default();
    let symbols = slice(bytes, table.offset, table.size).unwrap_or_default();
    let symbols = pod::slice_from_all_bytes::<elf::Sym64<LE>>(symbols)
        .map_err(|()| ElfFault::damaged("the symbol table", "cannot be read"))?;

    let mut found = false;
    for (index, symbol) in symbols.iter().enumerate() {
        let name = string(strings, symbol.st_name.get(LE).into())
            .ok_or_else(|| broken(index, "has a name outside the string table"))?;
        let defined = symbol.st_shndx.get(LE).index().is_some();
        let address = symbol.st_value.get(LE);
        if defined && symbol.st_type() != elf::STT_TLS && !segments.loads.iter().any(|l| l.holds_memory(address, 0)) {
            return Err(broken(index, "is defined outside every segment"));
        }
        let local = symbol.st_bind() == elf::STB_LOCAL;
        let visible = matches!(symbol.st_visibility(), elf::STV_DEFAULT | elf::STV_PROTECTED);
        found |= defined && !local && visible && name == wanted.as_bytes();
    }
    if found { Ok(()) } else { Err(missing()) }
}

/// The GNU build id among the notes.
pub(super) fn build_id(bytes: &[u8], segments: &Segments) -> Result<BuildId, ElfFault> {
    for segment in &segments.notes {
        let align = if segment.align == 8 { 8 } else { 4 };
        let mut rest = slice(bytes, segment.offset, segment.file_bytes).unwrap_or_default();
        while !rest.is_empty() {
            let (note, after) =
                next_note(rest, align).ok_or_else(|| ElfFault::damaged("a note", "does not fit its segment"))?;
            let known = note.name == b"GNU\0" && note.kind == elf::NT_GNU_BUILD_ID;
            if known && BUILD_ID_BYTES.contains(&note.content.len()) {
                return Ok(BuildId(note.content.into()));
            }
            rest = after;
        }
    }
    Err(ElfFault::NoBuildId)
}

struct Note<'a> {
    kind: elf::NoteType,
    name: &'a [u8],
    content: &'a [u8],
}

/// The first note of a segment, and what follows it: a header, the name and the content, each padded.
fn next_note(bytes: &[u8], align: usize) -> Option<(Note<'_>, &[u8])> {
    let (header, _) = pod::from_bytes::<elf::NoteHeader64<LE>>(bytes).ok()?;
    let name_bytes = usize::try_from(header.n_namesz.get(LE)).ok()?;
    let content_bytes = usize::try_from(header.n_descsz.get(LE)).ok()?;
    let name_at = size_of::<elf::NoteHeader64<LE>>();
    let content_at = name_at.checked_add(name_bytes)?.checked_next_multiple_of(align)?;
    let end = content_at.checked_add(content_bytes)?;
    let note = Note {
        kind: header.n_type.get(LE),
        name: bytes.get(name_at..name_at + name_bytes)?,
        content: bytes.get(content_at..end)?,
    };
    // The last one's padding may be cut off.
    let next = end.checked_next_multiple_of(align)?.min(bytes.len());
    Some((note, &bytes[next..]))
}

fn damaged(reason: impl Into<String>) -> ElfFault {
    ElfFault::damaged("the dynamic table", reason)
}
