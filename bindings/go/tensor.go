package gguffuse

import (
	"io"
	"runtime"
	"unsafe"
)

// Tensor is a tensor of an open file. As weights it is a matrix W of N rows and K columns, K being its first dimension and
// N the product of the others.
type Tensor struct {
	Name           string
	Type           Type
	Dims           []uint64 // the fastest first, as the file stores them: K, then N
	RelativeOffset uint64   // from the start of the data section: NOT a position in the file
	AbsoluteOffset uint64   // from the start of the file: here lies the tensor
	Size           uint64   // in bytes
	N, K           int

	file  *File
	index uint64
}

// info fetches what the library tells; its pointers are good as long as the file is in use.
func (f *File) info(index uint64) (tensorInfo, error) {
	info := tensorInfo{}
	info.structSize = sizeOf(info)
	err := call(func() int32 { return cTensorInfo(f.handle, index, &info) })
	return info, err
}

func (f *File) tensor(index uint64) (*Tensor, error) {
	info, err := f.info(index)
	if err != nil {
		return nil, err
	}
	return &Tensor{
		Name:           goStringOf(info.name, info.nameLength),
		Type:           Type(info.typ),
		Dims:           append([]uint64{}, info.dims[:info.nDims]...),
		RelativeOffset: info.relativeOffset,
		AbsoluteOffset: info.absoluteOffset,
		Size:           info.sizeBytes,
		N:              int(info.dims[1] * info.dims[2] * info.dims[3]),
		K:              int(info.dims[0]),
		file:           f,
		index:          index,
	}, nil
}

// WithData calls use with the tensor's bytes, as they lie in the file. They are read-only, and good until use returns: the
// file stays open that long, whoever closes it.
func (t *Tensor) WithData(use func(data []byte) error) error {
	return t.file.use(func() error {
		info, err := t.file.info(t.index)
		if err != nil {
			return err
		}
		return use(unsafe.Slice((*byte)(info.data), info.sizeBytes))
	})
}

// ReadAt copies bytes of the tensor, from offset bytes after its first one, as io.ReaderAt says.
func (t *Tensor) ReadAt(p []byte, offset int64) (int, error) {
	copied := 0
	err := t.WithData(func(data []byte) error {
		if offset < 0 {
			return &Error{Status: ErrInvalidArgument, Text: "a negative offset"}
		}
		if offset < int64(len(data)) {
			copied = copy(p, data[offset:])
		}
		if copied < len(p) {
			return io.EOF
		}
		return nil
	})
	return copied, err
}

// Dequantize makes float32 of all elements, in the file's order.
func (t *Tensor) Dequantize() ([]float32, error) {
	out := make([]float32, t.N*t.K)
	err := t.WithData(func(data []byte) error { return Dequantize(t.Type, data, out) })
	if err != nil {
		return nil, err
	}
	return out, nil
}

// MatMul multiplies: y[m][N] = x[m][K] * W^T, all row-major without gaps. x has m rows.
func (t *Tensor) MatMul(c *Context, x []float32, m int) ([]float32, error) {
	if err := sizes(m, m*t.N); err != nil {
		return nil, err
	}
	y := make([]float32, m*t.N)
	if err := t.MatMulInto(c, y, x, m); err != nil {
		return nil, err
	}
	return y, nil
}

// MatMulInto is MatMul into y, which has room for m * N elements.
func (t *Tensor) MatMulInto(c *Context, y, x []float32, m int) error {
	if err := sizes(m); err != nil {
		return err
	}
	defer runtime.KeepAlive(c)
	return t.file.use(func() error {
		a := newActivations(y, x, m)
		return call(func() int32 { return cMatmulTensor(c.native(), t.file.handle, t.index, a) })
	})
}

// Validate is the index of the first block with a scale or value that is NaN, infinite, or not allowed; -1: all is well.
func (t *Tensor) Validate(c *Context) (int64, error) {
	defer runtime.KeepAlive(c)
	var bad uint64
	err := t.file.use(func() error {
		return call(func() int32 { return cTensorValidate(c.native(), t.file.handle, t.index, &bad) })
	})
	return int64(bad), err // 2^64 - 1, "none", becomes -1
}
