package gguffuse

import (
	"encoding/binary"
	"fmt"
	"unsafe"
)

// Writer is a GGUF file that is being made. Metadata and tensors are written in the order in which they were added. A call
// that fails leaves it as it was. Goroutines may share one; a call that meets another one's that changes it is ErrBusy.
type Writer struct {
	*resource
}

// WriterOptions say what file is made; nil: defaults.
type WriterOptions struct {
	Version   uint32 // of the format, 2 or 3; 0: 3
	Alignment uint32 // of every tensor, in bytes, a power of two; 0: 32
}

// NewWriter makes a writer of a file without metadata and tensors. Close it, or leave it to the garbage collector.
func NewWriter(options *WriterOptions) (*Writer, error) {
	native := writerOptions{}
	native.structSize = sizeOf(native)
	if options != nil {
		native.version, native.alignment = options.Version, options.Alignment
	}
	var made handle
	if err := call(func() int32 { return cWriterNew(&native, &made) }); err != nil {
		return nil, err
	}
	w := &Writer{}
	w.resource = own(w, made, cWriterFree, "the writer")
	return w, nil
}

// Close frees the writer, and what was borrowed for its tensors. Calls of other goroutines that are using it finish.
func (w *Writer) Close() error { return w.resource.close() }

// with hands a text to a function of the library.
func (w *Writer) with(what, text string, function func(text *byte) int32) error {
	c, err := cString(text, what)
	if err != nil {
		return err
	}
	return w.use(func() error { return call(func() int32 { return function(c) }) })
}

// Set sets a metadata entry: a new one, or another value for a key that is there, which keeps its place. The value's type in
// Go is its type in the file: sized integers, floats, bool, string, slices of these, and []any of slices. What File.Value
// gives is taken as it is; an int has no size that is the same everywhere, and is ErrInvalidArgument.
func (w *Writer) Set(key string, value any) error {
	switch value := value.(type) {
	case bool:
		return w.with("key", key, func(k *byte) int32 { return cWriterSetBool(w.handle, k, value) })
	case uint8:
		return w.with("key", key, func(k *byte) int32 { return cWriterSetU8(w.handle, k, value) })
	case int8:
		return w.with("key", key, func(k *byte) int32 { return cWriterSetI8(w.handle, k, value) })
	case uint16:
		return w.with("key", key, func(k *byte) int32 { return cWriterSetU16(w.handle, k, value) })
	case int16:
		return w.with("key", key, func(k *byte) int32 { return cWriterSetI16(w.handle, k, value) })
	case uint32:
		return w.with("key", key, func(k *byte) int32 { return cWriterSetU32(w.handle, k, value) })
	case int32:
		return w.with("key", key, func(k *byte) int32 { return cWriterSetI32(w.handle, k, value) })
	case uint64:
		return w.with("key", key, func(k *byte) int32 { return cWriterSetU64(w.handle, k, value) })
	case int64:
		return w.with("key", key, func(k *byte) int32 { return cWriterSetI64(w.handle, k, value) })
	case float32:
		return w.with("key", key, func(k *byte) int32 { return cWriterSetF32(w.handle, k, value) })
	case float64:
		return w.with("key", key, func(k *byte) int32 { return cWriterSetF64(w.handle, k, value) })
	case string:
		text := []byte(value)
		return w.with("key", key, func(k *byte) int32 { return cWriterSetString(w.handle, k, start(text), uintptr(len(text))) })
	case []bool:
		return setArray(w, key, Bool, value)
	case []uint8:
		return setArray(w, key, Uint8, value)
	case []int8:
		return setArray(w, key, Int8, value)
	case []uint16:
		return setArray(w, key, Uint16, value)
	case []int16:
		return setArray(w, key, Int16, value)
	case []uint32:
		return setArray(w, key, Uint32, value)
	case []int32:
		return setArray(w, key, Int32, value)
	case []uint64:
		return setArray(w, key, Uint64, value)
	case []int64:
		return setArray(w, key, Int64, value)
	case []float32:
		return setArray(w, key, Float32, value)
	case []float64:
		return setArray(w, key, Float64, value)
	case []string:
		return w.setTexts(key, value)
	case []any:
		return w.setNested(key, value)
	}
	return &Error{Status: ErrInvalidArgument, Text: fmt.Sprintf("%s: GGUF has no %T", key, value)}
}

func setArray[T any](w *Writer, key string, typ ValueType, values []T) error {
	data, err := binary.Append(nil, binary.LittleEndian, values)
	if err != nil {
		return err
	}
	return w.with("key", key, func(k *byte) int32 {
		return cWriterSetArray(w.handle, k, uint32(typ), start(data), uintptr(len(values)))
	})
}

// addresses puts texts one behind another, each with a NUL, in memory that is pinned: C may then follow the addresses.
func addresses(texts []string) (at []*byte, lengths []uintptr, unpin func()) {
	var all []byte
	for _, text := range texts {
		all = append(append(all, text...), 0)
		lengths = append(lengths, uintptr(len(text)))
	}
	unpin = pin(all)
	offset := uintptr(0)
	for _, length := range lengths {
		at = append(at, (*byte)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(all)), offset)))
		offset += length + 1
	}
	return at, lengths, unpin
}

func (w *Writer) setTexts(key string, texts []string) error {
	at, lengths, unpin := addresses(texts)
	defer unpin()
	return w.with("key", key, func(k *byte) int32 {
		return cWriterSetStringArray(w.handle, k, start(at), start(lengths), uintptr(len(texts)))
	})
}

// setNested sets the elements as entries of their own at first, which the library then puts into one.
func (w *Writer) setNested(key string, elements []any) error {
	var keys []string
	undo := func(err error) error {
		for _, element := range keys {
			w.Remove(element)
		}
		return err
	}
	for i, element := range elements {
		name := fmt.Sprintf("%s\x1f%d", key, i)
		if err := w.Set(name, element); err != nil {
			return undo(err)
		}
		keys = append(keys, name)
	}
	at, _, unpin := addresses(keys)
	defer unpin()
	err := w.with("key", key, func(k *byte) int32 { return cWriterSetNestedArray(w.handle, k, start(at), uintptr(len(keys))) })
	if err != nil {
		return undo(err)
	}
	return nil
}

// Remove removes a metadata entry. ErrNotFound: there is none.
func (w *Writer) Remove(key string) error {
	return w.with("key", key, func(k *byte) int32 { return cWriterRemoveMetadata(w.handle, k) })
}

// CopyMetadata sets entries to the values that they have in a file; without keys, all that the file has.
func (w *Writer) CopyMetadata(f *File, keys ...string) error {
	return f.use(func() error {
		if len(keys) == 0 {
			return w.use(func() error {
				return call(func() int32 { return cWriterCopyMetadata(w.handle, f.handle, nil) })
			})
		}
		for _, key := range keys {
			err := w.with("key", key, func(k *byte) int32 { return cWriterCopyMetadata(w.handle, f.handle, k) })
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// AddTensor adds a tensor: dims with the fastest first (K, then N), data exactly what type and dims make. The data is
// borrowed until Close, not copied: it must stay unchanged as long.
func (w *Writer) AddTensor(name string, typ Type, dims []uint64, data []byte) error {
	return w.addTensor(name, typ, dims, data, pin(data))
}

// AddTensorOf adds a tensor of an open file, without a copy: the file's memory stays until Close, whoever closes the file.
func (w *Writer) AddTensorOf(t *Tensor) error {
	if err := t.file.enter(); err != nil {
		return err
	}
	info, err := t.file.info(t.index)
	if err != nil {
		t.file.leave()
		return err
	}
	data := unsafe.Slice((*byte)(info.data), info.sizeBytes)
	return w.addTensor(t.Name, t.Type, t.Dims, data, t.file.leave)
}

// addTensor has release called when the data is needed no more; at once if it is refused.
func (w *Writer) addTensor(name string, typ Type, dims []uint64, data []byte, release func()) error {
	err := w.with("name", name, func(text *byte) int32 {
		status := cWriterAddTensor(w.handle, text, uint32(typ), uint32(len(dims)), start(dims), start(data),
			uintptr(len(data)))
		if status == 0 {
			w.keep(release)
		}
		return status
	})
	if err != nil {
		release()
	}
	return err
}

// Size is the size in bytes of the file as it would be written now.
func (w *Writer) Size() (uint64, error) {
	var bytes uint64
	err := w.use(func() error { return call(func() int32 { return cWriterSize(w.handle, &bytes) }) })
	return bytes, err
}

// Bytes is the file, in memory.
func (w *Writer) Bytes() ([]byte, error) {
	needed, err := w.Size()
	if err != nil {
		return nil, err
	}
	buffer, written := make([]byte, needed), uintptr(0)
	err = w.use(func() error {
		return call(func() int32 { return cWriterWriteMemory(w.handle, start(buffer), uintptr(len(buffer)), &written) })
	})
	if err != nil {
		return nil, err
	}
	return buffer[:written], nil
}

// WriteFile writes the file at path: under another name in the same directory first, and then renamed, so that path is what
// it was before or the whole file.
func (w *Writer) WriteFile(path string) error {
	return w.with("path", path, func(name *byte) int32 { return cWriterWriteFile(w.handle, name) })
}
