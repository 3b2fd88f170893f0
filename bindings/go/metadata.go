package gguffuse

import (
	"encoding/binary"
	"unsafe"
)

// Keys are the keys of all metadata entries, in the file's order.
func (f *File) Keys() ([]string, error) {
	keys := make([]string, f.metadataCount)
	err := f.use(func() error {
		for index := range keys {
			var text unsafe.Pointer
			var length uintptr
			err := call(func() int32 { return cMetadataKey(f.handle, uint64(index), &text, &length) })
			if err != nil {
				return err
			}
			keys[index] = goStringOf(text, length)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return keys, nil
}

// entry is a place in the metadata: an entry, and the way into arrays within it.
type entry struct {
	file  *File
	index uint64
	path  []uint64
}

// with finds an entry and hands it to use, with the type of its value.
func (f *File) with(key string, use func(entry, ValueType) error) error {
	name, err := cString(key, "key")
	if err != nil {
		return &Error{Status: ErrNotFound, Text: "keys have no NUL in them"}
	}
	return f.use(func() error {
		var index uint64
		var typ uint32
		if err := call(func() int32 { return cMetadataFind(f.handle, name, &index) }); err != nil {
			return err
		}
		if err := call(func() int32 { return cMetadataType(f.handle, index, &typ) }); err != nil {
			return err
		}
		return use(entry{file: f, index: index}, ValueType(typ))
	})
}

// scalar reads a value that the library converts.
func scalar[T any](f *File, key string, read func(handle, uint64, *uint64, uintptr, *T) int32) (T, error) {
	var value, none T
	err := f.with(key, func(e entry, _ ValueType) error {
		return call(func() int32 { return read(f.handle, e.index, nil, 0, &value) })
	})
	if err != nil {
		return none, err
	}
	return value, nil
}

// Uint64 is the value of key, of any integer type, or of a float that holds an integer, if it fits; else ErrTypeMismatch.
func (f *File) Uint64(key string) (uint64, error) {
	return scalar(f, key, func(h handle, i uint64, p *uint64, n uintptr, out *uint64) int32 {
		return cElementU64(h, i, p, n, out)
	})
}

// Int64 is the value of key, of any integer type, or of a float that holds an integer, if it fits; else ErrTypeMismatch.
func (f *File) Int64(key string) (int64, error) {
	return scalar(f, key, func(h handle, i uint64, p *uint64, n uintptr, out *int64) int32 {
		return cElementI64(h, i, p, n, out)
	})
}

// Float64 is the value of key, of any float type, or of an integer that a float64 holds; else ErrTypeMismatch.
func (f *File) Float64(key string) (float64, error) {
	return scalar(f, key, func(h handle, i uint64, p *uint64, n uintptr, out *float64) int32 {
		return cElementF64(h, i, p, n, out)
	})
}

// Bool is the value of key, a bool; else ErrTypeMismatch.
func (f *File) Bool(key string) (bool, error) {
	return scalar(f, key, func(h handle, i uint64, p *uint64, n uintptr, out *bool) int32 {
		return cElementBool(h, i, p, n, out)
	})
}

// Text is the value of key, a string, of bytes that need not be UTF-8; else ErrTypeMismatch.
func (f *File) Text(key string) (string, error) {
	value := ""
	err := f.with(key, func(e entry, _ ValueType) (err error) {
		value, err = e.text()
		return err
	})
	return value, err
}

// Texts are the value of key, an array of strings; else ErrTypeMismatch.
func (f *File) Texts(key string) ([]string, error) {
	var values []string
	err := f.with(key, func(e entry, _ ValueType) error {
		_, count, err := e.array()
		if err == nil {
			values, err = e.texts(count)
		}
		return err
	})
	return values, err
}

// Value is the value of key, as Go's type for its GGUF type: a number, a bool, a string, a slice of those, or, of arrays of
// arrays, []any.
func (f *File) Value(key string) (any, error) {
	var value any
	err := f.with(key, func(e entry, typ ValueType) (err error) {
		value, err = e.value(typ)
		return err
	})
	return value, err
}

func (e entry) text() (string, error) {
	var text unsafe.Pointer
	var length uintptr
	err := call(func() int32 {
		return cElementString(e.file.handle, e.index, start(e.path), uintptr(len(e.path)), &text, &length)
	})
	if err != nil {
		return "", err
	}
	return goStringOf(text, length), nil
}

func (e entry) array() (ValueType, int, error) {
	var typ uint32
	var count uint64
	err := call(func() int32 {
		return cArrayInfo(e.file.handle, e.index, start(e.path), uintptr(len(e.path)), &typ, &count)
	})
	return ValueType(typ), int(count), err
}

func (e entry) texts(count int) ([]string, error) {
	addresses, lengths, texts := make([]unsafe.Pointer, count), make([]uintptr, count), make([]string, count)
	err := call(func() int32 {
		return cArrayStrings(e.file.handle, e.index, start(e.path), uintptr(len(e.path)), start(addresses), start(lengths),
			uintptr(count))
	})
	if err != nil {
		return nil, err
	}
	for i, address := range addresses {
		texts[i] = goStringOf(address, lengths[i])
	}
	return texts, nil
}

// elements copies an array of numbers.
func elements[T any](e entry, count int) (any, error) {
	var data unsafe.Pointer
	var length uintptr
	err := call(func() int32 {
		return cArrayData(e.file.handle, e.index, start(e.path), uintptr(len(e.path)), &data, &length)
	})
	if err != nil {
		return nil, err
	}
	values := make([]T, count)
	_, err = binary.Decode(unsafe.Slice((*byte)(data), length), binary.LittleEndian, values)
	return values, err
}

func (e entry) value(typ ValueType) (any, error) {
	at := func(read func(handle, uint64, *uint64, uintptr) int32) error {
		return call(func() int32 { return read(e.file.handle, e.index, start(e.path), uintptr(len(e.path))) })
	}
	switch typ {
	case String:
		return e.text()
	case Array:
		return e.values()
	case Bool:
		var value bool
		err := at(func(h handle, i uint64, p *uint64, n uintptr) int32 { return cElementBool(h, i, p, n, &value) })
		return value, err
	case Float32, Float64:
		var value float64
		err := at(func(h handle, i uint64, p *uint64, n uintptr) int32 { return cElementF64(h, i, p, n, &value) })
		if typ == Float32 {
			return float32(value), err
		}
		return value, err
	case Int8, Int16, Int32, Int64:
		var value int64
		err := at(func(h handle, i uint64, p *uint64, n uintptr) int32 { return cElementI64(h, i, p, n, &value) })
		return map[ValueType]any{Int8: int8(value), Int16: int16(value), Int32: int32(value), Int64: value}[typ], err
	default:
		var value uint64
		err := at(func(h handle, i uint64, p *uint64, n uintptr) int32 { return cElementU64(h, i, p, n, &value) })
		return map[ValueType]any{
			Uint8: uint8(value), Uint16: uint16(value), Uint32: uint32(value), Uint64: value,
		}[typ], err
	}
}

func (e entry) values() (any, error) {
	typ, count, err := e.array()
	if err != nil {
		return nil, err
	}
	switch typ {
	case String:
		return e.texts(count)
	case Array:
		values := make([]any, count)
		for i := range values {
			inner := entry{e.file, e.index, append(append([]uint64{}, e.path...), uint64(i))}
			if values[i], err = inner.value(typ); err != nil {
				return nil, err
			}
		}
		return values, nil
	case Uint8:
		return elements[uint8](e, count)
	case Int8:
		return elements[int8](e, count)
	case Uint16:
		return elements[uint16](e, count)
	case Int16:
		return elements[int16](e, count)
	case Uint32:
		return elements[uint32](e, count)
	case Int32:
		return elements[int32](e, count)
	case Uint64:
		return elements[uint64](e, count)
	case Int64:
		return elements[int64](e, count)
	case Float32:
		return elements[float32](e, count)
	case Float64:
		return elements[float64](e, count)
	default:
		return elements[bool](e, count)
	}
}
