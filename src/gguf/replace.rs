//! Replacing a file so that its name never stands for half of one. Knows nothing of the format.

use super::system::SystemPath;
use crate::error::{Error, Result, error};
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// Names that are tried before giving up: others may be those of files that a process of the same number left behind.
const ATTEMPTS: u32 = 64;

/// A file without its final name; removed when dropped, unless that was given to it.
struct Temporary {
    path: SystemPath,
    named: bool,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.named {
            // Whatever made us stop is what is told, not this.
            let _ = self.path.unlink();
        }
    }
}

/// Makes a file beside `path`, has it written by `write`, brings it to the disk and gives it the name `path`.
pub(super) fn replace(path: &Path, write: impl FnOnce(&fs::File) -> Result<()>) -> Result<()> {
    let name = SystemPath::new(path)?;
    let directory = check_target(path, &name)?;
    let (file, mut temporary) = create_beside(directory)?;
    write(&file)?;
    file.sync_all().map_err(io("bring the file to the disk"))?;
    temporary.path.rename(&name).map_err(io("give the file its name"))?;
    temporary.named = true;
    // The name as well. Not every file system can do that to a directory, and the file is complete in any case.
    if let Ok(directory) = SystemPath::new(directory) {
        let _ = directory.open(libc::O_RDONLY).and_then(|directory| directory.sync_all());
    }
    Ok(())
}

/// The directory of `path`, where that can be the name of a regular file: a device must not become one.
fn check_target<'a>(path: &'a Path, name: &SystemPath) -> Result<&'a Path> {
    let (Some(directory), Some(_)) = (path.parent(), path.file_name()) else {
        return Err(error!(InvalidArgument, "{path:?} is not the name of a file"));
    };
    match name.look(false) {
        Ok(there) if !there.is_file() => Err(error!(InvalidArgument, "{path:?} is there and is not a regular file")),
        // Not knowing what is there, nothing is put in its place.
        Err(why) if why.kind() != io::ErrorKind::NotFound => Err(io("look at what the file replaces")(why)),
        _ if directory.as_os_str().is_empty() => Ok(Path::new(".")),
        _ => Ok(directory),
    }
}

fn create_beside(directory: &Path) -> Result<(fs::File, Temporary)> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const OUT_OF_MEMORY: Error = Error::OutOfMemory("the name of a temporary file");
    let mut attempt = 1;
    loop {
        // Relaxed: the numbers only have to differ.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut name = [0; 64];
        let left = {
            let mut rest = &mut name[..];
            write!(rest, ".gguffuse-{}-{number}.tmp", process::id()).map_err(|_| OUT_OF_MEMORY)?;
            rest.len()
        };
        let name = name.get(..name.len().saturating_sub(left)).and_then(|name| std::str::from_utf8(name).ok());
        let name = name.unwrap_or(".gguffuse.tmp");
        let path = SystemPath::joined(directory.as_os_str().as_bytes(), Path::new(name))?;
        match path.open(libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL) {
            Ok(file) => return Ok((file, Temporary { path, named: false })),
            Err(why) if why.kind() == io::ErrorKind::AlreadyExists && attempt < ATTEMPTS => {
                attempt = attempt.saturating_add(1);
            }
            Err(why) => return Err(io("create a file beside it")(why)),
        }
    }
}

fn io(action: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { action, source }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_finished_leaves_the_old_one_and_nothing_else() {
        let directory = std::env::temp_dir().join(format!("gguffuse-replace-{}", process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("file");
        let half = |mut file: &fs::File| -> Result<()> {
            file.write_all(b"half").unwrap();
            assert_eq!(fs::read_dir(&directory).unwrap().count(), 1 + usize::from(path.exists()), "written beside it");
            Err(Error::Internal("a failure"))
        };
        let panicking = |_: &fs::File| -> Result<()> { panic!("half done") };
        for old in [None, Some("old")] {
            if let Some(old) = old {
                replace(&path, |mut file| file.write_all(old.as_bytes()).map_err(io("write"))).unwrap();
            }
            assert!(matches!(replace(&path, half), Err(Error::Internal("a failure"))));
            assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| replace(&path, panicking))).is_err());
            assert_eq!(fs::read_to_string(&path).ok().as_deref(), old);
            assert_eq!(fs::read_dir(&directory).unwrap().count(), usize::from(old.is_some()));
        }
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_bare_name_lies_in_the_working_directory() {
        let path = Path::new("file.gguf");
        assert_eq!(check_target(path, &SystemPath::new(path).unwrap()).unwrap(), Path::new("."));
    }
}
