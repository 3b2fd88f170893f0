// Package gguffuse opens GGUF model files, tells where every tensor lies, and multiplies activations by quantised weights
// with the fused kernels of libgguffuse.
//
// It is built with cgo, and pkg-config then finds the library; or without (CGO_ENABLED=0, or the build tag
// gguffuse_purego), and the library is then loaded when it is first needed. The API is the same.
//
// Any value may be used by any number of goroutines at a time. Close a File or a Context, or leave it to the garbage
// collector.
package gguffuse

import (
	"io/fs"
	"os"
	"unsafe"
)

// File is an open GGUF file.
type File struct {
	Version    uint32 // of the format, 2 or 3
	Alignment  uint32 // of every tensor, in bytes
	DataOffset uint64 // where the data section begins, from the start of the file
	Size       uint64 // of the whole file, in bytes

	tensorCount, metadataCount uint64

	*resource
}

// Options say how to open a file; nil: defaults.
type Options struct {
	MaxMetadataBytes uint64 // more before the data section is ErrLimit; 0: 256 MiB
	Copy             bool   // the file is read into memory: what happens to it later doesn't matter
}

func sizeOf[T any](value T) uintptr { return unsafe.Sizeof(value) }

func (o *Options) native() *openOptions {
	options := &openOptions{}
	options.structSize = sizeOf(*options)
	if o != nil {
		options.maxMetadataBytes = o.MaxMetadataBytes
		if o.Copy {
			options.copyFile = 1
		}
	}
	return options
}

// Open opens the GGUF file at path and checks all of its metadata. The tensors' bytes are mapped, not read.
func Open(path string, options *Options) (*File, error) {
	name, err := cString(path, "path")
	if err != nil {
		return nil, err
	}
	f := &File{}
	if err := f.open(func(out *handle) int32 { return cFileOpen(name, options.native(), out) }); err != nil {
		if refused, ok := err.(*Error); ok && refused.Status == ErrIO {
			if _, missing := os.Stat(path); missing != nil {
				refused.cause = missing
			} else {
				refused.cause = fs.ErrPermission
			}
		}
		return nil, err
	}
	return f, nil
}

// OpenMemory opens a GGUF file that lies in memory, as one that is embedded in the program. It isn't copied, and must stay
// unchanged until the file is closed; unless options say Copy, and it isn't needed afterwards.
func OpenMemory(data []byte, options *Options) (*File, error) {
	f, unpin := &File{}, pin(data)
	err := f.open(func(out *handle) int32 {
		return cFileOpenMemory(start(data), uintptr(len(data)), options.native(), out)
	})
	if err != nil || (options != nil && options.Copy) {
		unpin()
	} else {
		f.keep(unpin)
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (f *File) open(with func(out *handle) int32) error {
	// By itself: cgo wants no memory that holds Go's pointers, as f does.
	var opened handle
	if err := call(func() int32 { return with(&opened) }); err != nil {
		return err
	}
	f.resource = own(f, opened, cFileClose, "the file")
	info := fileInfo{}
	info.structSize = sizeOf(info)
	if err := call(func() int32 { return cFileInfo(f.handle, &info) }); err != nil {
		return err
	}
	f.Version, f.Alignment, f.DataOffset, f.Size = info.version, info.alignment, info.dataOffset, info.sizeBytes
	f.tensorCount, f.metadataCount = info.tensorCount, info.metadataCount
	return nil
}

// Close closes the file. It returns at once: calls of other goroutines that are using it finish, and its memory goes with
// the last of them. Afterwards, and for a second Close, everything that needs the file is ErrInvalidHandle.
func (f *File) Close() error { return f.resource.close() }

// Verify tells whether the file on disk is still what was opened. ErrTruncated: it is shorter, and reading its tensors may
// end the process with SIGBUS. ErrChanged: it was written to, or its path stands for another file or none. What was copied
// or opened from memory is always well.
func (f *File) Verify() error {
	return f.use(func() error { return call(func() int32 { return cFileVerify(f.handle) }) })
}

// use runs a function of the library with the file, which isn't closed before it is over.
func (f *File) use(function func() error) error {
	if f == nil {
		return &Error{Status: ErrInvalidHandle, Text: "the file is nil"}
	}
	return f.resource.use(function)
}

// Len is the number of tensors.
func (f *File) Len() int { return int(f.tensorCount) }

// Tensors are all tensors, in the file's order.
func (f *File) Tensors() ([]*Tensor, error) {
	tensors := make([]*Tensor, f.tensorCount)
	err := f.use(func() error {
		for index := range tensors {
			tensor, err := f.tensor(uint64(index))
			if err != nil {
				return err
			}
			tensors[index] = tensor
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return tensors, nil
}

// Tensor is the tensor of that name. ErrNotFound: there is none.
func (f *File) Tensor(name string) (*Tensor, error) {
	cName, err := cString(name, "name")
	if err != nil {
		return nil, &Error{Status: ErrNotFound, Text: "names have no NUL in them"}
	}
	var tensor *Tensor
	err = f.use(func() error {
		var index uint64
		if err := call(func() int32 { return cTensorFind(f.handle, cName, &index) }); err != nil {
			return err
		}
		tensor, err = f.tensor(index)
		return err
	})
	return tensor, err
}
