//! Checks the structure of a shared library without trusting a byte of it and without running any of it.
//!
//! The dynamic linker trusts its input: a file cut short kills the process by SIGBUS, a wild offset by SIGSEGV. So this
//! refuses whatever does not add up, before anything is mapped. It never panics and reads nothing outside the bytes it is
//! given. What it cannot see (code that is wrong rather than cut) is for the seal and the probe.
//!
//! Source of the formats: System V ABI, chapters 4 and 5; the Linux Standard Base for the GNU parts.

mod dynamic;
mod fault;
mod header;
mod sections;
mod segments;
#[cfg(test)]
pub(super) mod tests;

pub use dynamic::BuildId;
pub use fault::ElfFault;

/// What is known of a shared library that passed the check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elf {
    pub build_id: BuildId,
    /// Where the ELF content ends: bytes after that belong to no part of it.
    pub content_bytes: usize,
}

/// Checks a whole file and that it exports `root_symbol`.
pub fn check(bytes: &[u8], root_symbol: &str) -> Result<Elf, ElfFault> {
    let header = header::read(bytes)?;
    let segments = segments::read(bytes, &header)?;
    let sections = sections::read(bytes, &header, &segments)?;
    dynamic::check(bytes, &segments, &sections)?;
    dynamic::find_symbol(bytes, &segments, &sections, root_symbol)?;
    let build_id = dynamic::build_id(bytes, &segments)?;
    Ok(Elf { build_id, content_bytes: sections.content_bytes.max(segments.content_bytes) })
}

/// `offset..offset + size` of the file, if all of it is there.
fn slice(bytes: &[u8], offset: u64, size: u64) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    let end = usize::try_from(offset.checked_add(size)?).ok()?;
    bytes.get(start..end)
}

/// The same, or the reason that the file is cut short.
fn slice_or_cut<'a>(bytes: &'a [u8], what: &str, offset: u64, size: u64) -> Result<&'a [u8], ElfFault> {
    slice(bytes, offset, size).ok_or_else(|| ElfFault::Cut {
        what: what.into(),
        end: u128::from(offset) + u128::from(size),
        bytes: bytes.len() as u64,
    })
}

/// The NUL-terminated string at `offset` of a string table.
fn string(table: &[u8], offset: u64) -> Option<&[u8]> {
    let rest = table.get(usize::try_from(offset).ok()?..)?;
    let end = rest.iter().position(|&byte| byte == 0)?;
    Some(&rest[..end])
}
