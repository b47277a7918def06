#!/usr/bin/env bash
# The C core on other machines: zig's clang builds it, an emulator runs it if there is one, and its results are compared
# with those of this machine's lowest level. Prints the table of docs/c.md; takes half an hour. Needs
#     pip install ziglang       the compiler, with the headers and libraries of every target
#     qemu-user, wine, node     the emulators; without one of them, its targets are only built
# The arguments are targets; the default is all of them. Example: tools/cross.sh aarch64-linux-musl
set -euo pipefail
cd "$(dirname "$0")/.."
top=$PWD
zig='python -m ziglang'
$zig version > /dev/null || { echo 'cross.sh: needs zig: pip install ziglang' >&2; exit 2; }
[ $# -gt 0 ] || set -- x86_64-linux-musl x86_64-linux-gnu x86-linux-musl aarch64-linux-musl arm-linux-musleabihf \
    s390x-linux-musl riscv64-linux-musl wasm32-wasi x86_64-windows-gnu aarch64-windows-gnu x86_64-macos aarch64-macos

build() { # in a folder of the target's name
    # on riscv64, clang warns of loops that it does not unroll
    local flags=(-target "$1" -O2 -std=gnu11 -ffp-contract=off -Wall -Wextra -Werror -Wno-pass-failed -I"$top/csrc")
    case $1 in
        x86-*) flags+=(-msse2 -mfpmath=sse -pthread) ;;
        wasm32-*) ;; # has no threads
        *) flags+=(-pthread) ;;
    esac
    rm -rf "$top/build/cross/$1"
    mkdir -p "$top/build/cross/$1"
    cd "$top/build/cross/$1"
    for source in "$top"/csrc/*.c "$top"/csrc/isa/*.c; do
        $zig cc "${flags[@]}" -c "$source" -o "$(basename "$source" .c).o"
    done
    for bits in 32 64; do
        $zig cc "${flags[@]}" -DREAL_BITS=$bits "$top/tools/digest.c" ./*.o -lm -o digest$bits.exe
    done
}

emulator() { # that runs a target's programs, if one is known
    case $1 in
        x86_64-linux-*) echo env ;;
        x86-linux-*) echo qemu-i386 ;;
        *-linux-*) echo "qemu-${1%%-*}" ;;
        x86_64-windows-*) echo wine ;;
        wasm32-*) echo node ;;
    esac
}

run() { # both digests in this folder, by an emulator
    for bits in 32 64; do
        case $1 in
            wine) WINEDEBUG=-all wine digest$bits.exe | tr -d '\r' ;;
            node) node --no-warnings "$top/tools/wasi.js" digest$bits.exe ;;
            *) "$1" ./digest$bits.exe ;;
        esac
    done
}

native=x86_64-linux-musl
(build $native && ZERODL_ISA=baseline run env > ../here)
printf '| target | run by | level | functions equal to the bit | largest difference |\n| --- | --- | --- | --- | --- |\n'
status=0
for target; do
    emulator=$(emulator "$target")
    (build "$target")
    cd "build/cross/$target"
    if ! type "${emulator:-no}" > /dev/null 2>&1; then
        echo "| $target | built, not run | | | |"
    elif run "$emulator" > there; then
        printf '| %s | %s ' "$target" "${emulator/env/this machine}"
        python "$top/tools/compare_digests.py" ../here there || status=1
    else
        status=1
        echo "cross.sh: $target: the program failed" >&2
    fi
    cd "$top"
done
exit $status
