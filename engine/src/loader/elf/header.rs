//! The ELF header: whether this is a shared library for this machine at all, and where its tables are.

use object::{LittleEndian as LE, elf, pod};

use super::{ElfFault, slice_or_cut};

/// The sizes that the format fixes for 64-bit files.
const HEADER_BYTES: u16 = 64;
const SEGMENT_BYTES: u16 = 56;
const SECTION_BYTES: u16 = 64;

#[cfg(target_arch = "x86_64")]
const MACHINE: elf::Machine = elf::EM_X86_64;
#[cfg(target_arch = "aarch64")]
const MACHINE: elf::Machine = elf::EM_AARCH64;
#[cfg(target_arch = "riscv64")]
const MACHINE: elf::Machine = elf::EM_RISCV;

/// Where the tables of segments and sections are. Both lie within the file.
#[derive(Debug)]
pub(super) struct Header<'a> {
    pub(super) segments: &'a [elf::ProgramHeader64<LE>],
    pub(super) sections: &'a [elf::SectionHeader64<LE>],
    pub(super) entry: u64,
    pub(super) segments_range: (u64, u64),
    pub(super) sections_range: (u64, u64),
    /// The section that holds the sections' names.
    pub(super) names_index: usize,
}

pub(super) fn read(bytes: &[u8]) -> Result<Header<'_>, ElfFault> {
    check_ident(bytes)?;
    let head = slice_or_cut(bytes, "the ELF header", 0, HEADER_BYTES.into())?;
    let Ok((header, _)) = pod::from_bytes::<elf::FileHeader64<LE>>(head) else {
        return Err(ElfFault::damaged("the ELF header", "cannot be read"));
    };
    check_kind(header)?;

    let fixed = [
        ("e_ehsize", header.e_ehsize.get(LE), HEADER_BYTES),
        ("e_phentsize", header.e_phentsize.get(LE), SEGMENT_BYTES),
        ("e_shentsize", header.e_shentsize.get(LE), SECTION_BYTES),
    ];
    for (field, found, expected) in fixed {
        if found != expected {
            return Err(wrong(field, found.into(), &expected.to_string()));
        }
    }
    let version = header.e_version.get(LE);
    if version != u32::from(elf::EV_CURRENT.0) {
        return Err(wrong("e_version", version.into(), "1"));
    }

    // Neither of these machines has defined a flag; others have.
    let flags = header.e_flags.get(LE).0;
    if cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) && flags != 0 {
        return Err(wrong("e_flags", flags.into(), "0"));
    }

    // Both have an escape for huge counts, which no plugin needs.
    let segment_count = header.e_phnum.get(LE);
    if segment_count == 0 || segment_count == elf::PN_XNUM {
        return Err(wrong("e_phnum", segment_count.into(), "at least 1"));
    }
    let section_count = header.e_shnum.get(LE);
    if !(2..elf::SHN_LORESERVE).contains(&section_count) {
        return Err(wrong("e_shnum", section_count.into(), "at least 2 (the section table must not be stripped)"));
    }
    let names = header.e_shstrndx.get(LE).0;
    if names == 0 || names >= section_count {
        return Err(wrong("e_shstrndx", names.into(), &format!("1 to {}", section_count - 1)));
    }

    let segments_range = table(bytes, "the segment table", header.e_phoff.get(LE), segment_count, SEGMENT_BYTES)?;
    let sections_range = table(bytes, "the section table", header.e_shoff.get(LE), section_count, SECTION_BYTES)?;
    let unreadable = |what| ElfFault::damaged(what, "cannot be read");
    let (segments, _) =
        pod::slice_from_bytes(segments_range.0, segment_count.into()).map_err(|()| unreadable("the segment table"))?;
    let (sections, _) =
        pod::slice_from_bytes(sections_range.0, section_count.into()).map_err(|()| unreadable("the section table"))?;
    Ok(Header {
        segments,
        sections,
        entry: header.e_entry.get(LE),
        segments_range: segments_range.1,
        sections_range: sections_range.1,
        names_index: names.into(),
    })
}

fn check_ident(bytes: &[u8]) -> Result<(), ElfFault> {
    let start = &bytes[..bytes.len().min(16)];
    if !start.starts_with(&elf::ELFMAG) {
        return Err(ElfFault::NotElf { start: start.escape_ascii().to_string() });
    }
    let &[_, _, _, _, class, data, version, ..] = start else {
        return slice_or_cut(bytes, "the ELF header", 0, HEADER_BYTES.into()).map(|_| ());
    };
    let other = |found: &str| ElfFault::Machine { found: found.into(), expected: std::env::consts::ARCH };
    match class {
        class if class == elf::ELFCLASS64.0 => {}
        class if class == elf::ELFCLASS32.0 => return Err(other("a 32-bit machine")),
        class => return Err(wrong("the class", class.into(), "2")),
    }
    match data {
        data if data == elf::ELFDATA2LSB.0 => {}
        data if data == elf::ELFDATA2MSB.0 => return Err(other("a big-endian machine")),
        data => return Err(wrong("the data encoding", data.into(), "1")),
    }
    match version {
        version if version == elf::EV_CURRENT.0 => Ok(()),
        version => Err(wrong("the version", version.into(), "1")),
    }
}

fn check_kind(header: &elf::FileHeader64<LE>) -> Result<(), ElfFault> {
    let system = header.e_ident.os_abi;
    if system != elf::ELFOSABI_SYSV && system != elf::ELFOSABI_GNU {
        return Err(ElfFault::Machine { found: format!("another system (OS ABI {})", system.0), expected: "Linux" });
    }
    if header.e_ident.abi_version != 0 || header.e_ident.padding != [0; 7] {
        return Err(ElfFault::damaged("the ELF header", "has bytes set that are reserved"));
    }
    let machine = header.e_machine.get(LE);
    if machine != MACHINE {
        return Err(ElfFault::Machine { found: machine_name(machine), expected: std::env::consts::ARCH });
    }
    match header.e_type.get(LE) {
        elf::ET_DYN => Ok(()),
        elf::ET_EXEC => Err(ElfFault::NotShared { found: "a program" }),
        elf::ET_REL => Err(ElfFault::NotShared { found: "an object file" }),
        elf::ET_CORE => Err(ElfFault::NotShared { found: "a core dump" }),
        other => Err(wrong("e_type", other.0.into(), "3")),
    }
}

fn machine_name(machine: elf::Machine) -> String {
    match machine {
        elf::EM_X86_64 => "x86_64".into(),
        elf::EM_AARCH64 => "aarch64".into(),
        elf::EM_RISCV => "riscv64".into(),
        elf::EM_386 => "x86".into(),
        elf::EM_ARM => "arm".into(),
        elf::EM_PPC64 => "powerpc64".into(),
        elf::EM_S390 => "s390x".into(),
        elf::EM_LOONGARCH => "loongarch64".into(),
        other => format!("another machine (number {})", other.0),
    }
}

/// A table of the file: its bytes, and its range.
type Table<'a> = (&'a [u8], (u64, u64));

fn table<'a>(bytes: &'a [u8], what: &str, offset: u64, count: u16, entry: u16) -> Result<Table<'a>, ElfFault> {
    let size = u64::from(count) * u64::from(entry);
    if offset < HEADER_BYTES.into() || !offset.is_multiple_of(8) {
        return Err(ElfFault::damaged(
            what,
            format!("is at {offset}, expected a multiple of 8 from {HEADER_BYTES} on"),
        ));
    }
    Ok((slice_or_cut(bytes, what, offset, size)?, (offset, offset + size)))
}

fn wrong(field: &str, found: u64, expected: &str) -> ElfFault {
    ElfFault::damaged("the ELF header", format!("says {field} = {found}, expected {expected}"))
}
