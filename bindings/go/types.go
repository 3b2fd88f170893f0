package gguffuse

import "fmt"

// Type is a tensor's type, with ggml's number.
type Type uint32

// The types, with ggml's names.
const (
	TypeF32     Type = 0
	TypeF16     Type = 1
	TypeQ4_0    Type = 2
	TypeQ4_1    Type = 3
	TypeQ5_0    Type = 6
	TypeQ5_1    Type = 7
	TypeQ8_0    Type = 8
	TypeQ8_1    Type = 9
	TypeQ2_K    Type = 10
	TypeQ3_K    Type = 11
	TypeQ4_K    Type = 12
	TypeQ5_K    Type = 13
	TypeQ6_K    Type = 14
	TypeQ8_K    Type = 15
	TypeIQ2_XXS Type = 16
	TypeIQ2_XS  Type = 17
	TypeIQ3_XXS Type = 18
	TypeIQ1_S   Type = 19
	TypeIQ4_NL  Type = 20
	TypeIQ3_S   Type = 21
	TypeIQ2_S   Type = 22
	TypeIQ4_XS  Type = 23
	TypeI8      Type = 24
	TypeI16     Type = 25
	TypeI32     Type = 26
	TypeI64     Type = 27
	TypeF64     Type = 28
	TypeIQ1_M   Type = 29
	TypeBF16    Type = 30
	TypeTQ1_0   Type = 34
	TypeTQ2_0   Type = 35
	TypeMXFP4   Type = 39
	TypeNVFP4   Type = 40
	TypeQ1_0    Type = 41
	TypeQ2_0    Type = 42
)

// TypeInfo is what a type is and what can be done with it.
type TypeInfo struct {
	Name          string // ggml's, in lower case: "q4_k"
	BlockElements int    // the columns of a matrix are a multiple of it
	BlockBytes    int
	CanMatMul     bool
	CanQuantize   bool
}

// Info tells what a type is. ErrUnsupportedType: ggml has no such type.
func (t Type) Info() (TypeInfo, error) {
	info := typeInfo{}
	info.structSize = sizeOf(info)
	if err := call(func() int32 { return cTypeInfo(uint32(t), &info) }); err != nil {
		return TypeInfo{}, err
	}
	return TypeInfo{
		Name:          goString(info.name),
		BlockElements: int(info.blockElements),
		BlockBytes:    int(info.blockBytes),
		CanMatMul:     info.canMatmul != 0,
		CanQuantize:   info.canQuantize != 0,
	}, nil
}

// String is the type's name, as in "q4_k".
func (t Type) String() string {
	info, err := t.Info()
	if err != nil {
		return fmt.Sprintf("Type(%d)", uint32(t))
	}
	return info.Name
}

// RowSize is the bytes of a row of k elements. ErrShape: k is no multiple of the block.
func (t Type) RowSize(k int) (int, error) {
	if err := sizes(k); err != nil {
		return 0, err
	}
	var bytes uintptr
	err := call(func() int32 { return cRowSize(uint32(t), uint64(k), &bytes) })
	return int(bytes), err
}

// Precision is how exactly activations enter a product.
type Precision uint32

// Exact is the default: the f64 product of the dequantised weights and the activations, to f32 grade. High takes 16 bits
// of the activations, Fast 8.
const (
	Exact Precision = 0
	High  Precision = 1
	Fast  Precision = 2
)

// ValueType is the type of a metadata value, with GGUF's number.
type ValueType uint32

// The types of metadata values.
const (
	Uint8   ValueType = 0
	Int8    ValueType = 1
	Uint16  ValueType = 2
	Int16   ValueType = 3
	Uint32  ValueType = 4
	Int32   ValueType = 5
	Float32 ValueType = 6
	Bool    ValueType = 7
	String  ValueType = 8
	Array   ValueType = 9
	Uint64  ValueType = 10
	Int64   ValueType = 11
	Float64 ValueType = 12
)
