package gguffuse_test

import (
	"slices"
	"sync"
	"testing"

	"gguffuse"
)

// Packed activations give the bits of the product that packs for itself, from any number of goroutines.
func TestActivations(t *testing.T) {
	const m = 3
	f := openChecksum(t)
	w := must(f.Tensor(weightsName))(t)
	x := activationRows(m, w.K)
	for _, precision := range []gguffuse.Precision{gguffuse.Exact, gguffuse.High, gguffuse.Fast} {
		c := newContext(t, &gguffuse.ContextOptions{Precision: precision})
		want := must(w.MatMul(c, x, m))(t)
		copied := slices.Clone(x)
		a := must(c.Pack(copied, m, w.K))(t)
		clear(copied)
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				for range 20 {
					y := make([]float32, m*w.N)
					if err := w.MatMulPacked(a, y); err != nil || !slices.Equal(y, want) {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
		err := w.WithData(func(data []byte) error {
			y := make([]float32, m*w.N)
			if err := a.MatMul(w.Type, data, w.N, w.K, y); err != nil || !slices.Equal(y, want) {
				t.Error(err)
			}
			clear(y)
			for begin := 0; begin < w.N; begin += 16 {
				group.Go(func() {
					if err := a.MatMulRows(w.Type, data, w.N, w.K, begin, begin+16, y); err != nil {
						t.Error(err)
					}
				})
			}
			group.Wait()
			if !slices.Equal(y, want) {
				t.Error("other bits by rows")
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		if err := a.Pack(x[w.K:], 1, w.K); err != nil {
			t.Error(err)
		}
		// One row by itself is summed in another order than among three.
		y, alone := make([]float32, w.N), must(w.MatMul(c, x[w.K:2*w.K], 1))(t)
		if err := w.MatMulPacked(a, y); err != nil || !slices.Equal(y, alone) {
			t.Error(err)
		}
		refused(t, w.MatMulPacked(a, y[1:]), gguffuse.ErrBufferTooSmall)
		refused(t, a.Pack(x, 7, w.K), gguffuse.ErrBufferTooSmall)
		refused(t, a.Pack(x, 1, 0), gguffuse.ErrShape)
		refused(t, a.Pack(x, -1, 3), gguffuse.ErrInvalidArgument)
		if err := a.Pack(x, 1, 32); err != nil {
			t.Error(err)
		}
		refused(t, w.MatMulPacked(a, y), gguffuse.ErrShape)
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		refused(t, w.MatMulPacked(a, y), gguffuse.ErrInvalidHandle)
		refused(t, a.Close(), gguffuse.ErrInvalidHandle)
		_, err = c.Pack(x, m, 0)
		refused(t, err, gguffuse.ErrShape)
		a = must(c.Pack(x, 1, w.K))(t)
		c.Close()
		refused(t, w.MatMulPacked(a, y), gguffuse.ErrInvalidHandle)
	}
}
