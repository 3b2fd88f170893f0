//! Reads everything that an open file says, by every way that there is to it, and holds the answers against each other.
//! Fast: no text is made, so that millions of files can be walked. Shared with the fuzz targets.

use gguffuse::gguf::{Array, File, Value};

/// Walks `file`; panics where two answers do not fit. Returns a number that depends on all of them.
pub fn walk(file: &File) -> u64 {
    let mut sum = u64::from(file.version()) ^ file.size_bytes();
    assert!(matches!(file.version(), 2 | 3));
    assert!(file.alignment().is_power_of_two());
    assert!(file.data_offset().is_multiple_of(file.alignment().into()) && file.data_offset() >= file.metadata_bytes());
    assert!(file.metadata_bytes() <= file.size_bytes());
    for index in 0..file.metadata_count() {
        let (key, value) = file.metadata(index).unwrap();
        assert!(!key.is_empty() && !key.contains('\0'));
        assert_eq!(file.metadata_key_with_nul(index).unwrap().as_bytes().split_last().unwrap(), (&0, key.as_bytes()));
        assert_eq!(file.find_metadata(key).unwrap(), index);
        sum = sum.rotate_left(1) ^ of_value(value) ^ conversions(value) ^ key.len() as u64;
    }
    for index in 0..file.tensor_count() {
        let tensor = file.tensor(index).unwrap();
        assert_eq!(tensor.name_with_nul.as_bytes().split_last().unwrap(), (&0, tensor.name.as_bytes()));
        assert!(tensor.name.len() <= 64 && !tensor.name.contains('\0'));
        assert_eq!(file.find_tensor(tensor.name).unwrap(), index);
        assert_eq!(tensor.absolute_offset, file.data_offset() + tensor.relative_offset);
        assert!(tensor.relative_offset.is_multiple_of(file.alignment().into()));
        assert_eq!(tensor.data.len() as u64, tensor.size_bytes);
        assert!(tensor.size_bytes == 0 || tensor.absolute_offset + tensor.size_bytes <= file.size_bytes());
        assert!(tensor.dims[tensor.n_dims as usize..].iter().all(|dim| *dim == 1));
        let ends = tensor.data.first().into_iter().chain(tensor.data.last());
        sum = ends.fold(sum.rotate_left(3), |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    }
    assert!(file.metadata(file.metadata_count()).is_err() && file.tensor(file.tensor_count()).is_err());
    sum
}

fn of_value(value: Value<'_>) -> u64 {
    match value {
        Value::String(string) => {
            let bytes = string.as_bytes();
            assert_eq!(string.as_bytes_with_nul().split_last().unwrap(), (&0, bytes));
            bytes.iter().fold(7, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)))
        }
        Value::Array(array) => of_array(&array),
        Value::F32(value) => value.to_bits().into(),
        Value::F64(value) => value.to_bits(),
        Value::Bool(value) => value.into(),
        // An integer: as one of the two it fits.
        other => other.as_u64().unwrap_or_else(|_| other.as_i64().unwrap() as u64),
    }
}

/// All conversions: which of them are exact.
fn conversions(value: Value<'_>) -> u64 {
    let exact = [
        value.as_u64().is_ok(),
        value.as_i64().is_ok(),
        value.as_f64().is_ok(),
        value.as_bool().is_ok(),
        value.as_string().is_ok(),
        value.as_array().is_ok(),
    ];
    assert!(exact.contains(&true));
    exact.into_iter().fold(1, |sum, exact| sum << 1 | u64::from(exact))
}

fn of_array(array: &Array<'_>) -> u64 {
    let length = array.len();
    let fixed = array.element_type().size_bytes();
    assert_eq!(array.data().map(<[u8]>::len), fixed.map(|size| size * length as usize));
    let (mut sum, mut count) = (length, 0);
    for element in array.iter() {
        let number = of_value(element);
        // A few by their index as well; all of them would take quadratic time in arrays within arrays.
        if matches!(count, 0 | 1 | 63..=65) || count + 1 == length {
            assert_eq!(of_value(array.element(count).unwrap()), number);
        }
        if count == 0 {
            sum ^= conversions(element);
        }
        sum = sum.rotate_left(1) ^ number;
        count += 1;
    }
    assert_eq!(count, length);
    assert!(array.element(length).is_err());
    sum
}
