//go:build !cgo || gguffuse_purego

package gguffuse

// The library, loaded when it is first needed, without cgo. purego keeps what pointers point to alive and in its place
// during a call, and the library keeps nothing after it.

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"unsafe"

	"github.com/ebitengine/purego"
)

var (
	cABIVersion    func() uint32
	cVersionString func() unsafe.Pointer
	cStatusName    func(int32) unsafe.Pointer
	cISAName       func(uintptr) unsafe.Pointer
	cLastError     func(*byte, uintptr) uintptr

	cFileOpen       func(*byte, *openOptions, *handle) int32
	cFileOpenMemory func(*byte, uintptr, *openOptions, *handle) int32
	cFileClose      func(handle) int32
	cFileVerify     func(handle) int32
	cFileInfo       func(handle, *fileInfo) int32
	cTensorFind     func(handle, *byte, *uint64) int32
	cTensorInfo     func(handle, uint64, *tensorInfo) int32

	cMetadataFind  func(handle, *byte, *uint64) int32
	cMetadataKey   func(handle, uint64, *unsafe.Pointer, *uintptr) int32
	cMetadataType  func(handle, uint64, *uint32) int32
	cArrayInfo     func(handle, uint64, *uint64, uintptr, *uint32, *uint64) int32
	cArrayData     func(handle, uint64, *uint64, uintptr, *unsafe.Pointer, *uintptr) int32
	cArrayStrings  func(handle, uint64, *uint64, uintptr, *unsafe.Pointer, *uintptr, uintptr) int32
	cElementU64    func(handle, uint64, *uint64, uintptr, *uint64) int32
	cElementI64    func(handle, uint64, *uint64, uintptr, *int64) int32
	cElementF64    func(handle, uint64, *uint64, uintptr, *float64) int32
	cElementBool   func(handle, uint64, *uint64, uintptr, *bool) int32
	cElementString func(handle, uint64, *uint64, uintptr, *unsafe.Pointer, *uintptr) int32

	cTypeInfo     func(uint32, *typeInfo) int32
	cRowSize      func(uint32, uint64, *uintptr) int32
	cDequantize   func(uint32, unsafe.Pointer, uintptr, *float32, uintptr) int32
	cQuantizeWith func(handle, uint32, *float32, uintptr, uintptr, *float32, *byte, uintptr) int32

	cContextNew  func(*contextOptions, *handle) int32
	cContextFree func(handle) int32
	cContextISA  func(handle) unsafe.Pointer

	cValidate       func(handle, uint32, *byte, uintptr, *uint64) int32
	cTensorValidate func(handle, handle, uint64, *uint64) int32

	cActivationsNew  func(*handle) int32
	cActivationsFree func(handle) int32

	cWriterNew            func(*writerOptions, *handle) int32
	cWriterFree           func(handle) int32
	cWriterAddTensor      func(handle, *byte, uint32, uint32, *uint64, *byte, uintptr) int32
	cWriterSize           func(handle, *uint64) int32
	cWriterWriteMemory    func(handle, *byte, uintptr, *uintptr) int32
	cWriterWriteFile      func(handle, *byte) int32
	cWriterSetU8          func(handle, *byte, uint8) int32
	cWriterSetI8          func(handle, *byte, int8) int32
	cWriterSetU16         func(handle, *byte, uint16) int32
	cWriterSetI16         func(handle, *byte, int16) int32
	cWriterSetU32         func(handle, *byte, uint32) int32
	cWriterSetI32         func(handle, *byte, int32) int32
	cWriterSetU64         func(handle, *byte, uint64) int32
	cWriterSetI64         func(handle, *byte, int64) int32
	cWriterSetF32         func(handle, *byte, float32) int32
	cWriterSetF64         func(handle, *byte, float64) int32
	cWriterSetBool        func(handle, *byte, bool) int32
	cWriterSetString      func(handle, *byte, *byte, uintptr) int32
	cWriterSetArray       func(handle, *byte, uint32, *byte, uintptr) int32
	cWriterSetStringArray func(handle, *byte, **byte, *uintptr, uintptr) int32
	cWriterSetNestedArray func(handle, *byte, **byte, uintptr) int32
	cWriterCopyMetadata   func(handle, handle, *byte) int32
	cWriterRemoveMetadata func(handle, *byte) int32

	// x, its length, stride and rows; y, its length and stride, at the end of each.
	matmul func(
		handle, uint32, *byte, uintptr, uintptr, uintptr, *float32, uintptr, uintptr, uintptr, *float32, uintptr, uintptr,
	) int32
	matmulRows func(
		handle, uint32, *byte, uintptr, uintptr, uintptr, uintptr, uintptr, *float32, uintptr, uintptr, uintptr, *float32,
		uintptr, uintptr,
	) int32
	matmulTensor func(
		handle, handle, uint64, *float32, uintptr, uintptr, uintptr, *float32, uintptr, uintptr,
	) int32
	activationsPack   func(handle, handle, *float32, uintptr, uintptr, uintptr, uintptr) int32
	activationsMatmul func(
		handle, handle, uint32, *byte, uintptr, uintptr, uintptr, *float32, uintptr, uintptr,
	) int32
	activationsMatmulRows func(
		handle, handle, uint32, *byte, uintptr, uintptr, uintptr, uintptr, uintptr, *float32, uintptr, uintptr,
	) int32
	activationsMatmulTensor func(handle, handle, handle, uint64, *float32, uintptr, uintptr) int32
)

func cActivationsPack(c, p handle, x *float32, length, m, k uintptr) int32 {
	return activationsPack(c, p, x, length, 0, m, k)
}

func cActivationsMatmul(c, p handle, typ uint32, w *byte, length, n, k uintptr, y *float32, yLength uintptr) int32 {
	return activationsMatmul(c, p, typ, w, length, n, k, y, yLength, 0)
}

func cActivationsMatmulRows(
	c, p handle, typ uint32, w *byte, length, n, k, begin, end uintptr, y *float32, yLength uintptr,
) int32 {
	return activationsMatmulRows(c, p, typ, w, length, n, k, begin, end, y, yLength, 0)
}

func cActivationsMatmulTensor(c, p, f handle, index uint64, y *float32, yLength uintptr) int32 {
	return activationsMatmulTensor(c, p, f, index, y, yLength, 0)
}

func cMatmul(c handle, typ uint32, w *byte, length, n, k uintptr, a *activations) int32 {
	return matmul(c, typ, w, length, n, k, a.x, a.xLength, 0, a.m, a.y, a.yLength, 0)
}

func cMatmulRows(c handle, typ uint32, w *byte, length, n, k, begin, end uintptr, a *activations) int32 {
	return matmulRows(c, typ, w, length, n, k, begin, end, a.x, a.xLength, 0, a.m, a.y, a.yLength, 0)
}

func cMatmulTensor(c, f handle, index uint64, a *activations) int32 {
	return matmulTensor(c, f, index, a.x, a.xLength, 0, a.m, a.y, a.yLength, 0)
}

var functions = map[string]any{
	"abi_version": &cABIVersion, "version_string": &cVersionString, "status_name": &cStatusName, "isa_name": &cISAName,
	"last_error": &cLastError,
	"file_open":  &cFileOpen, "file_open_memory": &cFileOpenMemory, "file_close": &cFileClose,
	"file_verify": &cFileVerify, "file_info": &cFileInfo,
	"tensor_find": &cTensorFind, "tensor_info": &cTensorInfo,
	"metadata_find": &cMetadataFind, "metadata_key": &cMetadataKey, "metadata_type": &cMetadataType,
	"metadata_array_info": &cArrayInfo, "metadata_array_data": &cArrayData, "metadata_array_strings": &cArrayStrings,
	"metadata_element_u64": &cElementU64, "metadata_element_i64": &cElementI64, "metadata_element_f64": &cElementF64,
	"metadata_element_bool": &cElementBool, "metadata_element_string": &cElementString,
	"type_info": &cTypeInfo, "row_size": &cRowSize, "dequantize": &cDequantize, "quantize_with": &cQuantizeWith,
	"context_new": &cContextNew, "context_free": &cContextFree, "context_isa": &cContextISA,
	"matmul": &matmul, "matmul_rows": &matmulRows, "matmul_tensor": &matmulTensor,
	"activations_new": &cActivationsNew, "activations_free": &cActivationsFree, "activations_pack": &activationsPack,
	"activations_matmul": &activationsMatmul, "activations_matmul_rows": &activationsMatmulRows,
	"activations_matmul_tensor": &activationsMatmulTensor,
	"validate":                  &cValidate, "tensor_validate": &cTensorValidate,
	"writer_new": &cWriterNew, "writer_free": &cWriterFree, "writer_add_tensor": &cWriterAddTensor,
	"writer_size": &cWriterSize, "writer_write_memory": &cWriterWriteMemory, "writer_write_file": &cWriterWriteFile,
	"writer_set_u8": &cWriterSetU8, "writer_set_i8": &cWriterSetI8, "writer_set_u16": &cWriterSetU16,
	"writer_set_i16": &cWriterSetI16, "writer_set_u32": &cWriterSetU32, "writer_set_i32": &cWriterSetI32,
	"writer_set_u64": &cWriterSetU64, "writer_set_i64": &cWriterSetI64, "writer_set_f32": &cWriterSetF32,
	"writer_set_f64": &cWriterSetF64, "writer_set_bool": &cWriterSetBool, "writer_set_string": &cWriterSetString,
	"writer_set_array": &cWriterSetArray, "writer_set_string_array": &cWriterSetStringArray,
	"writer_set_nested_array": &cWriterSetNestedArray,
	"writer_copy_metadata":    &cWriterCopyMetadata, "writer_remove_metadata": &cWriterRemoveMetadata,
}

// places are where the library is looked for, in this order: the file that GGUFFUSE_LIBRARY names, and nowhere else if
// it does; beside the executable; where the system's loader looks.
func places() []string {
	if given := os.Getenv("GGUFFUSE_LIBRARY"); given != "" {
		return []string{given}
	}
	name := map[string]string{"darwin": "libgguffuse.dylib"}[runtime.GOOS]
	if name == "" {
		name = "libgguffuse.so.0" // the SONAME, which has the ABI's number
	}
	found := []string{name}
	if executable, err := os.Executable(); err == nil {
		found = append([]string{filepath.Join(filepath.Dir(executable), name)}, found...)
	}
	return found
}

func open() error {
	var failures []error
	for _, place := range places() {
		library, err := purego.Dlopen(place, purego.RTLD_NOW|purego.RTLD_LOCAL)
		if err != nil {
			failures = append(failures, err)
			continue
		}
		return register(library)
	}
	return errors.Join(append([]error{errors.New("gguffuse: the library is not found; GGUFFUSE_LIBRARY may name it")},
		failures...)...)
}

func register(library uintptr) error {
	for name, function := range functions {
		symbol, err := purego.Dlsym(library, "gguffuse_"+name)
		if err != nil {
			return err
		}
		purego.RegisterFunc(function, symbol)
	}
	return nil
}
