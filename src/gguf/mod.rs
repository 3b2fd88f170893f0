//! The GGUF file format: what a file declares, where each tensor lies, and writing files. No arithmetic on weights.
//!
//! [`File`] opens a file: the metadata and the tensor directory are walked and checked once, in a private copy
//! (`cursor`, `metadata`, `tensor`, `names`), then everything is read from that copy on demand (`value`). [`Writer`]
//! makes files: it collects (`writer`, `encode`), lays out (`output`) and puts in place (`replace`).
//!
//! Nothing here trusts a file: no allocation follows a declared size before it is known to lie inside of the file, the
//! heap stays under 4 times the metadata plus 64 KiB, and no input makes this code panic.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

// Whatever a file says is read without unsafe code: only `source` and `system` have any, for
// mappings, memory and calls of the system.
#[forbid(unsafe_code)]
mod copy;
#[forbid(unsafe_code)]
mod cursor;
#[forbid(unsafe_code)]
mod encode;
#[forbid(unsafe_code)]
mod metadata;
#[forbid(unsafe_code)]
mod names;
#[forbid(unsafe_code)]
mod origin;
#[forbid(unsafe_code)]
mod output;
#[forbid(unsafe_code)]
mod replace;
mod source;
mod system;
#[forbid(unsafe_code)]
mod tensor;
#[forbid(unsafe_code)]
mod value;
#[forbid(unsafe_code)]
mod writer;

pub use encode::{ArrayInput, ValueInput};
pub use tensor::Tensor;
pub use value::{Array, Elements, Str, Value, ValueType};
pub use writer::{Maker, Writer};

use crate::error::{Error, Result, error};
use copy::PrivateCopy;
use cursor::{Cursor, Item};
use metadata::Metadata;
use origin::Origin;
use source::{Input, Source};
use std::fmt;
use std::path::Path;
use tensor::{DataSection, Tensors};

const MAGIC: &[u8; 4] = b"GGUF";

/// Options of opening a file.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// The largest metadata (all before the data section) that is accepted, in bytes. Never more than 4 GiB.
    pub max_metadata_bytes: u64,
    /// Copy the whole file to memory instead of mapping or borrowing it: what happens to it afterwards changes nothing.
    pub copy: bool,
}

impl Default for OpenOptions {
    fn default() -> Self {
        OpenOptions { max_metadata_bytes: 256 << 20, copy: false }
    }
}

/// An open GGUF file. Immutable; may be used from any thread.
///
/// ```
/// # use gguffuse::gguf::{File, OpenOptions};
/// # use std::path::Path;
/// # fn main() -> gguffuse::Result<()> {
/// let file = File::open(Path::new("examples/checksum/checksum.gguf"), &OpenOptions::default())?;
/// for tensor in file.tensors() {
///     println!("{} at byte {}, {} bytes", tensor.name, tensor.absolute_offset, tensor.size_bytes);
/// }
/// assert_eq!(file.get("general.name")?.as_string()?.to_str()?, "gguffuse checksum");
/// let tokens = file.get("tokenizer.ggml.tokens")?.as_array()?;
/// assert_eq!(tokens.element(3)?.as_bytes()?, b"hello");
/// assert!(matches!(file.get("nowhere"), Err(gguffuse::Error::NotFound(_))));
/// # Ok(())
/// # }
/// ```
pub struct File {
    source: Source,
    /// Where `source` is a mapping of it.
    origin: Option<Origin>,
    size_bytes: u64,
    version: u32,
    data: DataSection,
    /// The private copy (see `cursor`), a NUL behind it.
    copy: PrivateCopy,
    metadata: Metadata,
    tensors: Tensors,
}

/// A file without its source.
struct Parsed {
    version: u32,
    data: DataSection,
    copy: PrivateCopy,
    metadata: Metadata,
    tensors: Tensors,
}

impl File {
    /// Opens the file at `path` and maps it, or copies it if the options say so. Never blocks on what is not a regular
    /// file.
    ///
    /// The metadata and the directory do not change after this, whatever happens to the file. Tensor data is read where
    /// it lies: if another process changes the file its bytes change, if it *shortens* the file reading them raises
    /// SIGBUS. A copy is safe from both; [`File::verify`] tells.
    ///
    /// # Errors
    /// `InvalidArgument` where `path` is not a regular file, `Io` where the operating system refuses. For the file's
    /// contents: `BadFormat`, `Truncated`, `Limit`, `UnsupportedVersion`, `UnsupportedType`, `TypeMismatch`
    /// (`general.alignment` is not a u32). `OutOfMemory`.
    pub fn open(path: &Path, options: &OpenOptions) -> Result<File> {
        let (file, metadata) = source::open_regular(path)?;
        let size = metadata.len();
        let input = Input::File(&file, size);
        let parsed = parse(input, options)?;
        if options.copy {
            return Ok(File::new(Source::copy(&input)?, size, parsed));
        }
        let origin = Origin::new(path, &metadata)?;
        Ok(File { origin: Some(origin), ..File::new(Source::map(&file, size)?, size, parsed) })
    }

    /// Opens a file that lies in memory. Errors as for [`File::open`] but for `Io` and `InvalidArgument`.
    pub fn from_vec(bytes: Vec<u8>, options: &OpenOptions) -> Result<File> {
        let parsed = parse(Input::Memory(&bytes), options)?;
        let size = bytes.len() as u64;
        Ok(File::new(Source::Owned(bytes), size, parsed))
    }

    /// Like [`File::from_vec`] for memory that is borrowed, or copied if the options say so.
    pub fn from_static(bytes: &'static [u8], options: &OpenOptions) -> Result<File> {
        let input = Input::Memory(bytes);
        let parsed = parse(input, options)?;
        let source = if options.copy { Source::copy(&input)? } else { Source::Borrowed(bytes) };
        Ok(File::new(source, bytes.len() as u64, parsed))
    }

    fn new(source: Source, size_bytes: u64, parsed: Parsed) -> File {
        let Parsed { version, data, copy, metadata, tensors } = parsed;
        File { source, origin: None, size_bytes, version, data, copy, metadata, tensors }
    }

    /// Whether the file on disk is still what was opened. What lies in memory always is.
    ///
    /// # Errors
    /// `Truncated` where it is shorter: reading its tensors may raise SIGBUS, this does not. `Changed` where it was
    /// written to, or its path stands for another file or none. `Io` where the system does not tell.
    pub fn verify(&self) -> Result<()> {
        self.origin.as_ref().map_or(Ok(()), |origin| origin.verify(self.source.bytes()))
    }

    /// Version of the format: 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// What tensor offsets are multiples of, in bytes: `general.alignment`, or 32.
    pub fn alignment(&self) -> u32 {
        self.data.alignment
    }

    /// Byte offset in the file where the data section begins: the end of the tensor directory, aligned. A file without
    /// tensor data may end before.
    pub fn data_offset(&self) -> u64 {
        self.data.start
    }

    /// Size of the file in bytes, when it was opened.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Bytes from the start of the file to the end of the tensor directory.
    pub fn metadata_bytes(&self) -> u64 {
        (self.copy.len() as u64).saturating_sub(1)
    }

    /// Number of tensors.
    pub fn tensor_count(&self) -> u64 {
        self.tensors.count()
    }

    /// Tensor `index`, in file order; `NotFound` past the end.
    pub fn tensor(&self, index: u64) -> Result<Tensor<'_>> {
        self.tensors.get(&self.copy, self.source.bytes(), self.data.start, index)
    }

    /// Index of the tensor called `name`, else `NotFound`. Takes logarithmic time.
    pub fn find_tensor(&self, name: &str) -> Result<u64> {
        self.tensors.find(&self.copy, name)
    }

    /// All tensors in file order.
    pub fn tensors(&self) -> impl Iterator<Item = Tensor<'_>> {
        (0..self.tensor_count()).filter_map(|index| self.tensor(index).ok())
    }

    /// Number of metadata entries.
    pub fn metadata_count(&self) -> u64 {
        self.metadata.count()
    }

    /// Key and value of metadata entry `index`, in file order; `NotFound` past the end.
    pub fn metadata(&self, index: u64) -> Result<(&str, Value<'_>)> {
        Ok((self.metadata.key(&self.copy, index)?, self.metadata.value(&self.copy, index)?))
    }

    /// Key of metadata entry `index` and one NUL. For C: the pointer stays valid as long as the file is open.
    pub fn metadata_key_with_nul(&self, index: u64) -> Result<&str> {
        self.metadata.key_with_nul(&self.copy, index)
    }

    /// Index of the metadata entry called `key`, else `NotFound`. Takes logarithmic time.
    pub fn find_metadata(&self, key: &str) -> Result<u64> {
        self.metadata.find(&self.copy, key)
    }

    /// Value of the metadata entry called `key`, else `NotFound`.
    pub fn get(&self, key: &str) -> Result<Value<'_>> {
        self.metadata.value(&self.copy, self.find_metadata(key)?)
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File")
            .field("version", &self.version)
            .field("size_bytes", &self.size_bytes)
            .field("metadata_count", &self.metadata_count())
            .field("tensor_count", &self.tensor_count())
            .finish_non_exhaustive()
    }
}

fn parse(input: Input<'_>, options: &OpenOptions) -> Result<Parsed> {
    let mut cursor = Cursor::new(input, options.max_metadata_bytes);
    let version = read_version(&mut cursor)?;
    let tensor_count = cursor.u64("the number of tensors")?;
    let metadata_count = cursor.u64("the number of metadata entries")?;
    cursor.check_count(tensor_count, tensor::SMALLEST_RECORD, "the declared number of tensors")?;
    cursor.check_count(metadata_count, metadata::SMALLEST_ENTRY, "the declared number of metadata entries")?;

    let mut metadata = Metadata::walk(&mut cursor, metadata_count)?;
    let mut tensors = Tensors::walk(&mut cursor, tensor_count)?;
    cursor.item = Item::Header;
    let (metadata_end, size) = (cursor.offset(), cursor.size_bytes());
    let copy = cursor.finish()?;

    metadata.sort(&copy)?;
    let alignment = metadata.alignment(&copy)?;
    // The metadata ends before 2^32 and the alignment is at most 2^31: this is never `None`.
    let start = metadata_end.checked_next_multiple_of(alignment.into());
    let start = start.ok_or(Error::Internal("the metadata ends beyond 4 GiB"))?;
    let data = DataSection { start, size_bytes: size.saturating_sub(start), alignment };
    tensors.check(&copy, data)?;
    Ok(Parsed { version, data, copy, metadata, tensors })
}

/// Reads magic and version: 2 or 3.
fn read_version(cursor: &mut Cursor<'_>) -> Result<u32> {
    let magic = cursor.u32("the magic")?.to_le_bytes();
    if magic != *MAGIC {
        let hint = match &magic {
            b"vers" if cursor.copy().starts_with(b"version https://git-lfs") => {
                ": this is a git-LFS pointer, the file itself was not downloaded"
            }
            b"<!DO" | b"<!do" | b"<htm" | b"<HTM" => ": this is an HTML page, perhaps of a failed download",
            b"lmgg" | b"fmgg" | b"tjgg" => ": this is a file of ggml's formats before GGUF",
            b"FUGG" => ": the bytes of GGUF are the wrong way round",
            _ => "",
        };
        let magic = magic.escape_ascii();
        return Err(error!(BadFormat at 0, "it begins with \"{magic}\", not with \"GGUF\"{hint}"));
    }
    let version = cursor.u32("the version")?;
    match (version, version.swap_bytes()) {
        (2 | 3, _) => Ok(version),
        (1, _) => Err(error!(UnsupportedVersion, "1; versions 2 and 3 are read")),
        (0, _) => Err(error!(UnsupportedVersion, "0 does not exist; versions 2 and 3 are read")),
        (_, swapped) if version.trailing_zeros() >= 16 => Err(error!(
            UnsupportedVersion,
            "the file is big-endian (version {swapped}); only little-endian files are read"
        )),
        _ => Err(error!(UnsupportedVersion, "{version} is newer than this library; versions 2 and 3 are read")),
    }
}
