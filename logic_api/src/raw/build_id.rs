//! The build id of the object that this code was mapped from, read from memory.
//!
//! It answers "which code is running?", so it must not come from a constant that two builds could share: the linker derives
//! it from the content (`-Wl,--build-id`), and each mapping reads its own ELF header. Format: ELF-64, `PT_NOTE`, a note named
//! `GNU` of type 3 (System V ABI, "Note Section"; GNU ld, `--build-id`).

/// The bytes of the build id; empty where the object has none.
#[cfg(all(target_os = "linux", not(miri)))]
#[expect(clippy::cast_possible_truncation, reason = "ELF-64: addresses of this process")]
pub(crate) fn own() -> &'static [u8] {
    #[repr(C)]
    struct Header {
        ident: [u8; 16],
        _kind_to_entry: [u8; 16],
        program_headers: u64,
        _sections_and_flags: [u8; 14],
        program_header_size: u16,
        program_header_count: u16,
    }
    #[repr(C)]
    struct ProgramHeader {
        kind: u32,
        _flags: u32,
        _offset: u64,
        address: u64,
        _physical: u64,
        _file_bytes: u64,
        bytes: u64,
    }
    const PT_NOTE: u32 = 4;

    unsafe extern "C" {
        /// Set by the linker to the start of the object it makes, hidden: each object sees its own.
        static __ehdr_start: Header;
    }

    // SAFETY: the linker maps the ELF header and the program headers with the first segment, and a note segment at `address`
    // bytes from there (an object is linked at 0); all of it stays mapped for as long as this code does.
    unsafe {
        let start = &raw const __ehdr_start;
        let header = &*start;
        let base = start.cast::<u8>();
        if header.ident[..4] != *b"\x7fELF" {
            return &[];
        }
        for number in 0..usize::from(header.program_header_count) {
            let place = header.program_headers as usize + number * usize::from(header.program_header_size);
            let segment = &*base.add(place).cast::<ProgramHeader>();
            if segment.kind == PT_NOTE {
                let notes = std::slice::from_raw_parts(base.add(segment.address as usize), segment.bytes as usize);
                if let Some(id) = in_notes(notes) {
                    return id;
                }
            }
        }
    }
    &[]
}

#[cfg(not(all(target_os = "linux", not(miri))))]
pub(crate) fn own() -> &'static [u8] {
    &[]
}

/// The build id among a segment's notes: name size, descriptor size, type, name, descriptor, each padded to four bytes.
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only ELF objects have notes"))]
fn in_notes(mut notes: &[u8]) -> Option<&[u8]> {
    const NT_GNU_BUILD_ID: u32 = 3;
    let word = |bytes: &[u8]| Some(u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?));
    loop {
        let (name_bytes, id_bytes) = (word(notes)? as usize, word(notes.get(4..)?)? as usize);
        let kind = word(notes.get(8..)?)?;
        let name = notes.get(12..)?.get(..name_bytes)?;
        let id_start = 12 + name_bytes.next_multiple_of(4);
        let id = notes.get(id_start..)?.get(..id_bytes)?;
        if kind == NT_GNU_BUILD_ID && name == b"GNU\0" {
            return Some(id);
        }
        notes = notes.get(id_start + id_bytes.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gnu_note_is_found_among_others() {
        let note = |kind: u32, name: &[u8], id: &[u8]| {
            let mut bytes = Vec::new();
            let size = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap();
            for word in [size(name), size(id), kind] {
                bytes.extend(word.to_ne_bytes());
            }
            bytes.extend(name);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes.extend(id);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes
        };
        let notes = [note(5, b"GNU\0", &[9; 7]), note(3, b"x\0", &[1]), note(3, b"GNU\0", &[7; 20])].concat();
        assert_eq!(in_notes(&notes), Some(&[7; 20][..]));
        assert_eq!(in_notes(&notes[..notes.len() - 1]), None);
    }
}
