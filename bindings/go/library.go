package gguffuse

import (
	"fmt"
	"runtime"
	"sync"
	"unsafe"
)

// What both ways to the library share: the structs of its interface, and how a call becomes an error. The functions
// themselves, named c..., are in library_cgo.go and library_purego.go, with the same signatures. Handles are numbers that
// nobody dereferences; pointers that the library writes point to its own memory.

const abiVersion = 0

type handle uintptr

type openOptions struct {
	structSize       uintptr
	maxMetadataBytes uint64
	copyFile         uint32
	reserved         uint32
}

type fileInfo struct {
	structSize         uintptr
	version, alignment uint32
	tensorCount        uint64
	metadataCount      uint64
	dataOffset         uint64
	sizeBytes          uint64
}

type tensorInfo struct {
	structSize     uintptr
	name           unsafe.Pointer
	nameLength     uintptr
	typ, nDims     uint32
	dims           [4]uint64
	relativeOffset uint64
	absoluteOffset uint64
	sizeBytes      uint64
	data           unsafe.Pointer
}

type typeInfo struct {
	structSize                uintptr
	name                      unsafe.Pointer
	blockElements, blockBytes uint32
	canMatmul, canQuantize    uint32
}

type contextOptions struct {
	structSize         uintptr
	threads, precision uint32
	maxISA             *byte
}

type writerOptions struct {
	structSize         uintptr
	version, alignment uint32
}

// activations are the arguments about x and y that all products have.
type activations struct {
	x       *float32
	xLength uintptr
	m       uintptr
	y       *float32
	yLength uintptr
}

// load finds the library, once; its error is that of every call.
var load = sync.OnceValue(func() error {
	if err := open(); err != nil {
		return err
	}
	if found := cABIVersion(); found != abiVersion {
		return fmt.Errorf("gguffuse: the library has binary interface %d, this package is made for %d", found, abiVersion)
	}
	return nil
})

// call runs a function of the library. The text of an error belongs to the thread that made the call: the goroutine stays
// on it until the text is fetched.
func call(function func() int32) error {
	if err := load(); err != nil {
		return err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	status := function()
	if status == 0 {
		return nil
	}
	var text [512]byte
	needed := cLastError(&text[0], uintptr(len(text)))
	length := min(int(needed), len(text)) - 1
	return &Error{Status: Status(status), Text: string(text[:max(length, 0)])}
}

// cString is a C string, or an error that says what has a NUL in it.
func cString(text, what string) (*byte, error) {
	for i := range len(text) {
		if text[i] == 0 {
			return nil, &Error{Status: ErrInvalidArgument, Text: what + " has a NUL in it"}
		}
	}
	return unsafe.SliceData(append([]byte(text), 0)), nil
}

// goString copies a NUL-terminated string of the library; "" for NULL.
func goString(text unsafe.Pointer) string {
	if text == nil {
		return ""
	}
	length := 0
	for *(*byte)(unsafe.Add(text, length)) != 0 {
		length++
	}
	return goStringOf(text, uintptr(length))
}

// goStringOf copies a string of the library.
func goStringOf(text unsafe.Pointer, length uintptr) string {
	return string(unsafe.Slice((*byte)(text), length))
}

// start is the address of a slice's first element; of a slice of none, one that is not NULL, as the library wants.
func start[T any](slice []T) *T {
	if len(slice) == 0 {
		return new(T)
	}
	return unsafe.SliceData(slice)
}

func sizes(numbers ...int) error {
	for _, number := range numbers {
		if number < 0 {
			return &Error{Status: ErrInvalidArgument, Text: fmt.Sprintf("a size of %d", number)}
		}
	}
	return nil
}
