#!/usr/bin/env bash
# The C core in WebAssembly, as browsers run it, under Node: its results with vectors of 128 bits beside those without, and
# its speed beside plain loops. Prints the tables of docs/wasm.md. Needs node, and zig's clang: pip install ziglang
set -euo pipefail
cd "$(dirname "$0")/.."
top=$PWD work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
zig='python -m ziglang'

build() { # core and programs, in a folder of the given name, with the given flags
    local flags=(-target wasm32-wasi -O3 -std=gnu11 -ffp-contract=off -I"$top/csrc" "${@:2}")
    mkdir "$work/$1"
    cd "$work/$1"
    printf '%s\n' "$top"/csrc/*.c "$top"/csrc/isa/*.c |
        xargs -P2 -I{} sh -c '"$@" -c {} -o "$(basename {} .c).o"' _ $zig cc "${flags[@]}"
    for bits in 32 64; do
        $zig cc "${flags[@]}" -DREAL_BITS=$bits "$top/tools/digest.c" ./*.o -lm -o digest$bits.wasm
        node --no-warnings "$top/tools/wasi.js" digest$bits.wasm
    done > digest
    $zig cc "${flags[@]}" "$top/tools/wasm_speed.c" ./*.o -lm -o speed.wasm
    cd "$top"
}

# Without vectors, as a compiler that has none builds it; and with the proposal that all browsers have since 2023.
build scalar -D__TINYC__ -D__STDC_NO_ATOMICS__
build simd -msimd128

printf '| | level | functions equal to the bit | largest difference |\n| --- | --- | --- | --- |\n| SIMD beside scalars '
python tools/compare_digests.py "$work/scalar/digest" "$work/simd/digest"
printf '\n| float32 | kernel | plain loops | |\n| --- | --- | --- | --- |\n'
node --no-warnings tools/wasi.js "$work/simd/speed.wasm"
