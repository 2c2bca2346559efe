//! The section table. Nothing at run time reads it, so a damaged one would go unnoticed until a debugger does: a file in
//! which it contradicts the segments is a damaged file.

use object::{LittleEndian as LE, elf};

use super::{ElfFault, header::Header, segments::Segments, slice, slice_or_cut, string};

/// The sections, each within the file and in accord with the segments.
#[derive(Debug)]
pub(super) struct Sections<'a> {
    pub(super) all: Vec<Section<'a>>,
    pub(super) content_bytes: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Section<'a> {
    pub(super) index: usize,
    pub(super) name: &'a [u8],
    pub(super) kind: elf::SectionType,
    pub(super) flags: u64,
    pub(super) address: u64,
    pub(super) offset: u64,
    pub(super) size: u64,
    pub(super) link: u32,
    pub(super) info: u32,
    pub(super) align: u64,
    pub(super) entry_bytes: u64,
}

const WRITE: u64 = elf::SHF_WRITE.0;
const ALLOC: u64 = elf::SHF_ALLOC.0;
const CODE: u64 = elf::SHF_EXECINSTR.0;
const TLS: u64 = elf::SHF_TLS.0;
const INFO_LINK: u64 = elf::SHF_INFO_LINK.0;
const KNOWN_FLAGS: u64 = WRITE
    | ALLOC
    | CODE
    | TLS
    | INFO_LINK
    | elf::SHF_MERGE.0
    | elf::SHF_STRINGS.0
    | elf::SHF_LINK_ORDER.0
    | elf::SHF_COMPRESSED.0
    | elf::SHF_GNU_RETAIN.0
    | LARGE;
/// x86-64: may be further away than 2 GB.
const LARGE: u64 = 0x1000_0000;

/// What some names promise: the type, and which of the flags write, alloc, code and thread-local are set.
const WELL_KNOWN: &[(&[u8], elf::SectionType, u64)] = &[
    (b".text", elf::SHT_PROGBITS, ALLOC | CODE),
    (b".init", elf::SHT_PROGBITS, ALLOC | CODE),
    (b".fini", elf::SHT_PROGBITS, ALLOC | CODE),
    (b".plt", elf::SHT_PROGBITS, ALLOC | CODE),
    (b".rodata", elf::SHT_PROGBITS, ALLOC),
    (b".gcc_except_table", elf::SHT_PROGBITS, ALLOC),
    (b".data", elf::SHT_PROGBITS, ALLOC | WRITE),
    (b".data.rel.ro", elf::SHT_PROGBITS, ALLOC | WRITE),
    (b".got", elf::SHT_PROGBITS, ALLOC | WRITE),
    (b".got.plt", elf::SHT_PROGBITS, ALLOC | WRITE),
    (b".bss", elf::SHT_NOBITS, ALLOC | WRITE),
    (b".tdata", elf::SHT_PROGBITS, ALLOC | WRITE | TLS),
    (b".tbss", elf::SHT_NOBITS, ALLOC | WRITE | TLS),
    (b".init_array", elf::SHT_INIT_ARRAY, ALLOC | WRITE),
    (b".fini_array", elf::SHT_FINI_ARRAY, ALLOC | WRITE),
    (b".dynsym", elf::SHT_DYNSYM, ALLOC),
    (b".dynstr", elf::SHT_STRTAB, ALLOC),
    (b".gnu.hash", elf::SHT_GNU_HASH, ALLOC),
    (b".hash", elf::SHT_HASH, ALLOC),
    (b".gnu.version", elf::SHT_GNU_VERSYM, ALLOC),
    (b".gnu.version_r", elf::SHT_GNU_VERNEED, ALLOC),
    (b".gnu.version_d", elf::SHT_GNU_VERDEF, ALLOC),
    (b".rela.dyn", elf::SHT_RELA, ALLOC),
    (b".rela.plt", elf::SHT_RELA, ALLOC),
    (b".note.gnu.build-id", elf::SHT_NOTE, ALLOC),
    (b".comment", elf::SHT_PROGBITS, 0),
    (b".symtab", elf::SHT_SYMTAB, 0),
    (b".strtab", elf::SHT_STRTAB, 0),
    (b".shstrtab", elf::SHT_STRTAB, 0),
];

impl Section<'_> {
    pub(super) fn is_loaded(&self) -> bool {
        self.flags & ALLOC != 0
    }

    fn in_file(&self) -> bool {
        self.kind != elf::SHT_NOBITS && self.kind != elf::SHT_NULL
    }

    fn part(&self) -> String {
        match self.name {
            b"" => format!("section {}", self.index),
            name => format!("section {} ({})", self.index, name.escape_ascii()),
        }
    }

    fn damaged(&self, reason: impl Into<String>) -> ElfFault {
        ElfFault::damaged(self.part(), reason)
    }
}

pub(super) fn read<'a>(bytes: &'a [u8], header: &Header<'a>, segments: &Segments) -> Result<Sections<'a>, ElfFault> {
    let mut all: Vec<Section<'a>> = header.sections.iter().enumerate().map(|(i, raw)| section(i, raw)).collect();
    let mut end = header.sections_range.1.max(header.segments_range.1);
    for section in &all {
        if section.in_file() {
            slice_or_cut(bytes, &section.part(), section.offset, section.size)?;
            end = end.max(section.offset + section.size);
        } else {
            slice_or_cut(bytes, &section.part(), section.offset, 0)?;
        }
    }
    let names = &all[header.names_index];
    let table = match slice(bytes, names.offset, names.size) {
        Some(table) if names.kind == elf::SHT_STRTAB => table,
        _ => return Err(names.damaged("should hold the sections' names and is not a string table")),
    };
    for (section, raw) in all.iter_mut().zip(header.sections) {
        let at = raw.sh_name.get(LE);
        section.name =
            string(table, at.into()).ok_or_else(|| section.damaged("has a name outside the string table"))?;
        // Linkers share the tails of names (`.text` within `.rela.text`), which all start with a dot; names from C code stand alone.
        if !section.name.starts_with(b".") && at > 0 && table[at as usize - 1] != 0 {
            return Err(section.damaged("has a name that is a piece of another"));
        }
    }

    if all[header.names_index].name != b".shstrtab" {
        return Err(all[header.names_index].damaged("should hold the sections' names and is not named .shstrtab"));
    }

    let count = all.len();
    check_null(&all[0])?;
    for section in &all[1..] {
        check_shape(section, count)?;
        check_name(section)?;
        check_mapping(section, segments)?;
    }
    check_links(&all)?;
    check_layout(&all, header)?;
    Ok(Sections { all, content_bytes: usize::try_from(end).unwrap_or(bytes.len()) })
}

fn section<'a>(index: usize, raw: &elf::SectionHeader64<LE>) -> Section<'a> {
    Section {
        index,
        name: b"",
        kind: raw.sh_type.get(LE),
        flags: raw.sh_flags.get(LE).0,
        address: raw.sh_addr.get(LE),
        offset: raw.sh_offset.get(LE),
        size: raw.sh_size.get(LE),
        link: raw.sh_link.get(LE),
        info: raw.sh_info.get(LE),
        align: raw.sh_addralign.get(LE),
        entry_bytes: raw.sh_entsize.get(LE),
    }
}

/// The table's first entry is all zeros.
fn check_null(first: &Section<'_>) -> Result<(), ElfFault> {
    let numbers = [first.flags, first.address, first.offset, first.size, first.align, first.entry_bytes];
    let blank = numbers.iter().all(|&number| number == 0) && first.link == 0 && first.info == 0;
    match blank && first.kind == elf::SHT_NULL && first.name.is_empty() {
        true => Ok(()),
        false => Err(ElfFault::damaged("section 0", "is not blank")),
    }
}

/// Each field by itself.
fn check_shape(section: &Section<'_>, count: usize) -> Result<(), ElfFault> {
    let unknown = section.flags & !KNOWN_FLAGS;
    if unknown != 0 {
        return Err(section.damaged(format!("has unknown flags {unknown:#x}")));
    }
    if section.align > 1 && (!section.align.is_power_of_two() || !section.address.is_multiple_of(section.align)) {
        let (align, address) = (section.align, section.address);
        return Err(section.damaged(format!("is at {address:#x}, which is not aligned to {align}")));
    }
    let entries: &[u64] = match section.kind {
        elf::SHT_DYNSYM | elf::SHT_SYMTAB | elf::SHT_RELA => &[24],
        elf::SHT_REL | elf::SHT_DYNAMIC => &[16],
        elf::SHT_INIT_ARRAY | elf::SHT_FINI_ARRAY | elf::SHT_PREINIT_ARRAY | elf::SHT_RELR => &[0, 8],
        elf::SHT_GNU_VERSYM => &[2],
        elf::SHT_HASH => &[4],
        elf::SHT_PROGBITS => &[0, 1, 2, 4, 8, 16, 32, 64],
        elf::SHT_STRTAB => &[0, 1],
        elf::SHT_NOBITS | elf::SHT_NOTE | elf::SHT_GNU_HASH | elf::SHT_GNU_VERNEED | elf::SHT_GNU_VERDEF => &[0],
        // lld writes its own (call graph, address significance), the processor supplements define some.
        kind if kind.is_proc() || kind.0 >> 8 == 0x6f_ff4c || kind == elf::SHT_GNU_ATTRIBUTES => &[section.entry_bytes],
        kind => return Err(section.damaged(format!("has the unknown type {:#x}", kind.0))),
    };
    if !entries.contains(&section.entry_bytes) {
        return Err(section.damaged(format!("has entries of {} bytes, expected {}", section.entry_bytes, entries[0])));
    }
    let merge = section.flags & elf::SHF_MERGE.0 != 0;
    if section.kind != elf::SHT_PROGBITS && section.entry_bytes > 1 && !section.size.is_multiple_of(section.entry_bytes)
    {
        let (size, entry) = (section.size, section.entry_bytes);
        return Err(section.damaged(format!("has {size} bytes, not a multiple of its entries' {entry}")));
    }
    if merge && section.kind != elf::SHT_PROGBITS {
        return Err(section.damaged("is to be merged and is no program data"));
    }
    if section.link as usize >= count {
        return Err(section.damaged(format!("is linked to section {}, there are {count}", section.link)));
    }
    let indexed = section.flags & INFO_LINK != 0;
    if indexed && (section.info == 0 || section.info as usize >= count) {
        return Err(section.damaged(format!("informs about section {}, there are {count}", section.info)));
    }
    Ok(())
}

/// A section with a well-known name is what the name says.
fn check_name(section: &Section<'_>) -> Result<(), ElfFault> {
    // Sections that C code names itself are C identifiers, for `__start_NAME`; all others start with a dot.
    let plain = section.name.iter().all(|c| c.is_ascii_graphic()) && !section.name.is_empty();
    let first = section.name.first().is_some_and(|&c| c == b'.' || c == b'_' || c.is_ascii_alphabetic());
    if !plain || !first {
        return Err(section.damaged("has no readable name"));
    }
    let Some((_, kind, flags)) = WELL_KNOWN.iter().find(|(name, ..)| *name == section.name) else {
        return Ok(());
    };
    let found = section.flags & (WRITE | ALLOC | CODE | TLS);
    if section.kind != *kind || found != *flags {
        return Err(section.damaged(format!(
            "has type {:#x} and flags {found:#x}, expected {:#x} and {flags:#x}",
            section.kind.0, kind.0
        )));
    }
    Ok(())
}

/// A loaded section lies in a segment, where its address and its offset agree; any other has no address.
fn check_mapping(section: &Section<'_>, segments: &Segments) -> Result<(), ElfFault> {
    if !section.is_loaded() {
        return match section.address == 0 && section.flags & (WRITE | CODE | TLS) == 0 && section.in_file() {
            true => Ok(()),
            false => Err(section.damaged("is not loaded and has an address or flags of a loaded one")),
        };
    }
    if section.flags & TLS != 0 {
        let inside = segments.tls.is_some_and(|tls| tls.holds_memory(section.address, section.size));
        if !inside {
            return Err(section.damaged("is thread-local and not inside the thread-local segment"));
        }
    }
    // `.tbss` takes no room of its own: its addresses are those of what follows.
    let load = match (section.in_file(), section.flags & TLS != 0) {
        (true, _) => segments.mapping(section.offset, section.address, section.size),
        (false, true) => return Ok(()),
        (false, false) => segments.loads.iter().find(|load| load.holds_memory(section.address, section.size)),
    };
    let Some(load) = load else {
        let (offset, address) = (section.offset, section.address);
        return Err(
            section.damaged(format!("is at offset {offset:#x} and address {address:#x}, where no segment has it"))
        );
    };
    let needs = [(WRITE, elf::PF_W, "written"), (CODE, elf::PF_X, "run")];
    for (flag, permission, word) in needs {
        if section.flags & flag != 0 && load.flags & permission.0 == 0 {
            return Err(section.damaged(format!("is to be {word}, which its segment does not allow")));
        }
    }
    Ok(())
}

/// Sections that refer to others refer to what they need, and nothing else does.
fn check_links(all: &[Section<'_>]) -> Result<(), ElfFault> {
    for section in all {
        let target = all[section.link as usize].kind;
        let fits = match section.kind {
            elf::SHT_DYNSYM | elf::SHT_SYMTAB | elf::SHT_DYNAMIC | elf::SHT_GNU_VERNEED | elf::SHT_GNU_VERDEF => {
                target == elf::SHT_STRTAB
            }
            elf::SHT_HASH | elf::SHT_GNU_HASH | elf::SHT_GNU_VERSYM => target == elf::SHT_DYNSYM,
            elf::SHT_RELA | elf::SHT_REL => matches!(target, elf::SHT_DYNSYM | elf::SHT_SYMTAB | elf::SHT_NULL),
            elf::SHT_PROGBITS if section.flags & elf::SHF_LINK_ORDER.0 != 0 => true,
            kind if kind.is_proc() || kind.is_os() => true,
            _ => section.link == 0,
        };
        if !fits {
            return Err(section.damaged(format!("is linked to section {}, which is of another kind", section.link)));
        }
        let informs = match section.kind {
            // The number of local symbols, which come first.
            elf::SHT_DYNSYM | elf::SHT_SYMTAB => u64::from(section.info) <= section.size / section.entry_bytes,
            elf::SHT_RELA | elf::SHT_REL => section.info == 0 || section.flags & INFO_LINK != 0,
            kind if kind.is_proc() || kind.is_os() => true,
            _ => section.info == 0,
        };
        if !informs {
            return Err(section.damaged(format!("has the info {}, which does not fit its type", section.info)));
        }
    }
    Ok(())
}

/// No two things in the file overlap, and those that are not loaded follow one another.
fn check_layout(all: &[Section<'_>], header: &Header<'_>) -> Result<(), ElfFault> {
    let mut placed: Vec<&Section<'_>> = all.iter().filter(|section| section.in_file() && section.size > 0).collect();
    placed.sort_by_key(|section| (section.offset, section.index));
    for section in &placed {
        let end = section.offset + section.size;
        for (what, (from, to)) in [("segment", header.segments_range), ("section", header.sections_range)] {
            if section.offset < to && from < end {
                return Err(section.damaged(format!("overlaps the {what} table")));
            }
        }
    }
    for pair in placed.windows(2) {
        let (before, after) = (pair[0], pair[1]);
        let end = before.offset + before.size;
        if after.offset < end {
            return Err(after.damaged(format!("is at {}, where {} ends at {end}", after.offset, before.part())));
        }
        let gap = after.offset - end;
        let tables = [header.segments_range, header.sections_range];
        let explained = tables.iter().any(|&(from, _)| from >= end && from < after.offset);
        if !before.is_loaded() && !after.is_loaded() && !explained && gap >= after.align.max(1) {
            return Err(after.damaged(format!("is at {}, {gap} bytes after {} ends", after.offset, before.part())));
        }
    }
    let mut names: Vec<&[u8]> = all.iter().map(|section| section.name).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(ElfFault::damaged("the section table", format!("has {} twice", pair[0].escape_ascii()))),
        None => Ok(()),
    }
}
