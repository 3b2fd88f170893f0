// Prints what is in a GGUF file, multiplies by one of its tensors, and prints a checksum of the product.
//
//	go run ./examples/checksum FILE
//
// The same numbers in every language: examples/checksum/README.md in the repository says which.
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"os"

	"gguffuse"
)

func run() error {
	if len(os.Args) != 2 {
		return errors.New("usage: checksum FILE")
	}
	file, err := gguffuse.Open(os.Args[1], nil)
	if err != nil {
		return err
	}
	defer file.Close()
	name, err := file.Text("general.name")
	if err != nil {
		return err
	}
	tokens, err := file.Texts("tokenizer.ggml.tokens")
	if err != nil {
		return err
	}
	weights, err := file.Tensor("blk.0.ffn_gate.weight")
	if err != nil {
		return err
	}
	fmt.Printf("%s: %d tensors, tokens %q\n", name, file.Len(), tokens)
	fmt.Printf("%s: %v %v at byte %d\n", weights.Name, weights.Type, weights.Dims, weights.AbsoluteOffset)

	const m = 1
	x := make([]float32, m*weights.K)
	for i := range x {
		x[i] = float32((i*7919)%2003-1001) / 1001
	}
	context, err := gguffuse.NewContext(nil) // EXACT, all threads
	if err != nil {
		return err
	}
	defer context.Close()
	y, err := weights.MatMul(context, x, m)
	if err != nil {
		return err
	}
	hash := fnv.New64a()
	if err := binary.Write(hash, binary.LittleEndian, y); err != nil {
		return err
	}
	fmt.Printf("checksum %016x\n", hash.Sum64())
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "checksum:", err)
		os.Exit(1)
	}
}
