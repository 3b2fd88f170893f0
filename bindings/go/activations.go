package gguffuse

import "runtime"

// Activations are x in the form that products read: packed once, multiplied with any number of weights of the same k, as
// those for q, k and v, or gate and up. Any number of goroutines may multiply with one at once; packing another x
// meanwhile is ErrBusy.
type Activations struct {
	context *Context
	handle  handle
	cleanup runtime.Cleanup
}

// Pack makes activations of x, m rows of k floats, for products in this context. x is copied.
func (c *Context) Pack(x []float32, m, k int) (*Activations, error) {
	var made handle
	if err := call(func() int32 { return cActivationsNew(&made) }); err != nil {
		return nil, err
	}
	a := &Activations{context: c, handle: made}
	a.cleanup = runtime.AddCleanup(a, func(h handle) { cActivationsFree(h) }, made)
	if err := a.Pack(x, m, k); err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

// Pack packs another x, in place of what was packed before; memory is taken only for larger ones.
func (a *Activations) Pack(x []float32, m, k int) error {
	if err := sizes(m, k); err != nil {
		return err
	}
	defer runtime.KeepAlive(a)
	return call(func() int32 {
		return cActivationsPack(a.context.native(), a.handle, start(x), uintptr(len(x)), uintptr(m), uintptr(k))
	})
}

// Close frees the activations. Calls of other goroutines that are using them finish. Afterwards they are ErrInvalidHandle.
func (a *Activations) Close() error {
	a.cleanup.Stop()
	return call(func() int32 { return cActivationsFree(a.handle) })
}

// MatMulPacked is MatMulInto with activations that are packed already, in their context; the same bits.
func (t *Tensor) MatMulPacked(a *Activations, y []float32) error {
	defer runtime.KeepAlive(a)
	return t.file.use(func() error {
		return call(func() int32 {
			return cActivationsMatmulTensor(a.context.native(), a.handle, t.file.handle, t.index, start(y), uintptr(len(y)))
		})
	})
}

// MatMul is Context.MatMul with these activations; k must be theirs.
func (a *Activations) MatMul(typ Type, w []byte, n, k int, y []float32) error {
	if err := sizes(n, k); err != nil {
		return err
	}
	defer runtime.KeepAlive(a)
	return call(func() int32 {
		return cActivationsMatmul(a.context.native(), a.handle, uint32(typ), start(w), uintptr(len(w)), uintptr(n),
			uintptr(k), start(y), uintptr(len(y)))
	})
}

// MatMulRows is Context.MatMulRows with these activations, which any number of goroutines may share.
func (a *Activations) MatMulRows(typ Type, w []byte, n, k, begin, end int, y []float32) error {
	if err := sizes(n, k, begin, end); err != nil {
		return err
	}
	defer runtime.KeepAlive(a)
	return call(func() int32 {
		return cActivationsMatmulRows(a.context.native(), a.handle, uint32(typ), start(w), uintptr(len(w)), uintptr(n),
			uintptr(k), uintptr(begin), uintptr(end), start(y), uintptr(len(y)))
	})
}
