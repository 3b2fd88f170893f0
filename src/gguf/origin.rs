//! Which file on disk a mapping is of, and whether it is still the same. Knows nothing of the format.
//!
//! No descriptor is kept for this: a model may have a thousand files, and a host that closes all descriptors, as daemons
//! do, would have the next file of that number looked at. So it is the path that is looked at, and the mapping itself:
//! the system reads its last byte for us, which is an error and not a signal where the page is gone.

use super::system::SystemPath;
use crate::error::{Error, Result, error};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What a file was when it was opened.
pub(super) struct Origin {
    path: SystemPath,
    identity: Identity,
}

struct Identity {
    device: u64,
    inode: u64,
    size_bytes: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
}

impl Identity {
    fn of(metadata: &fs::Metadata) -> Identity {
        Identity {
            device: metadata.dev(),
            inode: metadata.ino(),
            size_bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

impl Origin {
    /// The file that was opened at `path`, which `metadata` is of.
    pub(super) fn new(path: &Path, metadata: &fs::Metadata) -> Result<Origin> {
        Ok(Origin { path: SystemPath::absolute(path)?, identity: Identity::of(metadata) })
    }

    /// Whether the file is what it was: `mapping` is all of it. Never raises a signal.
    ///
    /// # Errors
    /// `Truncated` where it is shorter, `Changed` where it, or what its path stands for, is something else, `Io`.
    pub(super) fn verify(&self, mapping: &[u8]) -> Result<()> {
        let size = self.identity.size_bytes;
        if !last_byte_is_there(mapping).map_err(io("read the mapping"))? {
            return Err(error!(Truncated at size.saturating_sub(1), "the file was shortened after it was opened"));
        }
        let now = match self.path.look(true) {
            Ok(metadata) => Identity::of(&metadata),
            Err(why) if why.kind() == io::ErrorKind::NotFound => {
                return Err(Error::Changed("the file's path stands for nothing any more"));
            }
            Err(why) => return Err(io("look at the file")(why)),
        };
        if (now.device, now.inode) != (self.identity.device, self.identity.inode) {
            return Err(Error::Changed("the file's path stands for another file now"));
        }
        if now.size_bytes < size {
            return Err(error!(Truncated at now.size_bytes, "the file was shortened after it was opened"));
        }
        if now.size_bytes != size || now.modified != self.identity.modified {
            return Err(Error::Changed("the file was written to after it was opened"));
        }
        Ok(())
    }
}

/// The system, not this process, reads the byte: into a pipe. Every Unix has one.
fn last_byte_is_there(mapping: &[u8]) -> io::Result<bool> {
    let Some(last) = mapping.len().checked_sub(1).and_then(|last| mapping.get(last..)) else {
        return Ok(true);
    };
    let (_reader, mut writer) = io::pipe()?;
    loop {
        match writer.write(last) {
            Ok(_) => return Ok(true),
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(why) if why.raw_os_error() == Some(libc::EFAULT) => return Ok(false),
            Err(why) => return Err(why),
        }
    }
}

fn io(action: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { action, source }
}
