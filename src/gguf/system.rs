//! The file system by paths, for a process without memory: std copies long paths to the heap and aborts the process when
//! there is none. Knows nothing of the format.

use crate::error::{Error, Result, error};
use std::ffi::{c_char, c_int};
use std::fs;
use std::io;
use std::os::fd::FromRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A path as the system takes it: ended by its only NUL. (A `CString` would not do: making one takes heap without asking.)
pub(super) struct SystemPath(Vec<u8>);

impl SystemPath {
    /// `path` as it is.
    pub(super) fn new(path: &Path) -> Result<SystemPath> {
        SystemPath::joined(&[], path)
    }

    /// `path` so that it means the same after the process has changed its working directory. Where that has no name any
    /// more, `path` as it is.
    pub(super) fn absolute(path: &Path) -> Result<SystemPath> {
        let mut buffer = [0u8; libc::PATH_MAX as usize];
        // SAFETY: the buffer is writable for the length given.
        let found = !unsafe { libc::getcwd(buffer.as_mut_ptr().cast(), buffer.len()) }.is_null();
        let directory = std::ffi::CStr::from_bytes_until_nul(&buffer).map_or(&[][..], |name| name.to_bytes());
        SystemPath::joined(if found && path.is_relative() { directory } else { &[] }, path)
    }

    /// `path` in `directory`; without one, `path` as it is.
    pub(super) fn joined(directory: &[u8], path: &Path) -> Result<SystemPath> {
        let name = path.as_os_str().as_bytes();
        let mut bytes = Vec::new();
        let length = directory.len().saturating_add(name.len()).saturating_add(2);
        bytes.try_reserve_exact(length).map_err(|_| Error::OutOfMemory("a path"))?;
        if !directory.is_empty() {
            bytes.extend_from_slice(directory);
            bytes.push(b'/');
        }
        bytes.extend_from_slice(name);
        if bytes.contains(&0) {
            return Err(error!(InvalidArgument, "{path:?} is not a path: it holds a NUL"));
        }
        bytes.push(0);
        Ok(SystemPath(bytes))
    }

    fn as_ptr(&self) -> *const c_char {
        self.0.as_ptr().cast()
    }

    /// open(2), and the descriptor is not inherited by other programs. A new file is made for its owner, and for others as
    /// the umask lets them.
    pub(super) fn open(&self, flags: c_int) -> io::Result<fs::File> {
        const MODE: libc::c_uint = 0o666;
        loop {
            // SAFETY: a C string, and flags without memory.
            let descriptor = unsafe { libc::open(self.as_ptr(), flags | libc::O_CLOEXEC, MODE) };
            if descriptor >= 0 {
                // SAFETY: open(2) has just made it and nobody else has it.
                return Ok(unsafe { fs::File::from_raw_fd(descriptor) });
            }
            let why = io::Error::last_os_error();
            if why.kind() != io::ErrorKind::Interrupted {
                return Err(why);
            }
        }
    }

    /// What lies at the path, without opening it; `follow` symbolic links or not.
    pub(super) fn look(&self, follow: bool) -> io::Result<fs::Metadata> {
        #[cfg(target_os = "linux")]
        return self.open(libc::O_PATH | if follow { 0 } else { libc::O_NOFOLLOW })?.metadata();
        #[cfg(not(target_os = "linux"))]
        {
            let path = std::ffi::OsStr::from_bytes(self.0.strip_suffix(&[0]).unwrap_or(&self.0));
            if follow { fs::metadata(path) } else { fs::symlink_metadata(path) }
        }
    }

    /// rename(2) to `to`.
    pub(super) fn rename(&self, to: &SystemPath) -> io::Result<()> {
        // SAFETY: two C strings.
        done(unsafe { libc::rename(self.as_ptr(), to.as_ptr()) })
    }

    /// unlink(2).
    pub(super) fn unlink(&self) -> io::Result<()> {
        // SAFETY: a C string.
        done(unsafe { libc::unlink(self.as_ptr()) })
    }
}

fn done(status: c_int) -> io::Result<()> {
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_stay() {
        let bytes = |path: Result<SystemPath>| path.unwrap().0.strip_suffix(&[0]).unwrap().to_vec();
        assert_eq!(bytes(SystemPath::new(Path::new("a/b"))), b"a/b");
        assert_eq!(bytes(SystemPath::absolute(Path::new("/a/b"))), b"/a/b");
        let here = std::env::current_dir().unwrap().join("a/b");
        assert_eq!(bytes(SystemPath::absolute(Path::new("a/b"))), here.as_os_str().as_bytes());
        assert!(matches!(SystemPath::new(Path::new("a\0b")), Err(Error::InvalidArgument(_))));
    }

    #[test]
    fn what_is_not_there() {
        let missing = SystemPath::new(Path::new("/nonexistent/file")).unwrap();
        assert_eq!(missing.open(libc::O_RDONLY).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(missing.look(true).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(missing.unlink().unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(missing.rename(&missing).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(SystemPath::new(Path::new("/dev/stdin")).unwrap().look(false).unwrap().is_symlink());
        assert!(SystemPath::new(Path::new("/")).unwrap().look(true).unwrap().is_dir());
    }
}
