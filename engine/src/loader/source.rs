//! Finds a plugin by name in the plugins folder and reads it, whatever else may be going on in that folder.
//!
//! Everything goes through one descriptor: what was checked is what is read, and what is returned is bytes that nobody can
//! change any more. No path is ever put together from a name.

use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::OwnedFd,
    path::Path,
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, open, openat, statat},
    io::Errno,
};

use super::{
    error::{Available, FileKind, LoadError},
    name::PluginName,
};

/// Names shown when a plugin is not found.
const AVAILABLE_MAX: usize = 8;
/// Folder entries looked at to find them: a folder with more is not searched to its end.
const ENTRIES_MAX: usize = 10_000;

/// Reads the whole file `name` of `folder`. `bytes_max` bounds its size.
pub fn read(folder: &Path, name: &PluginName, bytes_max: u64) -> Result<Vec<u8>, LoadError> {
    read_with(folder, name, bytes_max, || {})
}

/// `read`, with something that happens while the file is being read.
fn read_with(folder: &Path, name: &PluginName, bytes_max: u64, meanwhile: impl FnOnce()) -> Result<Vec<u8>, LoadError> {
    let unreadable = |source: Errno| LoadError::Unreadable { name: name.clone(), source: source.into() };
    let changed = || LoadError::Changed { name: name.clone() };

    let folder_fd = open_folder(folder)?;
    let file = open_file(folder, &folder_fd, name)?;
    let before = fstat(&file).map_err(unreadable)?;
    let size = u64::try_from(before.st_size).unwrap_or(0);
    if size == 0 {
        return Err(LoadError::Empty { name: name.clone() });
    }
    if size > bytes_max {
        return Err(LoadError::TooLarge { name: name.clone(), bytes: size, bytes_max });
    }

    let bytes = read_at_most(file.try_clone(), size + 1)
        .map_err(|source| LoadError::Unreadable { name: name.clone(), source })?;
    meanwhile();
    let after = fstat(&file).map_err(unreadable)?;
    let named = statat(&folder_fd, name.as_str(), AtFlags::SYMLINK_NOFOLLOW).map_err(|_| changed())?;
    // A write that keeps size and times (within one clock tick) gets past this; the seal is what catches it.
    if bytes.len() as u64 != size || identity(&before) != identity(&after) || identity(&before) != identity(&named) {
        return Err(changed());
    }
    Ok(bytes)
}

/// The plugins that `scripts/build_so.sh` numbers, `game.<version>.so`, the highest version first.
///
/// # Errors
/// [`LoadError::Folder`].
pub fn numbered(folder: &Path) -> Result<Vec<(u32, PluginName)>, LoadError> {
    let mut numbered = Vec::new();
    for name in all(folder)? {
        let number = name.as_str().strip_prefix("game.").and_then(|rest| rest.strip_suffix(".so"));
        // Exactly as they are written, so that no two files have the same number.
        let number = number.filter(|digits| !digits.starts_with(['0', '+']));
        numbered.extend(number.and_then(|digits| digits.parse().ok()).map(|number: u32| (number, name)));
    }
    numbered.sort_by(|one, other| other.cmp(one));
    Ok(numbered)
}

/// Every file that could be asked for, in the order of their names.
///
/// # Errors
/// [`LoadError::Folder`].
pub fn all(folder: &Path) -> Result<Vec<PluginName>, LoadError> {
    let failed = |source: Errno| LoadError::Folder { folder: folder.into(), source: source.into() };
    let mut names = names(&open_folder(folder)?).map_err(failed)?;
    names.sort();
    Ok(names)
}

fn open_folder(folder: &Path) -> Result<OwnedFd, LoadError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    open(folder, flags, Mode::empty())
        .map_err(|source| LoadError::Folder { folder: folder.into(), source: source.into() })
}

fn open_file(folder: &Path, folder_fd: &OwnedFd, name: &PluginName) -> Result<OwnedFd, LoadError> {
    let failed = |errno: Errno| match errno {
        Errno::NOENT => LoadError::NotFound {
            name: name.clone(),
            folder: folder.into(),
            available: available(folder_fd, name).unwrap_or_default(),
        },
        other => LoadError::Unreadable { name: name.clone(), source: other.into() },
    };
    let refuse_others = |stat: &Stat| match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(()),
        other => Err(LoadError::NotAFile { name: name.clone(), kind: kind(other) }),
    };
    // Looked at before it is opened, because opening a device can do something; and looked at again afterwards, because
    // the name may stand for something else by then.
    refuse_others(&statat(folder_fd, name.as_str(), AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?)?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = openat(folder_fd, name.as_str(), flags, Mode::empty()).map_err(|errno| match errno {
        Errno::LOOP => LoadError::NotAFile { name: name.clone(), kind: FileKind::Symlink },
        other => failed(other),
    })?;
    refuse_others(&fstat(&file).map_err(failed)?)?;
    Ok(file)
}

fn read_at_most(file: io::Result<OwnedFd>, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(usize::try_from(bytes_max).map_err(io::Error::other)?);
    File::from(file?).take(bytes_max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What must not change while a file is read: which file it is, and when and to what size it was last written.
fn identity(stat: &Stat) -> impl PartialEq + use<> {
    let written = (stat.st_mtime, stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec);
    (stat.st_dev, stat.st_ino, stat.st_size, written)
}

fn kind(file_type: FileType) -> FileKind {
    match file_type {
        FileType::Symlink => FileKind::Symlink,
        FileType::Directory => FileKind::Folder,
        FileType::Fifo => FileKind::Fifo,
        FileType::Socket => FileKind::Socket,
        FileType::CharacterDevice | FileType::BlockDevice => FileKind::Device,
        _ => FileKind::Unknown,
    }
}

/// The plugins in the folder, the ones with the most similar names first.
fn available(folder_fd: &OwnedFd, wanted: &PluginName) -> Result<Available, Errno> {
    let mut names = names(folder_fd)?;
    names.sort_by_cached_key(|name| (distance(wanted.as_str(), name.as_str()), name.clone()));
    let more = names.len().saturating_sub(AVAILABLE_MAX);
    names.truncate(AVAILABLE_MAX);
    Ok(Available { names, more })
}

/// Everything in the folder that could be asked for.
fn names(folder_fd: &OwnedFd) -> Result<Vec<PluginName>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder_fd)?.take(ENTRIES_MAX) {
        let parsed = entry?.file_name().to_str().ok().and_then(|name| PluginName::parse(name).ok());
        names.extend(parsed);
    }
    Ok(names)
}

/// Levenshtein's: the single-byte edits that make one name the other. Names are short, so two rows on the heap will do.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.bytes().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::{fs::symlink, net::UnixListener},
    };

    use rustix::fs::{CWD, mkfifoat};

    use super::*;
    use crate::loader::error::Class;

    const BYTES_MAX: u64 = 1000;

    fn name(name: &str) -> PluginName {
        PluginName::parse(name).unwrap()
    }

    /// Reads `a.so` of a folder that `prepare` filled and expects this refusal.
    fn check(prepare: impl FnOnce(&Path), class: Class, expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path());
        let error = read(folder.path(), &name("a.so"), BYTES_MAX).unwrap_err();
        let message = error.to_string().replace(&*folder.path().to_string_lossy(), "FOLDER");
        assert_eq!((error.class(), &*message), (class, expected));
    }

    #[test]
    fn the_whole_file_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..BYTES_MAX).map(|i| (i % 251) as u8).collect();
        fs::write(folder.path().join("a.so"), &content).unwrap();
        assert_eq!(read(folder.path(), &name("a.so"), BYTES_MAX).unwrap(), content);
    }

    #[test]
    fn a_missing_file_names_the_closest_ones() {
        check(
            |_| {},
            Class::NotFound,
            "no file \"a.so\" in FOLDER: it has no .so files, build one with scripts/build_so.sh",
        );
        let fill = |folder: &Path| {
            for file in ["b.so", "zzzzz.so", "notes.txt", ".a.so", "Big.so", "ab.so"] {
                fs::write(folder.join(file), "x").unwrap();
            }
        };
        check(fill, Class::NotFound, "no file \"a.so\" in FOLDER: it has ab.so, b.so, zzzzz.so");
        let fill = |folder: &Path| (10..30).for_each(|i| fs::write(folder.join(format!("g{i}.so")), "x").unwrap());
        let eight = "g10.so, g11.so, g12.so, g13.so, g14.so, g15.so, g16.so, g17.so";
        check(fill, Class::NotFound, &format!("no file \"a.so\" in FOLDER: it has {eight} and 12 more"));
    }

    #[test]
    fn anything_but_a_file_is_refused_by_its_kind() {
        let advice = "put a plugin built by scripts/build_so.sh there";
        let link = |folder: &Path| {
            fs::write(folder.join("b.so"), "x").unwrap();
            symlink("b.so", folder.join("a.so")).unwrap();
        };
        let hard_link = "a.so is a symbolic link, not a file: make a hard link or a copy (scripts/build_so.sh does)";
        check(link, Class::Unloadable, hard_link);
        check(|folder| symlink("nowhere", folder.join("a.so")).unwrap(), Class::Unloadable, hard_link);
        check(
            |folder| fs::create_dir(folder.join("a.so")).unwrap(),
            Class::Unloadable,
            &format!("a.so is a folder, not a file: {advice}"),
        );
        check(
            |folder| mkfifoat(CWD, folder.join("a.so"), Mode::RWXU).unwrap(),
            Class::Unloadable,
            &format!("a.so is a named pipe, not a file: {advice}"),
        );
        check(
            |folder| drop(UnixListener::bind(folder.join("a.so")).unwrap()),
            Class::Unloadable,
            &format!("a.so is a socket, not a file: {advice}"),
        );
        let error = read(Path::new("/dev"), &PluginName::unchecked("null"), BYTES_MAX).unwrap_err();
        assert_eq!(error.to_string(), format!("null is a device, not a file: {advice}"));
    }

    #[test]
    fn an_empty_or_a_huge_file_is_refused() {
        check(|folder| fs::write(folder.join("a.so"), "").unwrap(), Class::Unloadable, "a.so is empty: build it again");
        check(
            |folder| fs::write(folder.join("a.so"), vec![0; 1001]).unwrap(),
            Class::Unloadable,
            "a.so has 1001 bytes, the limit is 1000 (plugin_bytes_max)",
        );
    }

    #[test]
    fn a_missing_folder_is_the_engines_own_trouble() {
        let folder = tempfile::tempdir().unwrap();
        let error = read(&folder.path().join("none"), &name("a.so"), BYTES_MAX).unwrap_err();
        assert_eq!((error.class(), error.code()), (Class::Unavailable, "plugins-folder"));
        let message = error.to_string().replace(&*folder.path().to_string_lossy(), "FOLDER");
        assert_eq!(
            message,
            "the plugins folder FOLDER/none cannot be opened: No such file or directory (os error 2); \
             create it, or name another with --plugins"
        );
    }

    /// Each is something that happens to `a.so` between the first and the last byte read.
    #[test]
    fn a_file_that_changes_meanwhile_is_refused() {
        type Event = (&'static str, fn(&Path));
        let events: [Event; 6] = [
            ("replaced", |folder| {
                fs::write(folder.join("new"), "new!").unwrap();
                fs::rename(folder.join("new"), folder.join("a.so")).unwrap();
            }),
            ("replaced while a hard link keeps it", |folder| {
                fs::hard_link(folder.join("a.so"), folder.join("b.so")).unwrap();
                fs::write(folder.join("new"), "new!").unwrap();
                fs::rename(folder.join("new"), folder.join("a.so")).unwrap();
            }),
            ("grown", |folder| fs::write(folder.join("a.so"), "longer").unwrap()),
            ("cut", |folder| fs::write(folder.join("a.so"), "").unwrap()),
            ("deleted", |folder| fs::remove_file(folder.join("a.so")).unwrap()),
            ("touched", |folder| {
                let file = File::options().write(true).open(folder.join("a.so")).unwrap();
                file.set_modified(std::time::UNIX_EPOCH).unwrap();
            }),
        ];
        for (event, happen) in events {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("a.so"), "old!").unwrap();
            let result = read_with(folder.path(), &name("a.so"), BYTES_MAX, || happen(folder.path()));
            let error = result.expect_err(event);
            assert_eq!(error.class(), Class::Conflict, "{event}");
            assert_eq!(error.to_string(), "a.so changed while it was being read; load it again");
        }
    }
}
