package gguffuse_test

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"gguffuse"
)

func newWriter(t testing.TB, options *gguffuse.WriterOptions) *gguffuse.Writer {
	w := must(gguffuse.NewWriter(options))(t)
	t.Cleanup(func() { w.Close() })
	return w
}

// What Set is given, Value gives back, of every type.
func TestWrittenMetadata(t *testing.T) {
	values := []any{
		uint8(255), int8(-128), uint16(65535), int16(-32768), uint32(math.MaxUint32), int32(math.MinInt32),
		uint64(math.MaxUint64), int64(math.MinInt64), float32(-1.5), 1e-300, true, "caf\xe9\x00", "",
		[]uint8{255, 0}, []int8{-128}, []uint16{65535}, []int16{-32768}, []uint32{math.MaxUint32}, []int32{math.MinInt32},
		[]uint64{math.MaxUint64}, []int64{math.MinInt64}, []float32{-1.5, 2}, []float64{1e-300}, []bool{true, false},
		[]string{"one", "", "t\x00o", "wörld"}, []string{}, []float32{},
	}
	w := newWriter(t, &gguffuse.WriterOptions{Version: 2, Alignment: 64})
	name := func(i int) string { return "key " + string(rune('a'+i)) }
	for i, value := range values {
		if err := w.Set(name(i), value); err != nil {
			t.Fatalf("%T: %v", value, err)
		}
	}
	deep := []any{[]any{[]int16{1, 2}, []int16{}}, []any{[]string{"x"}}}
	if err := w.Set("deep", deep); err != nil {
		t.Fatal(err)
	}
	refused(t, w.Set("half", []any{[]int16{1}, 7}), gguffuse.ErrInvalidArgument) // and leaves nothing of it
	refused(t, w.Set("half", []any{uint8(1)}), gguffuse.ErrInvalidArgument)
	refused(t, w.Set("int", 7), gguffuse.ErrInvalidArgument)
	refused(t, w.Set("a\x00b", true), gguffuse.ErrInvalidArgument)
	refused(t, w.Set("", true), gguffuse.ErrInvalidArgument)
	if err := w.Set("gone", true); err != nil {
		t.Error(err)
	}
	if err := w.Remove("gone"); err != nil {
		t.Error(err)
	}
	refused(t, w.Remove("gone"), gguffuse.ErrNotFound)
	raw := must(w.Bytes())(t)
	if size := must(w.Size())(t); size != uint64(len(raw)) {
		t.Error(size, len(raw))
	}
	f := must(gguffuse.OpenMemory(raw, nil))(t)
	defer f.Close()
	if f.Version != 2 || f.Alignment != 64 {
		t.Error(f.Version, f.Alignment)
	}
	for i, value := range values {
		if got := must(f.Value(name(i)))(t); !reflect.DeepEqual(got, value) {
			t.Errorf("%#v, not %#v", got, value)
		}
	}
	if got := must(f.Value("deep"))(t); !reflect.DeepEqual(got, deep) {
		t.Errorf("%#v", got)
	}
	if keys := must(f.Keys())(t); len(keys) != len(values)+2 { // general.alignment, deep
		t.Error(keys)
	}
}

// A file with a tensor of another file, without a copy, and one of Go's memory: written over the file that it is made of.
func TestWrittenTensors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "model.gguf")
	raw := must(os.ReadFile(checksumFile))(t)
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	w := newWriter(t, nil)
	func() {
		f := must(gguffuse.Open(path, nil))(t)
		if err := w.CopyMetadata(f); err != nil {
			t.Fatal(err)
		}
		if err := w.AddTensorOf(must(f.Tensor(weightsName))(t)); err != nil {
			t.Fatal(err)
		}
		refused(t, w.AddTensorOf(must(f.Tensor(weightsName))(t)), gguffuse.ErrInvalidArgument) // twice
		if err := f.Close(); err != nil {                                                      // the memory stays
			t.Fatal(err)
		}
	}()
	runtime.GC()
	blocks, _ := integers(3, 64)
	if err := w.AddTensor("added", gguffuse.TypeQ8_0, []uint64{64, 3}, blocks); err != nil {
		t.Fatal(err)
	}
	if err := w.AddTensor("none", gguffuse.TypeF32, []uint64{0}, nil); err != nil {
		t.Fatal(err)
	}
	refused(t, w.AddTensor("small", gguffuse.TypeQ8_0, []uint64{64, 3}, blocks[1:]), gguffuse.ErrShape)
	refused(t, w.AddTensor("rows", gguffuse.TypeQ8_0, []uint64{65}, blocks), gguffuse.ErrShape)
	refused(t, w.AddTensor("dims", gguffuse.TypeF32, []uint64{1, 1, 1, 1, 1}, blocks[:4]), gguffuse.ErrInvalidArgument)
	refused(t, w.AddTensor("type", gguffuse.Type(4), []uint64{1}, blocks), gguffuse.ErrUnsupportedType)
	if err := w.Set("general.name", "mine"); err != nil {
		t.Error(err)
	}
	if err := w.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	refused(t, w.WriteFile(filepath.Dir(path)), gguffuse.ErrInvalidArgument)
	refused(t, w.WriteFile(filepath.Join(path, "none", "x.gguf")), gguffuse.ErrIO)
	f := must(gguffuse.Open(path, nil))(t)
	defer f.Close()
	if must(f.Text("general.name"))(t) != "mine" || must(f.Uint64("checksum.block_count"))(t) != 1 || f.Len() != 3 {
		t.Error("not what was written")
	}
	for name, want := range map[string][]byte{weightsName: raw[352 : 352+9216], "added": blocks, "none": {}} {
		tensor := must(f.Tensor(name))(t)
		err := tensor.WithData(func(data []byte) error {
			if !bytes.Equal(data, want) || tensor.AbsoluteOffset%32 != 0 {
				t.Errorf("%+v", tensor)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	one := newWriter(t, nil)
	if err := one.CopyMetadata(f, "general.name", "checksum.block_count"); err != nil {
		t.Error(err)
	}
	refused(t, one.CopyMetadata(f, "nowhere"), gguffuse.ErrNotFound)
	copied := must(gguffuse.OpenMemory(must(one.Bytes())(t), &gguffuse.Options{Copy: true}))(t)
	defer copied.Close()
	if keys := must(copied.Keys())(t); !slices.Equal(keys, []string{"general.name", "checksum.block_count"}) {
		t.Error(keys)
	}
	_, err := gguffuse.NewWriter(&gguffuse.WriterOptions{Version: 7})
	refused(t, err, gguffuse.ErrUnsupportedVersion)
	_, err = gguffuse.NewWriter(&gguffuse.WriterOptions{Alignment: 3})
	refused(t, err, gguffuse.ErrInvalidArgument)
}

func TestClosedWriter(t *testing.T) {
	w, f := newWriter(t, nil), openChecksum(t)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	refused(t, w.Close(), gguffuse.ErrInvalidHandle)
	refused(t, w.Set("a", true), gguffuse.ErrInvalidHandle)
	refused(t, w.AddTensor("a", gguffuse.TypeF32, []uint64{1}, make([]byte, 4)), gguffuse.ErrInvalidHandle)
	refused(t, w.AddTensorOf(must(f.Tensor(weightsName))(t)), gguffuse.ErrInvalidHandle)
	refused(t, w.CopyMetadata(f), gguffuse.ErrInvalidHandle)
	_, err := w.Bytes()
	refused(t, err, gguffuse.ErrInvalidHandle)
	w = newWriter(t, nil)
	tensor := must(f.Tensor(weightsName))(t)
	f.Close()
	refused(t, w.AddTensorOf(tensor), gguffuse.ErrInvalidHandle)
	refused(t, w.CopyMetadata(f), gguffuse.ErrInvalidHandle)
}

// Goroutines write one writer at once, and another closes it under them: whole files, or ErrInvalidHandle.
func TestWriterOfEightGoroutines(t *testing.T) {
	for range 10 {
		f := openChecksum(t)
		w := newWriter(t, nil)
		if err := w.AddTensorOf(must(f.Tensor(weightsName))(t)); err != nil {
			t.Fatal(err)
		}
		f.Close()
		want := must(w.Bytes())(t)
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				for {
					got, err := w.Bytes()
					if err != nil {
						refused(t, err, gguffuse.ErrInvalidHandle)
						return
					}
					if !bytes.Equal(got, want) {
						t.Error("another file")
						return
					}
				}
			})
		}
		time.Sleep(2 * time.Millisecond)
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		group.Wait()
	}
}
