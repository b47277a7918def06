#!/usr/bin/env bash
# The tests, against a core built with AddressSanitizer (leaks included) and UBSan in build/sanitize/.
# Needs gcc and an environment with the extra [test]; its arguments are pytest's, as in
#     tools/sanitize.sh -k matmul
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$PWD/build/sanitize
rm -rf "$folder"
mkdir -p "$folder/lib"

flags='-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all'
CC=gcc CFLAGS=$flags python setup.py -q build --build-base="$folder" --build-lib="$folder/lib" \
    egg_info --egg-base="$folder/lib"

# Python itself is not built so: ASan comes first by preloading (with libstdc++, whose exceptions it
# must know), and sees each allocation by PYTHONMALLOC. Python leaks at exit; what counts is csrc/.
export PYTHONPATH=$folder/lib PYTHONMALLOC=malloc UBSAN_OPTIONS=print_stacktrace=1
export ASAN_OPTIONS=log_path=$folder/report,malloc_context_size=4,allocator_may_return_null=1
export LSAN_OPTIONS=exitcode=0
preload="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libstdc++.so)"

core=$(cd "$folder" && LD_PRELOAD=$preload python -c 'from zerodl_c import _zerodl as core; print(core)')
[[ $core == *"$folder/lib"* ]] || { echo "sanitize.sh: Python imports another core: $core" >&2; exit 1; }

status=0
# --capture=sys: UBSan writes to file descriptor 2 just before it ends the process
LD_PRELOAD=$preload pytest --capture=sys -p no:cacheprovider "$@" || status=$?

for report in "$folder"/report.*; do
    if [ -f "$report" ] && grep -qE 'ERROR: AddressSanitizer|csrc/' "$report"; then
        cat "$report"
        echo 'sanitize.sh: the core has the error or leak that is shown above' >&2
        status=1
    fi
done
exit $status
