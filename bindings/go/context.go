package gguffuse

import (
	"runtime"
	"unsafe"
)

// Context is the threads, precision and instruction set of products.
type Context struct {
	handle  handle
	cleanup runtime.Cleanup
}

// ContextOptions say how to make a context; nil: defaults.
type ContextOptions struct {
	Threads   int // that one call may use, the calling one included; 0: as many as the process may run on
	Precision Precision
	MaxISA    string // highest instruction-set level to use, one of ISALevels; "": the best that the machine has
}

// NewContext makes a context. ErrUnsupportedISA: there is no level of that name.
func NewContext(options *ContextOptions) (*Context, error) {
	native := contextOptions{}
	native.structSize = sizeOf(native)
	if options != nil {
		if err := sizes(options.Threads); err != nil {
			return nil, err
		}
		native.threads, native.precision = uint32(options.Threads), uint32(options.Precision)
		if options.MaxISA != "" {
			name, err := cString(options.MaxISA, "MaxISA")
			if err != nil {
				return nil, err
			}
			native.maxISA = name
		}
	}
	// C may follow a pointer in Go's memory only to what is pinned.
	var pinner runtime.Pinner
	defer pinner.Unpin()
	if native.maxISA != nil {
		pinner.Pin(native.maxISA)
	}
	var made handle
	if err := call(func() int32 { return cContextNew(&native, &made) }); err != nil {
		return nil, err
	}
	c := &Context{handle: made}
	c.cleanup = runtime.AddCleanup(c, func(h handle) { cContextFree(h) }, c.handle)
	return c, nil
}

// Close frees the context. Calls of other goroutines that are using it finish. Afterwards it is ErrInvalidHandle: the
// library looks handles up and never follows them.
func (c *Context) Close() error {
	c.cleanup.Stop()
	return call(func() int32 { return cContextFree(c.handle) })
}

// ISA is the name of the instruction-set level in use; "" when the context is closed.
func (c *Context) ISA() string {
	defer runtime.KeepAlive(c)
	return goString(cContextISA(c.handle))
}

// native is the handle; that of nil is none.
func (c *Context) native() handle {
	if c == nil {
		return 0
	}
	return c.handle
}

func newActivations(y, x []float32, m int) *activations {
	return &activations{x: start(x), xLength: uintptr(len(x)), m: uintptr(m), y: start(y), yLength: uintptr(len(y))}
}

// MatMul multiplies by weights in memory of yours: y[m][n] = x[m][k] * W^T, all row-major without gaps; w are W's blocks.
func (c *Context) MatMul(typ Type, w []byte, n, k int, y, x []float32, m int) error {
	if err := sizes(n, k, m); err != nil {
		return err
	}
	defer runtime.KeepAlive(c)
	a := newActivations(y, x, m)
	return call(func() int32 {
		return cMatmul(c.native(), uint32(typ), start(w), uintptr(len(w)), uintptr(n), uintptr(k), a)
	})
}

// MatMulRows is MatMul for weight rows begin to end-1 only, on the calling goroutine's thread alone: of y only those
// columns are written, so goroutines may share one y. Together they give the same bits as one MatMul.
func (c *Context) MatMulRows(typ Type, w []byte, n, k, begin, end int, y, x []float32, m int) error {
	if err := sizes(n, k, begin, end, m); err != nil {
		return err
	}
	defer runtime.KeepAlive(c)
	a := newActivations(y, x, m)
	return call(func() int32 {
		return cMatmulRows(c.native(), uint32(typ), start(w), uintptr(len(w)), uintptr(n), uintptr(k), uintptr(begin),
			uintptr(end), a)
	})
}

// Quantize makes blocks of rows x k floats. importance: nil, or for each column how much its squared errors count.
func (c *Context) Quantize(typ Type, source []float32, k int, importance []float32) ([]byte, error) {
	rowBytes, err := typ.RowSize(k)
	if err != nil {
		return nil, err
	}
	if k == 0 || len(source)%k != 0 || (importance != nil && len(importance) != k) {
		return nil, &Error{Status: ErrShape, Text: "source or importance is not of whole rows"}
	}
	defer runtime.KeepAlive(c)
	rows := len(source) / k
	out := make([]byte, rows*rowBytes)
	err = call(func() int32 {
		return cQuantizeWith(c.native(), uint32(typ), start(source), uintptr(rows), uintptr(k),
			unsafe.SliceData(importance), start(out), uintptr(len(out)))
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Validate is Tensor.Validate for blocks in memory of yours.
func (c *Context) Validate(typ Type, data []byte) (int64, error) {
	defer runtime.KeepAlive(c)
	var bad uint64
	err := call(func() int32 { return cValidate(c.native(), uint32(typ), start(data), uintptr(len(data)), &bad) })
	return int64(bad), err
}

// Dequantize makes float32 of whole blocks, into out.
func Dequantize(typ Type, data []byte, out []float32) error {
	return call(func() int32 {
		return cDequantize(uint32(typ), unsafe.Pointer(start(data)), uintptr(len(data)), start(out), uintptr(len(out)))
	})
}

// ISALevels are the instruction-set levels that this machine and the library have, the lowest first.
func ISALevels() []string {
	var names []string
	if load() != nil {
		return nil
	}
	for {
		name := goString(cISAName(uintptr(len(names))))
		if name == "" {
			return names
		}
		names = append(names, name)
	}
}

// Version is the library's, as in "0.1.0"; "" if it can't be loaded.
func Version() string {
	if load() != nil {
		return ""
	}
	return goString(cVersionString())
}
