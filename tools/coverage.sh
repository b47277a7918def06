#!/usr/bin/env bash
# Line and branch coverage of csrc/ by the tests, on a core built for it in build/coverage/: a table of each, with the
# lines that nothing reached, or of which a branch was never taken, and the totals. Ends with 1 if a test fails. Needs gcc
# and an environment with the extra [dev]; its arguments are pytest's. (With -n, a worker that takes long to end is
# killed, and what it ran is lost.)
# A kernel is compiled for each instruction set and element type: a line or branch counts once, and is reached if it is
# in any of them. What only another machine compiles (Arm, MSVC) does not count, nor what only a C program of the tests
# reaches, or a forked child, which ends without a word.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$PWD/build/coverage
rm -rf "$folder"
mkdir -p "$folder/lib"

# Neither optimized nor inlined, so that lines and branches stay what they are in the source.
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
