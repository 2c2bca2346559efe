//! The segments: what the dynamic linker maps, and from where in the file.

use object::{LittleEndian as LE, elf};

use super::{ElfFault, header::Header, slice_or_cut};

/// Address space that one plugin may take. A flipped bit in a size must not make the linker reserve terabytes.
const MEMORY_BYTES_MAX: u64 = 1 << 30;

/// The segments that matter here, each within the file.
#[derive(Debug)]
pub(super) struct Segments {
    /// `PT_LOAD`, in ascending order, without overlap.
    pub(super) loads: Vec<Segment>,
    pub(super) dynamic: Segment,
    pub(super) tls: Option<Segment>,
    pub(super) notes: Vec<Segment>,
    pub(super) content_bytes: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) offset: u64,
    pub(super) address: u64,
    pub(super) file_bytes: u64,
    pub(super) memory_bytes: u64,
    pub(super) align: u64,
    pub(super) flags: u32,
}

impl Segments {
    /// The segment that maps this file content at this address, if one does.
    pub(super) fn mapping(&self, offset: u64, address: u64, size: u64) -> Option<&Segment> {
        self.loads.iter().find(|load| {
            load.holds_memory(address, size)
                && offset.checked_sub(load.offset).is_some_and(|into| into == address - load.address)
                && offset.checked_add(size).is_some_and(|end| end <= load.offset + load.file_bytes)
        })
    }
}

impl Segment {
    fn of(header: &elf::ProgramHeader64<LE>) -> Self {
        Self {
            offset: header.p_offset.get(LE),
            address: header.p_vaddr.get(LE),
            file_bytes: header.p_filesz.get(LE),
            memory_bytes: header.p_memsz.get(LE),
            align: header.p_align.get(LE),
            flags: header.p_flags.get(LE).0,
        }
    }

    /// Whether these addresses lie within the segment as it is in memory.
    pub(super) fn holds_memory(&self, address: u64, size: u64) -> bool {
        let end = self.address + self.memory_bytes;
        address >= self.address && address.checked_add(size).is_some_and(|last| last <= end)
    }
}

pub(super) fn read(bytes: &[u8], header: &Header<'_>) -> Result<Segments, ElfFault> {
    let mut loads: Vec<Segment> = Vec::new();
    let (mut dynamic, mut tls, mut relro) = (None, None, None);
    // Descriptions of a part of a loaded segment.
    let (mut notes, mut inner) = (Vec::new(), Vec::new());
    let mut end = 0;
    for (index, raw) in header.segments.iter().enumerate() {
        let segment = Segment::of(raw);
        let part = format!("segment {index}");
        slice_or_cut(bytes, &part, segment.offset, segment.file_bytes)?;
        end = end.max(segment.offset + segment.file_bytes);
        check_shape(&part, &segment)?;
        // No system that this runs on tells physical addresses from virtual ones.
        if raw.p_paddr.get(LE) != segment.address {
            let physical = raw.p_paddr.get(LE);
            return Err(ElfFault::damaged(part, format!("is at {:#x} and at {physical:#x}", segment.address)));
        }
        match raw.p_type.get(LE) {
            elf::PT_LOAD => {
                check_load(&part, &segment, loads.last())?;
                loads.push(segment);
            }
            elf::PT_DYNAMIC => {
                only_one(&part, &mut dynamic, segment)?;
                inner.push((part, segment));
            }
            elf::PT_TLS => only_one(&part, &mut tls, segment)?,
            elf::PT_GNU_RELRO => only_one(&part, &mut relro, segment)?,
            elf::PT_NOTE => {
                notes.push(segment);
                inner.push((part, segment));
            }
            elf::PT_INTERP => return Err(ElfFault::NotShared { found: "a program" }),
            elf::PT_PHDR | elf::PT_GNU_EH_FRAME | elf::PT_GNU_PROPERTY | elf::PT_GNU_SFRAME => {
                inner.push((part, segment))
            }
            elf::PT_NULL | elf::PT_GNU_STACK => {}
            other if other.is_proc() => {}
            other => return Err(ElfFault::damaged(part, format!("has the unknown type {:#x}", other.0))),
        }
    }
    let Some(dynamic) = dynamic else {
        return Err(ElfFault::damaged("the segment table", "has no dynamic segment"));
    };
    let segments = Segments { loads, dynamic, tls, notes, content_bytes: usize::try_from(end).unwrap_or(bytes.len()) };
    for (part, segment) in inner {
        let whole = segment.file_bytes == segment.memory_bytes;
        if !whole || segments.mapping(segment.offset, segment.address, segment.file_bytes).is_none() {
            return Err(ElfFault::damaged(part, "describes what is not inside a loaded segment"));
        }
    }
    check_memory(&segments, header, relro.as_ref())?;
    Ok(segments)
}

fn check_shape(part: &str, segment: &Segment) -> Result<(), ElfFault> {
    if segment.flags & !(elf::PF_R | elf::PF_W | elf::PF_X).0 != 0 {
        return Err(ElfFault::damaged(part, format!("has unknown flags {:#x}", segment.flags)));
    }
    if segment.align > 1 && !segment.align.is_power_of_two() {
        return Err(ElfFault::damaged(part, format!("is aligned to {}, not a power of two", segment.align)));
    }
    if segment.file_bytes > segment.memory_bytes {
        let (file, memory) = (segment.file_bytes, segment.memory_bytes);
        return Err(ElfFault::damaged(part, format!("has {file} bytes for {memory} bytes of memory")));
    }
    let end = segment.address.checked_add(segment.memory_bytes);
    if end.is_none_or(|end| end > MEMORY_BYTES_MAX) {
        let (address, bytes) = (segment.address, segment.memory_bytes);
        return Err(ElfFault::damaged(
            part,
            format!("wants {bytes} bytes at {address:#x}, the limit is {MEMORY_BYTES_MAX}"),
        ));
    }
    Ok(())
}

fn check_load(part: &str, load: &Segment, previous: Option<&Segment>) -> Result<(), ElfFault> {
    let align = load.align.max(1);
    if load.address % align != load.offset % align {
        let (address, offset) = (load.address, load.offset);
        return Err(ElfFault::damaged(
            part,
            format!("maps offset {offset:#x} at {address:#x}, which differ modulo its alignment {align:#x}"),
        ));
    }
    match previous {
        // The dynamic linker takes the first segment's address as the base of all others.
        Some(last) if load.address < last.address + last.memory_bytes => {
            Err(ElfFault::damaged(part, "overlaps or precedes the loaded segment before it"))
        }
        None if load.offset != 0 => Err(ElfFault::damaged(part, "is loaded first and leaves the ELF header out")),
        _ => Ok(()),
    }
}

fn only_one(part: &str, slot: &mut Option<Segment>, segment: Segment) -> Result<(), ElfFault> {
    match slot.replace(segment) {
        None => Ok(()),
        Some(_) => Err(ElfFault::damaged(part, "is the second of a kind that may come once")),
    }
}

/// What is said about addresses and not about the file's content.
fn check_memory(segments: &Segments, header: &Header<'_>, relro: Option<&Segment>) -> Result<(), ElfFault> {
    let held = |address| segments.loads.iter().find(|load| load.holds_memory(address, 0));
    if let Some(tls) = &segments.tls
        && tls.file_bytes > 0
        && segments.mapping(tls.offset, tls.address, tls.file_bytes).is_none()
    {
        return Err(ElfFault::damaged("the thread-local segment", "is not inside a loaded segment"));
    }
    // Its end may be rounded up to the page; its start may not be outside.
    if relro.is_some_and(|relro| held(relro.address).is_none()) {
        return Err(ElfFault::damaged("the relro segment", "is not inside a loaded segment"));
    }
    // A library has none, or one that nobody jumps to.
    let runs = |load: &Segment| load.flags & elf::PF_X.0 != 0;
    if header.entry != 0 && !held(header.entry).is_some_and(runs) {
        return Err(ElfFault::damaged(
            "the ELF header",
            format!("says e_entry = {:#x}, where no code is", header.entry),
        ));
    }
    Ok(())
}
