package gguffuse_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
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

// The file of examples/checksum, whose README says what is in it.
const (
	checksumFile = "../../examples/checksum/checksum.gguf"
	weightsName  = "blk.0.ffn_gate.weight"
)

func must[T any](value T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func openChecksum(t testing.TB) *gguffuse.File {
	f := must(gguffuse.Open(checksumFile, nil))(t)
	t.Cleanup(func() { f.Close() })
	return f
}

func newContext(t testing.TB, options *gguffuse.ContextOptions) *gguffuse.Context {
	c := must(gguffuse.NewContext(options))(t)
	t.Cleanup(func() { c.Close() })
	return c
}

func refused(t *testing.T, err error, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}

// activationRows are whole numbers, of which products with the file's weights are not exact, but always have the same bits.
func activationRows(m, k int) []float32 {
	x := make([]float32, m*k)
	for i := range x {
		x[i] = float32((i*7919)%2003-1001) / 1001
	}
	return x
}

// integers are blocks of Q8_0 with the scale 1, which hold whole numbers as they are, and those numbers.
func integers(n, k int) (blocks []byte, values []int) {
	for row := range n {
		for column := range k {
			if column%32 == 0 {
				blocks = append(blocks, 0x00, 0x3c) // 1 as f16
			}
			value := (row*31+column*17)%255 - 127
			blocks, values = append(blocks, byte(int8(value))), append(values, value)
		}
	}
	return blocks, values
}

func TestLayout(t *testing.T) {
	f := openChecksum(t)
	raw := must(os.ReadFile(checksumFile))(t)
	if f.Version != 3 || f.Alignment != 32 || f.DataOffset != 352 || f.Size != uint64(len(raw)) || f.Len() != 1 {
		t.Errorf("%+v", f)
	}
	tensors := must(f.Tensors())(t)
	tensor := must(f.Tensor(weightsName))(t)
	for _, w := range []*gguffuse.Tensor{tensors[0], tensor} {
		if w.Name != weightsName || w.Type != gguffuse.TypeQ4_K || !slices.Equal(w.Dims, []uint64{256, 64}) ||
			w.K != 256 || w.N != 64 || w.RelativeOffset != 0 || w.AbsoluteOffset != 352 || w.Size != 9216 {
			t.Errorf("%+v", w)
		}
	}
	err := tensor.WithData(func(data []byte) error {
		if !bytes.Equal(data, raw[352:352+9216]) {
			t.Error("not the file's bytes")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	copied := must(io.ReadAll(io.NewSectionReader(tensor, 100, 1<<40)))(t)
	if !bytes.Equal(copied, raw[452:352+9216]) {
		t.Error("not the file's bytes")
	}
	if n, err := tensor.ReadAt(make([]byte, 10), 9216); n != 0 || err != io.EOF {
		t.Error(n, err)
	}
	_, err = tensor.ReadAt(make([]byte, 1), -1)
	refused(t, err, gguffuse.ErrInvalidArgument)
}

func TestMetadata(t *testing.T) {
	f := openChecksum(t)
	keys := must(f.Keys())(t)
	if want := []string{
		"general.architecture", "general.name", "checksum.block_count", "tokenizer.ggml.tokens",
	}; !slices.Equal(keys, want) {
		t.Error(keys)
	}
	tokens := []string{"<unk>", "<s>", "</s>", "hello", "wörld", ""}
	if text := must(f.Text("general.name"))(t); text != "gguffuse checksum" {
		t.Error(text)
	}
	if texts := must(f.Texts("tokenizer.ggml.tokens"))(t); !slices.Equal(texts, tokens) {
		t.Error(texts)
	}
	if value := must(f.Value("tokenizer.ggml.tokens"))(t); !slices.Equal(value.([]string), tokens) {
		t.Error(value)
	}
	if value := must(f.Value("checksum.block_count"))(t); value != uint32(1) {
		t.Errorf("%T", value)
	}
	if must(f.Uint64("checksum.block_count"))(t) != 1 || must(f.Int64("checksum.block_count"))(t) != 1 ||
		must(f.Float64("checksum.block_count"))(t) != 1 {
		t.Error("block_count is 1")
	}
	_, err := f.Text("checksum.block_count")
	refused(t, err, gguffuse.ErrTypeMismatch)
	_, err = f.Bool("checksum.block_count")
	refused(t, err, gguffuse.ErrTypeMismatch)
	_, err = f.Texts("general.name")
	refused(t, err, gguffuse.ErrTypeMismatch)
	_, err = f.Uint64("general.name")
	refused(t, err, gguffuse.ErrTypeMismatch)
	for _, missing := range []string{"nowhere", "with\x00NUL"} {
		_, err = f.Value(missing)
		refused(t, err, gguffuse.ErrNotFound)
		_, err = f.Tensor(missing)
		refused(t, err, gguffuse.ErrNotFound)
	}
}

// builder puts a GGUF file with metadata of every type together, by hand.
type builder struct {
	entries int
	bytes.Buffer
}

func (b *builder) number(value uint64, size int) {
	for range size {
		b.WriteByte(byte(value))
		value >>= 8
	}
}

func (b *builder) text(text string) {
	b.number(uint64(len(text)), 8)
	b.WriteString(text)
}

func (b *builder) key(key string, typ gguffuse.ValueType) {
	b.entries++
	b.text(key)
	b.number(uint64(typ), 4)
}

func (b *builder) file() []byte {
	head := &builder{}
	head.WriteString("GGUF")
	head.number(3, 4)
	head.number(0, 8)
	head.number(uint64(b.entries), 8)
	head.Write(b.Bytes())
	return head.Bytes()
}

func TestEveryValueType(t *testing.T) {
	b := &builder{}
	scalars := []struct {
		typ    gguffuse.ValueType
		size   int
		bits   uint64
		scalar any
		array  any
	}{
		{gguffuse.Uint8, 1, 255, uint8(255), []uint8{255, 255}},
		{gguffuse.Int8, 1, 0x80, int8(-128), []int8{-128, -128}},
		{gguffuse.Uint16, 2, 65535, uint16(65535), []uint16{65535, 65535}},
		{gguffuse.Int16, 2, 0x8000, int16(-32768), []int16{-32768, -32768}},
		{gguffuse.Uint32, 4, math.MaxUint32, uint32(math.MaxUint32), []uint32{math.MaxUint32, math.MaxUint32}},
		{gguffuse.Int32, 4, 1 << 31, int32(math.MinInt32), []int32{math.MinInt32, math.MinInt32}},
		{gguffuse.Uint64, 8, math.MaxUint64, uint64(math.MaxUint64), []uint64{math.MaxUint64, math.MaxUint64}},
		{gguffuse.Int64, 8, 1 << 63, int64(math.MinInt64), []int64{math.MinInt64, math.MinInt64}},
		{gguffuse.Float32, 4, 0xbfc00000, float32(-1.5), []float32{-1.5, -1.5}},
		{gguffuse.Float64, 8, 0x3ff8000000000000, 1.5, []float64{1.5, 1.5}},
		{gguffuse.Bool, 1, 1, true, []bool{true, true}},
	}
	name := func(i int) string { return string(rune('a' + i)) }
	for i, s := range scalars {
		b.key(name(i), s.typ)
		b.number(s.bits, s.size)
		b.key(name(i)+"s", gguffuse.Array)
		b.number(uint64(s.typ), 4)
		b.number(2, 8)
		b.number(s.bits, s.size)
		b.number(s.bits, s.size)
	}
	b.key("bytes", gguffuse.String)
	b.text("caf\xe9\x00")
	b.key("deep", gguffuse.Array)
	b.number(uint64(gguffuse.Array), 4)
	b.number(2, 8)
	b.number(uint64(gguffuse.String), 4)
	b.number(1, 8)
	b.text("x")
	b.number(uint64(gguffuse.Int16), 4)
	b.number(1, 8)
	b.number(7, 2)
	f := must(gguffuse.OpenMemory(b.file(), nil))(t)
	defer f.Close()
	for i, s := range scalars {
		if value := must(f.Value(name(i)))(t); value != s.scalar {
			t.Errorf("%v: %T %v", s.typ, value, value)
		}
		if value := must(f.Value(name(i) + "s"))(t); !reflect.DeepEqual(value, s.array) {
			t.Errorf("%v: %T %v", s.typ, value, value)
		}
	}
	if must(f.Bool("k"))(t) != true || must(f.Float64("i"))(t) != -1.5 || must(f.Int64("h"))(t) != math.MinInt64 {
		t.Error("wrong values")
	}
	if text := must(f.Text("bytes"))(t); text != "caf\xe9\x00" {
		t.Errorf("%q", text)
	}
	deep := must(f.Value("deep"))(t).([]any)
	if !reflect.DeepEqual(deep[0], []string{"x"}) || !reflect.DeepEqual(deep[1], []int16{7}) {
		t.Errorf("%v", deep)
	}
	if f.Len() != 0 || len(must(f.Tensors())(t)) != 0 {
		t.Error("no tensors")
	}
}

// Whole numbers, with every sum below 2^24: f32 holds each result exactly, and EXACT must give it.
func TestMatMul(t *testing.T) {
	const n, k, m = 24, 256, 3
	blocks, weights := integers(n, k)
	x, want := make([]float32, m*k), make([]float32, m*n)
	for i := range x {
		x[i] = float32(i*13%17 - 8)
	}
	for row := range m {
		for column := range n {
			sum := 0
			for i := range k {
				sum += int(x[row*k+i]) * weights[column*k+i]
			}
			want[row*n+column] = float32(sum)
		}
	}
	levels := gguffuse.ISALevels()
	if len(levels) == 0 || levels[0] != "scalar" {
		t.Fatal(levels)
	}
	for _, level := range levels {
		c := newContext(t, &gguffuse.ContextOptions{Threads: 2, MaxISA: level})
		if c.ISA() != level {
			t.Error(c.ISA())
		}
		y := make([]float32, m*n)
		if err := c.MatMul(gguffuse.TypeQ8_0, blocks, n, k, y, x, m); err != nil || !slices.Equal(y, want) {
			t.Error(level, err, y)
		}
		clear(y)
		for begin := 0; begin < n; begin += 7 {
			err := c.MatMulRows(gguffuse.TypeQ8_0, blocks, n, k, begin, min(begin+7, n), y, x, m)
			if err != nil {
				t.Error(err)
			}
		}
		if !slices.Equal(y, want) {
			t.Error(level, y)
		}
	}
}

// The naive product of the dequantised weights, in float64. The bound: EXACT's hard limit, 1e-5 of the sum of |x w|.
func TestMatMulOfATensor(t *testing.T) {
	const m = 3
	f, c := openChecksum(t), newContext(t, nil)
	w := must(f.Tensor(weightsName))(t)
	x, values := activationRows(m, w.K), must(w.Dequantize())(t)
	y := must(w.MatMul(c, x, m))(t)
	for row := range m {
		for column := range w.N {
			sum, terms := 0.0, 0.0
			for i := range w.K {
				term := float64(x[row*w.K+i]) * float64(values[column*w.K+i])
				sum, terms = sum+term, terms+math.Abs(term)
			}
			if got := float64(y[row*w.N+column]); math.Abs(got-sum) > 1e-5*terms {
				t.Fatalf("y[%d][%d] is %v, not %v", row, column, got, sum)
			}
		}
	}
	into := make([]float32, len(y)+1)
	into[len(y)] = 77
	if err := w.MatMulInto(c, into, x, m); err != nil || !slices.Equal(into[:len(y)], y) || into[len(y)] != 77 {
		t.Error(err)
	}
	fast := newContext(t, &gguffuse.ContextOptions{Precision: gguffuse.Fast})
	if slices.Equal(must(w.MatMul(fast, x, m))(t), y) {
		t.Error("Fast gives Exact's bits: the precision doesn't arrive")
	}
	if bad := must(w.Validate(c))(t); bad != -1 {
		t.Error(bad)
	}
	if y := must(w.MatMul(c, nil, 0))(t); len(y) != 0 {
		t.Error(y)
	}
}

func TestBlocks(t *testing.T) {
	c := newContext(t, nil)
	blocks, weights := integers(2, 64)
	values := make([]float32, 128)
	if err := gguffuse.Dequantize(gguffuse.TypeQ8_0, blocks, values); err != nil {
		t.Fatal(err)
	}
	for i, weight := range weights {
		if values[i] != float32(weight) {
			t.Fatalf("%d: %v, not %d", i, values[i], weight)
		}
	}
	// F32 blocks are the floats: quantised and back they are the same.
	plain := must(c.Quantize(gguffuse.TypeF32, values, 64, nil))(t)
	back := make([]float32, 128)
	if err := gguffuse.Dequantize(gguffuse.TypeF32, plain, back); err != nil || !slices.Equal(back, values) {
		t.Error(err)
	}
	importance := make([]float32, 64)
	for i := range importance {
		importance[i] = 1
	}
	q8 := must(c.Quantize(gguffuse.TypeQ8_0, values, 64, importance))(t)
	if size := must(gguffuse.TypeQ8_0.RowSize(64))(t); len(q8) != 2*size || size != 68 {
		t.Error(len(q8), size)
	}
	copy(q8[34:], []byte{0xff, 0x7f})
	if bad := must(c.Validate(gguffuse.TypeQ8_0, q8))(t); bad != 1 {
		t.Error(bad)
	}
	if info := must(gguffuse.TypeQ4_K.Info())(t); info != (gguffuse.TypeInfo{"q4_k", 256, 144, true, true}) {
		t.Errorf("%+v", info)
	}
	if gguffuse.TypeQ4_K.String() != "q4_k" || gguffuse.Type(4).String() != "Type(4)" {
		t.Error(gguffuse.TypeQ4_K, gguffuse.Type(4))
	}
	_, err := gguffuse.Type(4).Info()
	refused(t, err, gguffuse.ErrUnsupportedType)
	_, err = gguffuse.TypeQ4_K.RowSize(100)
	refused(t, err, gguffuse.ErrShape)
	for _, importance := range [][]float32{{1}, {}} {
		_, err = c.Quantize(gguffuse.TypeQ8_0, values, 64, importance)
		refused(t, err, gguffuse.ErrShape)
	}
	importance[3] = -1
	_, err = c.Quantize(gguffuse.TypeQ8_0, values, 64, importance)
	refused(t, err, gguffuse.ErrInvalidArgument)
	_, err = c.Quantize(gguffuse.TypeI32, values, 64, nil)
	refused(t, err, gguffuse.ErrUnsupportedType)
	refused(t, gguffuse.Dequantize(gguffuse.TypeQ8_0, blocks[1:], values), gguffuse.ErrShape)
	refused(t, gguffuse.Dequantize(gguffuse.TypeQ8_0, blocks, values[1:]), gguffuse.ErrBufferTooSmall)
}

func TestWhatIsNoFile(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing.gguf")
	_, err := gguffuse.Open(missing, nil)
	refused(t, err, gguffuse.ErrIO)
	refused(t, err, fs.ErrNotExist)
	var status gguffuse.Status
	if !errors.As(err, &status) || status != gguffuse.ErrIO {
		t.Error(status)
	}
	broken := filepath.Join(t.TempDir(), "broken.gguf")
	if err := os.WriteFile(broken, []byte("no GGUF at all, but long enough"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = gguffuse.Open(broken, nil)
	refused(t, err, gguffuse.ErrBadFormat)
	raw := must(os.ReadFile(checksumFile))(t)
	_, err = gguffuse.OpenMemory(raw[:200], nil)
	refused(t, err, gguffuse.ErrTruncated)
	_, err = gguffuse.OpenMemory(nil, nil)
	refused(t, err, gguffuse.ErrTruncated)
	_, err = gguffuse.Open(checksumFile, &gguffuse.Options{MaxMetadataBytes: 100})
	refused(t, err, gguffuse.ErrLimit)
	_, err = gguffuse.Open("a\x00b", nil)
	refused(t, err, gguffuse.ErrInvalidArgument)
}

func TestWhatIsRefused(t *testing.T) {
	f, c := openChecksum(t), newContext(t, nil)
	w := must(f.Tensor(weightsName))(t)
	x, y := activationRows(2, w.K), make([]float32, 2*w.N)
	_, err := w.MatMul(c, x[1:], 2)
	refused(t, err, gguffuse.ErrBufferTooSmall)
	_, err = w.MatMul(c, x, -1)
	refused(t, err, gguffuse.ErrInvalidArgument)
	refused(t, w.MatMulInto(c, y[1:], x, 2), gguffuse.ErrBufferTooSmall)
	refused(t, w.MatMulInto(c, x, x, 2), gguffuse.ErrAliasing)
	refused(t, w.MatMulInto(nil, y, x, 2), gguffuse.ErrInvalidHandle)
	blocks, _ := integers(4, 32)
	refused(t, c.MatMul(gguffuse.TypeQ8_0, blocks, 4, 33, y, x, 1), gguffuse.ErrShape)
	refused(t, c.MatMul(gguffuse.TypeI32, blocks, 4, 32, y, x, 1), gguffuse.ErrUnsupportedType)
	refused(t, c.MatMul(gguffuse.TypeQ8_0, blocks, -4, 32, y, x, 1), gguffuse.ErrInvalidArgument)
	refused(t, c.MatMulRows(gguffuse.TypeQ8_0, blocks, 4, 32, 3, 2, y, x, 1), gguffuse.ErrInvalidArgument)
	_, err = gguffuse.NewContext(&gguffuse.ContextOptions{MaxISA: "avx1024"})
	refused(t, err, gguffuse.ErrUnsupportedISA)
	_, err = gguffuse.NewContext(&gguffuse.ContextOptions{Precision: 7})
	refused(t, err, gguffuse.ErrInvalidArgument)
}

func TestClosed(t *testing.T) {
	f, c := must(gguffuse.Open(checksumFile, nil))(t), must(gguffuse.NewContext(nil))(t)
	w := must(f.Tensor(weightsName))(t)
	x := activationRows(1, w.K)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	refused(t, f.Close(), gguffuse.ErrInvalidHandle)
	_, err := f.Tensor(weightsName)
	refused(t, err, gguffuse.ErrInvalidHandle)
	_, err = f.Tensors()
	refused(t, err, gguffuse.ErrInvalidHandle)
	_, err = f.Keys()
	refused(t, err, gguffuse.ErrInvalidHandle)
	_, err = f.Text("general.name")
	refused(t, err, gguffuse.ErrInvalidHandle)
	_, err = w.MatMul(c, x, 1)
	refused(t, err, gguffuse.ErrInvalidHandle)
	_, err = w.Validate(c)
	refused(t, err, gguffuse.ErrInvalidHandle)
	_, err = w.Dequantize()
	refused(t, err, gguffuse.ErrInvalidHandle)
	refused(t, w.WithData(func([]byte) error { t.Error("called"); return nil }), gguffuse.ErrInvalidHandle)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	refused(t, c.Close(), gguffuse.ErrInvalidHandle)
	_, err = must(openChecksum(t).Tensor(weightsName))(t).MatMul(c, x, 1)
	refused(t, err, gguffuse.ErrInvalidHandle)
	if c.ISA() != "" {
		t.Error(c.ISA())
	}
	var sentinel *gguffuse.Error
	if !errors.As(err, &sentinel) || sentinel.Status.Error() != "INVALID_HANDLE" {
		t.Error(err)
	}
}

// The bytes that a call was handed are there until it returns, whoever closes the file meanwhile.
func TestClosedWhileInUse(t *testing.T) {
	f := must(gguffuse.Open(checksumFile, nil))(t)
	w := must(f.Tensor(weightsName))(t)
	raw := must(os.ReadFile(checksumFile))(t)
	err := w.WithData(func(data []byte) error {
		if err := f.Close(); err != nil {
			return err
		}
		if !bytes.Equal(data, raw[352:352+9216]) {
			t.Error("not the file's bytes")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	refused(t, w.WithData(func([]byte) error { return nil }), gguffuse.ErrInvalidHandle)
}

// One file and one context; every goroutine gets the bits that one alone gets, and its own errors' texts.
func TestEightGoroutines(t *testing.T) {
	f, c := openChecksum(t), newContext(t, nil)
	w := must(f.Tensor(weightsName))(t)
	x := activationRows(8, w.K)
	want := make([][]float32, 8)
	for i := range want {
		want[i] = must(w.MatMul(c, x[i*w.K:(i+1)*w.K], 1))(t)
	}
	var group sync.WaitGroup
	for i := range want {
		group.Go(func() {
			missing := "no tensor " + string(rune('0'+i))
			for range 200 {
				y, err := w.MatMul(c, x[i*w.K:(i+1)*w.K], 1)
				if err != nil || !slices.Equal(y, want[i]) {
					t.Error(err)
				}
				_, err = f.Tensor(missing)
				if !errors.Is(err, gguffuse.ErrNotFound) || !bytes.Contains([]byte(err.Error()), []byte(missing)) {
					t.Error(err)
				}
				if tokens, err := f.Texts("tokenizer.ggml.tokens"); err != nil || tokens[4] != "wörld" {
					t.Error(tokens, err)
				}
			}
		})
	}
	group.Wait()
}

func TestClosedByAnotherGoroutine(t *testing.T) {
	c := newContext(t, nil)
	x := activationRows(1, 256)
	for range 30 {
		f := must(gguffuse.Open(checksumFile, nil))(t)
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				for {
					w, err := f.Tensor(weightsName)
					if err == nil {
						_, err = w.MatMul(c, x, 1)
					}
					if err == nil {
						_, err = w.Dequantize()
					}
					if err == nil {
						_, err = f.Texts("tokenizer.ggml.tokens")
					}
					if errors.Is(err, gguffuse.ErrInvalidHandle) {
						return
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		time.Sleep(2 * time.Millisecond)
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		group.Wait()
	}
}

// What nobody closes is closed when it is collected, and not while anything still needs it: a file on disk, one in Go's
// memory, and a writer that borrows from both.
func TestCollected(t *testing.T) {
	c, raw := newContext(t, nil), must(os.ReadFile(checksumFile))(t)
	x := activationRows(1, 256)
	for name, open := range map[string]func() (*gguffuse.File, error){
		"disk":   func() (*gguffuse.File, error) { return gguffuse.Open(checksumFile, nil) },
		"memory": func() (*gguffuse.File, error) { return gguffuse.OpenMemory(bytes.Clone(raw), nil) },
	} {
		collected := make(chan string, 2)
		w, writer := func() (*gguffuse.Tensor, *gguffuse.Writer) {
			f := must(open())(t)
			runtime.AddCleanup(f, func(done chan string) { done <- "file" }, collected)
			w, writer := must(f.Tensor(weightsName))(t), must(gguffuse.NewWriter(nil))(t)
			runtime.AddCleanup(writer, func(done chan string) { done <- "writer" }, collected)
			for _, err := range []error{
				writer.AddTensorOf(w), writer.AddTensor("mine", gguffuse.TypeI8, []uint64{9216}, bytes.Clone(raw[:9216])),
			} {
				if err != nil {
					t.Fatal(name, err)
				}
			}
			return w, writer
		}()
		want, written := must(w.MatMul(c, x, 1))(t), must(writer.Bytes())(t)
		for range 5 {
			runtime.GC()
			if !slices.Equal(must(w.MatMul(c, x, 1))(t), want) {
				t.Fatal(name, "the file is gone")
			}
		}
		w = nil
		await(t, collected, "file")
		if !bytes.Equal(must(writer.Bytes())(t), written) {
			t.Fatal(name, "the file's memory is gone before the writer")
		}
		writer = nil
		await(t, collected, "writer")
	}
}

// await collects garbage until one says that it was.
func await(t *testing.T, collected chan string, want string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		runtime.GC()
		select {
		case got := <-collected:
			if got != want {
				t.Fatalf("the %s is collected, not the %s", got, want)
			}
			return
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatal("never collected")
		}
	}
}

// A copy doesn't notice what happens to its file or memory; a mapping is told by Verify.
func TestCopiedAndChanged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "changing.gguf")
	raw := must(os.ReadFile(checksumFile))(t)
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	copied, mapped := must(gguffuse.Open(path, &gguffuse.Options{Copy: true}))(t), must(gguffuse.Open(path, nil))(t)
	defer copied.Close()
	defer mapped.Close()
	if copied.Verify() != nil || mapped.Verify() != nil {
		t.Error(copied.Verify(), mapped.Verify())
	}
	if err := os.Truncate(path, int64(len(raw)-1)); err != nil {
		t.Fatal(err)
	}
	refused(t, mapped.Verify(), gguffuse.ErrTruncated)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	refused(t, mapped.Verify(), gguffuse.ErrChanged)
	memory := bytes.Clone(raw)
	own := must(gguffuse.OpenMemory(memory, &gguffuse.Options{Copy: true}))(t)
	clear(memory)
	for _, f := range []*gguffuse.File{copied, own} {
		if err := f.Verify(); err != nil {
			t.Error(err)
		}
		err := must(f.Tensor(weightsName))(t).WithData(func(data []byte) error {
			if !bytes.Equal(data, raw[352:352+9216]) {
				t.Error("not the bytes that the file had")
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	if err := own.Close(); err != nil {
		t.Error(err)
	}
	refused(t, own.Verify(), gguffuse.ErrInvalidHandle)
}
