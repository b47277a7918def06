#!/usr/bin/env bash
# Line and branch coverage of csrc/ by the tests, on a core built for this in build/coverage/. Prints a table of the files,
# with the lines that no test reached or that have a branch never taken, and the totals. Exits with 1 if a test fails.
# Needs gcc and an environment with the extra [dev]. The arguments are pytest's. (With -n, a worker that ends slowly is
# killed, and its coverage is lost.)
# A kernel is compiled for each instruction set and element type. A line or branch counts once, and is reached if it is
# reached in any of them. Code for other machines (Arm, MSVC) does not count. Code that only a C program of the tests or a
# forked child reaches counts as not reached.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$PWD/build/coverage
rm -rf "$folder"
mkdir -p "$folder/lib"

# Without optimization and inlining, so that lines and branches are those of the source.
CC=gcc CFLAGS='-O0 -Dalways_inline=noinline -Wno-attributes --coverage -fprofile-update=atomic' python setup.py -q build \
    --build-base="$folder" --build-lib="$folder/lib" egg_info --egg-base="$folder/lib"

export PYTHONPATH=$folder/lib
core=$(cd "$folder" && python -c 'from zerodl_c import _zerodl as core; print(core)')
[[ $core == *"$folder/lib"* ]] || { echo "coverage.sh: Python imports another core: $core" >&2; exit 1; }

pytest -p no:cacheprovider "$@" || { echo 'coverage.sh: tests fail' >&2; status=1; }

# Kernels run often, which is not suspicious.
gcovr --filter csrc/ --merge-mode-functions separate --gcov-suspicious-hits-threshold 0 \
    --json "$folder/coverage.json" "$folder"
report=(gcovr --add-tracefile "$folder/coverage.json" --merge-lines)
"${report[@]}" --txt-metric branch
"${report[@]}" --txt-metric line --txt --print-summary
exit ${status-0}
