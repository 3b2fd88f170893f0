//! Writing GGUF files: metadata and tensors are collected and checked with the reader's rules. The layout of the file is
//! made in `output`.

use super::File;
use super::encode::{Encoded, ValueInput};
use super::metadata::{ALIGNMENT_KEY, DEFAULT_ALIGNMENT, LONGEST_KEY};
use super::names::push;
use super::tensor::{LONGEST_NAME, MOST_DIMENSIONS, size_bytes};
use super::value::Value;
use crate::blocks::TensorType;
use crate::error::{Error, Result, error};
use std::collections::HashMap;

pub(super) const OUT_OF_MEMORY: Error = Error::OutOfMemory("the file to be written");

/// A metadata entry behind its key.
pub(super) struct Entry {
    /// Entries are written in this order.
    pub(super) order: u64,
    pub(super) value: Encoded,
}

/// A tensor behind its name.
pub(super) struct TensorInput<'a> {
    /// Tensors are written in this order.
    pub(super) order: u64,
    pub(super) tensor_type: TensorType,
    n_dims: usize,
    dims: [u64; MOST_DIMENSIONS as usize],
    pub(super) data: TensorData<'a>,
}

/// Makes a tensor's bytes and hands them on in pieces: see [`Writer::tensor_made`].
pub type Maker<'a> = dyn Fn(&mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> + Sync + 'a;

/// Where a tensor's bytes come from.
#[derive(Clone, Copy)]
pub(super) enum TensorData<'a> {
    Borrowed(&'a [u8]),
    /// So many bytes, made whenever the file is written.
    Made(u64, &'a Maker<'a>),
}

impl TensorData<'_> {
    pub(super) fn size_bytes(&self) -> u64 {
        match self {
            TensorData::Borrowed(bytes) => bytes.len() as u64,
            TensorData::Made(size, _) => *size,
        }
    }
}

impl TensorInput<'_> {
    pub(super) fn dims(&self) -> &[u64] {
        self.dims.get(..self.n_dims).unwrap_or_default()
    }
}

/// Collects a file's metadata and tensors, then writes them. Tensor data is borrowed, everything else copied.
///
/// Entries and tensors are written in the order in which they were added. No call changes the writer when it fails.
///
/// Another file may be the source: this is how a file is edited.
/// ```
/// # use gguffuse::gguf::{File, OpenOptions, Writer};
/// # fn main() -> gguffuse::Result<()> {
/// # let file = File::from_vec(Writer::new().metadata("general.name", "old")?.to_vec()?, &OpenOptions::default())?;
/// let mut writer = Writer::new();
/// writer.copy_metadata(&file)?.metadata("general.name", "new")?;
/// for tensor in file.tensors() {
///     writer.tensor(tensor.name, tensor.tensor_type, &tensor.dims[..tensor.n_dims as usize], tensor.data)?;
/// }
/// let bytes = writer.to_vec()?;
/// # assert_eq!(File::from_vec(bytes, &OpenOptions::default())?.get("general.name")?.as_bytes()?, b"new");
/// # Ok(())
/// # }
/// ```
pub struct Writer<'a> {
    pub(super) version: u32,
    pub(super) alignment: u32,
    next_order: u64,
    pub(super) metadata: HashMap<Box<str>, Entry>,
    pub(super) tensors: HashMap<Box<str>, TensorInput<'a>>,
}

impl Default for Writer<'_> {
    fn default() -> Self {
        Writer {
            version: 3,
            alignment: DEFAULT_ALIGNMENT,
            next_order: 0,
            metadata: HashMap::new(),
            tensors: HashMap::new(),
        }
    }
}

impl<'a> Writer<'a> {
    /// An empty file of version 3 with alignment 32.
    pub fn new() -> Self {
        Writer::default()
    }

    /// Sets the version: 2 or 3, else `UnsupportedVersion`.
    pub fn version(&mut self, version: u32) -> Result<&mut Self> {
        if !matches!(version, 2 | 3) {
            return Err(error!(UnsupportedVersion, "{version}; versions 2 and 3 are written"));
        }
        self.version = version;
        Ok(self)
    }

    /// Sets what tensor offsets are multiples of, by the metadata entry `general.alignment`: a power of two, else
    /// `InvalidArgument`.
    pub fn alignment(&mut self, alignment: u32) -> Result<&mut Self> {
        self.metadata(ALIGNMENT_KEY, alignment)
    }

    /// Sets a metadata entry: a new one, or another value for a key that is there, which keeps its place.
    /// `general.alignment` sets the alignment of the tensors as well.
    ///
    /// # Errors
    /// `InvalidArgument` where `key` is empty, too long or holds a NUL, where arrays lie more than 4 deep, or where
    /// `general.alignment` is not a u32 that is a power of two. `OutOfMemory`.
    pub fn metadata<'v>(&mut self, key: &str, value: impl Into<ValueInput<'v>>) -> Result<&mut Self> {
        let value = value.into();
        check_name(key, LONGEST_KEY, "a key")?;
        if key.is_empty() {
            return Err(error!(InvalidArgument, "a key is empty"));
        }
        let alignment = match value {
            _ if key != ALIGNMENT_KEY => self.alignment,
            ValueInput::U32(alignment) if alignment.is_power_of_two() => alignment,
            _ => {
                return Err(error!(InvalidArgument, "{ALIGNMENT_KEY} is not a u32 that is a power of two"));
            }
        };
        let entry = (copy_name(key)?, value.encode()?);
        self.metadata.try_reserve(1).map_err(|_| OUT_OF_MEMORY)?;
        self.put(entry);
        self.alignment = alignment;
        Ok(self)
    }

    /// Sets all metadata entries of `file`, as [`Writer::metadata`] does: keys that are there get another value. So the
    /// file's alignment is taken over where it declares one. All or, where memory runs out, none.
    pub fn copy_metadata(&mut self, file: &File) -> Result<&mut Self> {
        let mut entries: Vec<(Box<str>, Encoded)> = Vec::new();
        let mut alignment = self.alignment;
        for index in 0..file.metadata_count() {
            let (key, value) = file.metadata(index)?;
            if let (ALIGNMENT_KEY, Value::U32(declared)) = (key, value) {
                alignment = declared;
            }
            push(&mut entries, (copy_name(key)?, ValueInput::from(value).encode()?))?;
        }
        self.metadata.try_reserve(entries.len()).map_err(|_| OUT_OF_MEMORY)?;
        entries.into_iter().for_each(|entry| self.put(entry));
        self.alignment = alignment;
        Ok(self)
    }

    /// Makes one array of arrays of several entries, which are removed: `elements` are their keys. This is for those who
    /// cannot write [`ArrayInput::Array`](super::ArrayInput::Array).
    ///
    /// # Errors
    /// `NotFound` where an element's key is not there; `InvalidArgument` where one is no array or is named twice, or
    /// arrays then lie more than 4 deep, or for `key` as in [`Writer::metadata`]. `OutOfMemory`.
    pub fn nest(&mut self, key: &str, elements: &[&str]) -> Result<&mut Self> {
        check_name(key, LONGEST_KEY, "a key")?;
        if key.is_empty() || key == ALIGNMENT_KEY {
            return Err(error!(InvalidArgument, "{key:?} cannot be the key of an array"));
        }
        let mut sorted = Vec::new();
        elements.iter().try_for_each(|element| push(&mut sorted, *element))?;
        sorted.sort_unstable();
        if let Some(twins) = sorted.windows(2).find(|pair| pair.first() == pair.last()) {
            return Err(error!(InvalidArgument, "{:?} is to be an element twice", twins.first().unwrap_or(&"")));
        }
        let mut arrays = Vec::new();
        for element in elements {
            let found = self.metadata.get(*element).ok_or_else(|| not_found(element))?;
            push(&mut arrays, &found.value)?;
        }
        let entry = (copy_name(key)?, Encoded::nest(arrays.into_iter())?);
        self.metadata.try_reserve(1).map_err(|_| OUT_OF_MEMORY)?;
        for element in elements {
            if *element != key {
                self.metadata.remove(*element);
            }
        }
        self.put(entry);
        Ok(self)
    }

    /// Removes a metadata entry; without `general.alignment` the alignment is 32. `NotFound` where there is none.
    pub fn remove_metadata(&mut self, key: &str) -> Result<&mut Self> {
        self.metadata.remove(key).ok_or_else(|| not_found(key))?;
        if key == ALIGNMENT_KEY {
            self.alignment = DEFAULT_ALIGNMENT;
        }
        Ok(self)
    }

    /// Adds an entry, or changes its value. The map has the capacity.
    fn put(&mut self, (key, value): (Box<str>, Encoded)) {
        match self.metadata.get_mut(&key) {
            Some(entry) => entry.value = value,
            None => {
                let order = self.next_order();
                self.metadata.insert(key, Entry { order, value });
            }
        }
    }

    fn next_order(&mut self) -> u64 {
        self.next_order = self.next_order.saturating_add(1);
        self.next_order
    }

    /// Adds a tensor: `dims` with the fastest first, `data` its bytes.
    ///
    /// # Errors
    /// `InvalidArgument` where `name` is longer than 64 bytes, holds a NUL or is another tensor's, or there are more
    /// than 4 dimensions; `Shape` where rows are not whole blocks or `data` is not of the size that type and dimensions
    /// make. `OutOfMemory`.
    pub fn tensor(&mut self, name: &str, tensor_type: TensorType, dims: &[u64], data: &'a [u8]) -> Result<&mut Self> {
        self.add(name, tensor_type, dims, |_| Some(TensorData::Borrowed(data)))
    }

    /// Adds a tensor whose bytes are made while the file is written, so that no more than a piece of them has to be in memory.
    /// `make` is called once whenever the file is written and hands the bytes on in order, in pieces of any length; it stops
    /// where handing on fails.
    ///
    /// # Errors
    /// As [`Writer::tensor`]. Writing the file fails with `make`'s error, and with `Shape` where it makes more or fewer
    /// bytes than type and dimensions say.
    pub fn tensor_made(
        &mut self,
        name: &str,
        tensor_type: TensorType,
        dims: &[u64],
        make: &'a Maker<'a>,
    ) -> Result<&mut Self> {
        self.add(name, tensor_type, dims, |size| Some(TensorData::Made(size?, make)))
    }

    fn add(
        &mut self,
        name: &str,
        tensor_type: TensorType,
        dims: &[u64],
        data: impl FnOnce(Option<u64>) -> Option<TensorData<'a>>,
    ) -> Result<&mut Self> {
        check_name(name, LONGEST_NAME, "a tensor name")?;
        let mut padded = [1; MOST_DIMENSIONS as usize];
        let Some(used) = padded.get_mut(..dims.len()) else {
            let count = dims.len();
            return Err(error!(
                InvalidArgument,
                "tensor {name:?} has {count} dimensions, at most {MOST_DIMENSIONS} are allowed"
            ));
        };
        used.copy_from_slice(dims);
        let (k, block) = (dims.first().copied().unwrap_or(1), tensor_type.block_elements());
        if !k.is_multiple_of(block as u64) {
            return Err(error!(
                Shape,
                "tensor {name:?}: its rows have {k} elements, not a multiple of the {block} of a {} block",
                tensor_type.name()
            ));
        }
        let (size, type_name) = (size_bytes(tensor_type, dims), tensor_type.name());
        let Some(data) = data(size) else {
            return Err(error!(Shape, "tensor {name:?}: {dims:?} {type_name} elements have 2^64 bytes or more"));
        };
        if size != Some(data.size_bytes()) {
            let has = data.size_bytes();
            return Err(error!(
                Shape,
                "tensor {name:?}: {has} bytes of data do not make {dims:?} {type_name} elements"
            ));
        }
        if self.tensors.contains_key(name) {
            return Err(error!(InvalidArgument, "there is a tensor {name:?} already"));
        }
        let owned = copy_name(name)?;
        self.tensors.try_reserve(1).map_err(|_| OUT_OF_MEMORY)?;
        let order = self.next_order();
        self.tensors.insert(owned, TensorInput { order, tensor_type, n_dims: dims.len(), dims: padded, data });
        Ok(self)
    }
}

#[cold]
fn not_found(key: &str) -> Error {
    error!(NotFound, "metadata entry {key:?}")
}

fn check_name(name: &str, longest: u64, what: &str) -> Result<()> {
    if name.len() as u64 > longest {
        let length = name.len();
        return Err(error!(InvalidArgument, "{what} has {length} bytes, the longest allowed has {longest}"));
    }
    if name.contains('\0') {
        return Err(error!(InvalidArgument, "{what} holds a NUL: {name:?}"));
    }
    Ok(())
}

fn copy_name(name: &str) -> Result<Box<str>> {
    let mut copy = String::new();
    copy.try_reserve_exact(name.len()).map_err(|_| OUT_OF_MEMORY)?;
    copy.push_str(name);
    Ok(copy.into_boxed_str())
}
