//go:build cgo && !gguffuse_purego

package gguffuse

// The library, linked with cgo: pkg-config says where it is. Go's slices go in as they are: cgo keeps them where they are
// during a call, and the library keeps nothing after it.

/*
#cgo pkg-config: gguffuse
#include <gguffuse.h>

// Handles are numbers in Go: converted here, where that is no misuse of a pointer.
static gguffuse_file *as_file(uintptr_t handle) { return (gguffuse_file *)handle; }
static gguffuse_context *as_context(uintptr_t handle) { return (gguffuse_context *)handle; }
static gguffuse_activations *as_activations(uintptr_t handle) { return (gguffuse_activations *)handle; }
static gguffuse_writer *as_writer(uintptr_t handle) { return (gguffuse_writer *)handle; }
*/
import "C"

import "unsafe"

// The structs of library.go are as long as the header's, or this doesn't compile.
var (
	_ = [C.sizeof_gguffuse_open_options]byte([unsafe.Sizeof(openOptions{})]byte{})
	_ = [C.sizeof_struct_gguffuse_file_info]byte([unsafe.Sizeof(fileInfo{})]byte{})
	_ = [C.sizeof_struct_gguffuse_tensor_info]byte([unsafe.Sizeof(tensorInfo{})]byte{})
	_ = [C.sizeof_struct_gguffuse_type_info]byte([unsafe.Sizeof(typeInfo{})]byte{})
	_ = [C.sizeof_gguffuse_context_options]byte([unsafe.Sizeof(contextOptions{})]byte{})
	_ = [C.sizeof_gguffuse_writer_options]byte([unsafe.Sizeof(writerOptions{})]byte{})
)

func open() error { return nil }

func file(h handle) *C.gguffuse_file       { return C.as_file(C.uintptr_t(h)) }
func context(h handle) *C.gguffuse_context { return C.as_context(C.uintptr_t(h)) }

func packed(h handle) *C.gguffuse_activations {
	return C.as_activations(C.uintptr_t(h))
}

func writer(h handle) *C.gguffuse_writer { return C.as_writer(C.uintptr_t(h)) }

func chars(text *byte) *C.char           { return (*C.char)(unsafe.Pointer(text)) }
func text(out *unsafe.Pointer) **C.char  { return (**C.char)(unsafe.Pointer(out)) }
func numbers(path *uint64) *C.uint64_t   { return (*C.uint64_t)(unsafe.Pointer(path)) }
func size(out *uintptr) *C.size_t        { return (*C.size_t)(unsafe.Pointer(out)) }
func floats(start *float32) *C.float     { return (*C.float)(unsafe.Pointer(start)) }
func number32(out *uint32) *C.uint32_t   { return (*C.uint32_t)(unsafe.Pointer(out)) }
func bytesAt(start *byte) unsafe.Pointer { return unsafe.Pointer(start) }
func options(o *openOptions) *C.gguffuse_open_options {
	return (*C.gguffuse_open_options)(unsafe.Pointer(o))
}

func cABIVersion() uint32                { return uint32(C.gguffuse_abi_version()) }
func cVersionString() unsafe.Pointer     { return unsafe.Pointer(C.gguffuse_version_string()) }
func cStatusName(s int32) unsafe.Pointer { return unsafe.Pointer(C.gguffuse_status_name(C.int32_t(s))) }
func cISAName(index uintptr) unsafe.Pointer {
	return unsafe.Pointer(C.gguffuse_isa_name(C.size_t(index)))
}
func cLastError(buffer *byte, capacity uintptr) uintptr {
	return uintptr(C.gguffuse_last_error(chars(buffer), C.size_t(capacity)))
}

func cFileOpen(path *byte, o *openOptions, out *handle) int32 {
	return int32(C.gguffuse_file_open(chars(path), options(o), (**C.gguffuse_file)(unsafe.Pointer(out))))
}
func cFileOpenMemory(data *byte, length uintptr, o *openOptions, out *handle) int32 {
	return int32(C.gguffuse_file_open_memory(bytesAt(data), C.size_t(length), options(o),
		(**C.gguffuse_file)(unsafe.Pointer(out))))
}
func cFileClose(f handle) int32  { return int32(C.gguffuse_file_close(file(f))) }
func cFileVerify(f handle) int32 { return int32(C.gguffuse_file_verify(file(f))) }
func cFileInfo(f handle, out *fileInfo) int32 {
	return int32(C.gguffuse_file_info(file(f), (*C.struct_gguffuse_file_info)(unsafe.Pointer(out))))
}
func cTensorFind(f handle, name *byte, index *uint64) int32 {
	return int32(C.gguffuse_tensor_find(file(f), chars(name), numbers(index)))
}
func cTensorInfo(f handle, index uint64, out *tensorInfo) int32 {
	return int32(C.gguffuse_tensor_info(file(f), C.uint64_t(index), (*C.struct_gguffuse_tensor_info)(unsafe.Pointer(out))))
}

func cMetadataFind(f handle, key *byte, index *uint64) int32 {
	return int32(C.gguffuse_metadata_find(file(f), chars(key), numbers(index)))
}
func cMetadataKey(f handle, index uint64, key *unsafe.Pointer, length *uintptr) int32 {
	return int32(C.gguffuse_metadata_key(file(f), C.uint64_t(index), text(key), size(length)))
}
func cMetadataType(f handle, index uint64, typ *uint32) int32 {
	return int32(C.gguffuse_metadata_type(file(f), C.uint64_t(index), number32(typ)))
}
func cArrayInfo(f handle, index uint64, path *uint64, steps uintptr, typ *uint32, count *uint64) int32 {
	return int32(C.gguffuse_metadata_array_info(file(f), C.uint64_t(index), numbers(path), C.size_t(steps), number32(typ),
		numbers(count)))
}
func cArrayData(f handle, index uint64, path *uint64, steps uintptr, data *unsafe.Pointer, length *uintptr) int32 {
	return int32(C.gguffuse_metadata_array_data(file(f), C.uint64_t(index), numbers(path), C.size_t(steps), data,
		size(length)))
}
func cArrayStrings(
	f handle, index uint64, path *uint64, steps uintptr, strings *unsafe.Pointer, lengths *uintptr, capacity uintptr,
) int32 {
	return int32(C.gguffuse_metadata_array_strings(file(f), C.uint64_t(index), numbers(path), C.size_t(steps),
		text(strings), size(lengths), C.size_t(capacity)))
}
func cElementU64(f handle, index uint64, path *uint64, steps uintptr, out *uint64) int32 {
	return int32(C.gguffuse_metadata_element_u64(file(f), C.uint64_t(index), numbers(path), C.size_t(steps), numbers(out)))
}
func cElementI64(f handle, index uint64, path *uint64, steps uintptr, out *int64) int32 {
	return int32(C.gguffuse_metadata_element_i64(file(f), C.uint64_t(index), numbers(path), C.size_t(steps),
		(*C.int64_t)(unsafe.Pointer(out))))
}
func cElementF64(f handle, index uint64, path *uint64, steps uintptr, out *float64) int32 {
	return int32(C.gguffuse_metadata_element_f64(file(f), C.uint64_t(index), numbers(path), C.size_t(steps),
		(*C.double)(unsafe.Pointer(out))))
}
func cElementBool(f handle, index uint64, path *uint64, steps uintptr, out *bool) int32 {
	return int32(C.gguffuse_metadata_element_bool(file(f), C.uint64_t(index), numbers(path), C.size_t(steps),
		(*C.bool)(unsafe.Pointer(out))))
}
func cElementString(f handle, index uint64, path *uint64, steps uintptr, out *unsafe.Pointer, length *uintptr) int32 {
	return int32(C.gguffuse_metadata_element_string(file(f), C.uint64_t(index), numbers(path), C.size_t(steps), text(out),
		size(length)))
}

func cTypeInfo(typ uint32, out *typeInfo) int32 {
	return int32(C.gguffuse_type_info(C.uint32_t(typ), (*C.struct_gguffuse_type_info)(unsafe.Pointer(out))))
}
func cRowSize(typ uint32, k uint64, bytes *uintptr) int32 {
	return int32(C.gguffuse_row_size(C.uint32_t(typ), C.uint64_t(k), size(bytes)))
}
func cDequantize(typ uint32, source unsafe.Pointer, length uintptr, out *float32, outLength uintptr) int32 {
	return int32(C.gguffuse_dequantize(C.uint32_t(typ), source, C.size_t(length), floats(out), C.size_t(outLength)))
}
func cQuantizeWith(
	c handle, typ uint32, source *float32, rows, k uintptr, importance *float32, out *byte, length uintptr,
) int32 {
	return int32(C.gguffuse_quantize_with(context(c), C.uint32_t(typ), floats(source), C.size_t(rows), C.size_t(k),
		floats(importance), bytesAt(out), C.size_t(length)))
}

func cContextNew(o *contextOptions, out *handle) int32 {
	return int32(C.gguffuse_context_new((*C.gguffuse_context_options)(unsafe.Pointer(o)),
		(**C.gguffuse_context)(unsafe.Pointer(out))))
}
func cContextFree(c handle) int32 { return int32(C.gguffuse_context_free(context(c))) }
func cContextISA(c handle) unsafe.Pointer {
	return unsafe.Pointer(C.gguffuse_context_isa(context(c)))
}

func cMatmul(c handle, typ uint32, w *byte, length, n, k uintptr, a *activations) int32 {
	return int32(C.gguffuse_matmul(context(c), C.uint32_t(typ), bytesAt(w), C.size_t(length), C.size_t(n), C.size_t(k),
		floats(a.x), C.size_t(a.xLength), 0, C.size_t(a.m), floats(a.y), C.size_t(a.yLength), 0))
}
func cMatmulRows(c handle, typ uint32, w *byte, length, n, k, begin, end uintptr, a *activations) int32 {
	return int32(C.gguffuse_matmul_rows(context(c), C.uint32_t(typ), bytesAt(w), C.size_t(length), C.size_t(n), C.size_t(k),
		C.size_t(begin), C.size_t(end), floats(a.x), C.size_t(a.xLength), 0, C.size_t(a.m), floats(a.y),
		C.size_t(a.yLength), 0))
}
func cMatmulTensor(c, f handle, index uint64, a *activations) int32 {
	return int32(C.gguffuse_matmul_tensor(context(c), file(f), C.uint64_t(index), floats(a.x), C.size_t(a.xLength), 0,
		C.size_t(a.m), floats(a.y), C.size_t(a.yLength), 0))
}
func cActivationsNew(out *handle) int32 {
	return int32(C.gguffuse_activations_new((**C.gguffuse_activations)(unsafe.Pointer(out))))
}
func cActivationsFree(p handle) int32 { return int32(C.gguffuse_activations_free(packed(p))) }
func cActivationsPack(c, p handle, x *float32, length, m, k uintptr) int32 {
	return int32(C.gguffuse_activations_pack(context(c), packed(p), floats(x), C.size_t(length), 0, C.size_t(m),
		C.size_t(k)))
}
func cActivationsMatmul(c, p handle, typ uint32, w *byte, length, n, k uintptr, y *float32, yLength uintptr) int32 {
	return int32(C.gguffuse_activations_matmul(context(c), packed(p), C.uint32_t(typ), bytesAt(w), C.size_t(length),
		C.size_t(n), C.size_t(k), floats(y), C.size_t(yLength), 0))
}
func cActivationsMatmulRows(
	c, p handle, typ uint32, w *byte, length, n, k, begin, end uintptr, y *float32, yLength uintptr,
) int32 {
	return int32(C.gguffuse_activations_matmul_rows(context(c), packed(p), C.uint32_t(typ), bytesAt(w), C.size_t(length),
		C.size_t(n), C.size_t(k), C.size_t(begin), C.size_t(end), floats(y), C.size_t(yLength), 0))
}
func cActivationsMatmulTensor(c, p, f handle, index uint64, y *float32, yLength uintptr) int32 {
	return int32(C.gguffuse_activations_matmul_tensor(context(c), packed(p), file(f), C.uint64_t(index), floats(y),
		C.size_t(yLength), 0))
}

func cValidate(c handle, typ uint32, data *byte, length uintptr, bad *uint64) int32 {
	return int32(C.gguffuse_validate(context(c), C.uint32_t(typ), bytesAt(data), C.size_t(length), numbers(bad)))
}
func cTensorValidate(c, f handle, index uint64, bad *uint64) int32 {
	return int32(C.gguffuse_tensor_validate(context(c), file(f), C.uint64_t(index), numbers(bad)))
}

func cWriterNew(o *writerOptions, out *handle) int32 {
	return int32(C.gguffuse_writer_new((*C.gguffuse_writer_options)(unsafe.Pointer(o)),
		(**C.gguffuse_writer)(unsafe.Pointer(out))))
}
func cWriterFree(w handle) int32 { return int32(C.gguffuse_writer_free(writer(w))) }
func cWriterAddTensor(w handle, name *byte, typ, nDims uint32, dims *uint64, data *byte, length uintptr) int32 {
	return int32(C.gguffuse_writer_add_tensor(writer(w), chars(name), C.uint32_t(typ), C.uint32_t(nDims), numbers(dims),
		bytesAt(data), C.size_t(length)))
}
func cWriterSize(w handle, bytes *uint64) int32 {
	return int32(C.gguffuse_writer_size(writer(w), numbers(bytes)))
}
func cWriterWriteMemory(w handle, buffer *byte, capacity uintptr, written *uintptr) int32 {
	return int32(C.gguffuse_writer_write_memory(writer(w), bytesAt(buffer), C.size_t(capacity), size(written)))
}
func cWriterWriteFile(w handle, path *byte) int32 {
	return int32(C.gguffuse_writer_write_file(writer(w), chars(path)))
}
func cWriterSetU8(w handle, key *byte, value uint8) int32 {
	return int32(C.gguffuse_writer_set_u8(writer(w), chars(key), C.uint8_t(value)))
}
func cWriterSetI8(w handle, key *byte, value int8) int32 {
	return int32(C.gguffuse_writer_set_i8(writer(w), chars(key), C.int8_t(value)))
}
func cWriterSetU16(w handle, key *byte, value uint16) int32 {
	return int32(C.gguffuse_writer_set_u16(writer(w), chars(key), C.uint16_t(value)))
}
func cWriterSetI16(w handle, key *byte, value int16) int32 {
	return int32(C.gguffuse_writer_set_i16(writer(w), chars(key), C.int16_t(value)))
}
func cWriterSetU32(w handle, key *byte, value uint32) int32 {
	return int32(C.gguffuse_writer_set_u32(writer(w), chars(key), C.uint32_t(value)))
}
func cWriterSetI32(w handle, key *byte, value int32) int32 {
	return int32(C.gguffuse_writer_set_i32(writer(w), chars(key), C.int32_t(value)))
}
func cWriterSetU64(w handle, key *byte, value uint64) int32 {
	return int32(C.gguffuse_writer_set_u64(writer(w), chars(key), C.uint64_t(value)))
}
func cWriterSetI64(w handle, key *byte, value int64) int32 {
	return int32(C.gguffuse_writer_set_i64(writer(w), chars(key), C.int64_t(value)))
}
func cWriterSetF32(w handle, key *byte, value float32) int32 {
	return int32(C.gguffuse_writer_set_f32(writer(w), chars(key), C.float(value)))
}
func cWriterSetF64(w handle, key *byte, value float64) int32 {
	return int32(C.gguffuse_writer_set_f64(writer(w), chars(key), C.double(value)))
}
func cWriterSetBool(w handle, key *byte, value bool) int32 {
	return int32(C.gguffuse_writer_set_bool(writer(w), chars(key), C.bool(value)))
}
func cWriterSetString(w handle, key, text *byte, length uintptr) int32 {
	return int32(C.gguffuse_writer_set_string(writer(w), chars(key), chars(text), C.size_t(length)))
}
func cWriterSetArray(w handle, key *byte, typ uint32, data *byte, count uintptr) int32 {
	return int32(C.gguffuse_writer_set_array(writer(w), chars(key), C.uint32_t(typ), bytesAt(data), C.size_t(count)))
}
func cWriterSetStringArray(w handle, key *byte, texts **byte, lengths *uintptr, count uintptr) int32 {
	return int32(C.gguffuse_writer_set_string_array(writer(w), chars(key), (**C.char)(unsafe.Pointer(texts)), size(lengths),
		C.size_t(count)))
}
func cWriterSetNestedArray(w handle, key *byte, keys **byte, count uintptr) int32 {
	return int32(C.gguffuse_writer_set_nested_array(writer(w), chars(key), (**C.char)(unsafe.Pointer(keys)), C.size_t(count)))
}
func cWriterCopyMetadata(w, f handle, key *byte) int32 {
	return int32(C.gguffuse_writer_copy_metadata(writer(w), file(f), chars(key)))
}
func cWriterRemoveMetadata(w handle, key *byte) int32 {
	return int32(C.gguffuse_writer_remove_metadata(writer(w), chars(key)))
}
