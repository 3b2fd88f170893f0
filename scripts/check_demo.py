#!/usr/bin/env python3
"""Checks the demonstration's figures against this project's bars.

    target/release/examples/fused_demo --json | scripts/check_demo.py

Errors, memory and the sameness of bits for every product; for decoding (m = 1, one thread, EXACT) also how many times as
fast as naive each instruction-set level is: the bars lie far below what is measured, so that a busy machine meets them.
Exit code 1 where a bar is missed.
"""

import json
import sys

LARGEST_DIFFERENCE = 6e-6
LARGEST_RELATIVE = 1e-5
LARGEST_NMSE = 1e-12
MEMORY_RATIO = 50
SPEED_UPS = {"avx2": 8, "avx512vnni": 20}


def missed_bars(tensor):
    for product in tensor["products"]:
        naive, fused = product["naive"], product["fused"]
        what = f"{tensor['name']}, m = {product['m']}, {product['threads']} threads"
        bars = [
            ("largest difference", fused["max_abs_diff"], fused["max_abs_diff"] <= LARGEST_DIFFERENCE),
            ("largest relative difference", fused["max_rel_diff"], fused["max_rel_diff"] <= LARGEST_RELATIVE),
            ("NMSE", fused["nmse"], fused["nmse"] <= LARGEST_NMSE),
            ("bits as on one thread", product["same_bits_as_one_thread"], product["same_bits_as_one_thread"] is True),
        ]
        if product["m"] == 1:
            peak = fused["peak_bytes"]
            bars.append(("peak bytes", peak, peak * MEMORY_RATIO <= naive["peak_bytes"]))
        yield from (f"{what}: {name} is {value}" for name, value, met in bars if not met)
    for level in tensor["levels"]:
        bar = SPEED_UPS.get(level["isa"])
        if level["precision"] == "EXACT" and bar is not None and not level["speed_up"] >= bar:
            yield f"{level['isa']}: {level['speed_up']:.1f} times as fast as naive, not {bar}"
    if tensor["nan_or_inf"] != 0:
        yield f"{tensor['nan_or_inf']} weights are NaN or infinite"


def main():
    tensors = json.load(sys.stdin)["tensors"]
    missed = [bar for tensor in tensors for bar in missed_bars(tensor)]
    for bar in missed:
        print(f"MISSED {bar}")
    products = sum(len(tensor["products"]) for tensor in tensors)
    print(f"{products} products checked, {len(missed)} bars missed")
    sys.exit(len(missed) > 0 or products == 0)


if __name__ == "__main__":
    main()
