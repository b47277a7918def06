#!/usr/bin/env bash
# The tests, against a core built with sanitizers in build/sanitize/:
#     tools/sanitize.sh            AddressSanitizer (leaks included) and UBSan
#     tools/sanitize.sh --thread   ThreadSanitizer, by default on the tests of threads
# Needs gcc and an environment with the extra [test]. The other arguments are pytest's, for example
#     tools/sanitize.sh -k matmul
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$PWD/build/sanitize

# Python itself has no sanitizer, so the library is preloaded, together with libstdc++, whose exceptions it must know.
if [ "${1-}" = --thread ]; then
    shift
    # These tests fail here: the sanitizer has a thread of its own, and slows the calls of a stream.
    [ $# -gt 0 ] || set -- tests/test_races.py tests/test_threads.py -k 'not threads_start and not signals_reach'
    sanitizer=libtsan.so flags=-fsanitize=thread
    counts=csrc/
    export OPENBLAS_NUM_THREADS=1 # NumPy's threads have no sanitizer, so their writes would look like races
    # The tests' forked children start threads. A long history shows where the other thread was.
    export TSAN_OPTIONS=log_path=$folder/report,exitcode=0,history_size=7,die_after_fork=0
else
    sanitizer=libasan.so flags='-fsanitize=address,undefined -fno-sanitize-recover=all'
    counts='ERROR: AddressSanitizer|csrc/' # Python leaks at exit
    # It sees each allocation by PYTHONMALLOC.
    export PYTHONMALLOC=malloc UBSAN_OPTIONS=print_stacktrace=1 LSAN_OPTIONS=exitcode=0
    export ASAN_OPTIONS=log_path=$folder/report,malloc_context_size=4,allocator_may_return_null=1
fi
preload="$(gcc -print-file-name=$sanitizer) $(gcc -print-file-name=libstdc++.so)"

rm -rf "$folder"
mkdir -p "$folder/lib"
CC=gcc CFLAGS="-O1 -g -fno-omit-frame-pointer $flags" python setup.py -q build --build-base="$folder" \
    --build-lib="$folder/lib" egg_info --egg-base="$folder/lib"

export PYTHONPATH=$folder/lib
core=$(cd "$folder" && LD_PRELOAD=$preload python -c 'from zerodl_c import _zerodl as core; print(core)')
[[ $core == *"$folder/lib"* ]] || { echo "sanitize.sh: Python imports another core: $core" >&2; exit 1; }

status=0
# --capture=sys: UBSan writes to file descriptor 2 just before it ends the process
# --deselect: a child that is forked while another thread allocates may hang in the sanitizers' own allocator, which
# takes no care of forks before LLVM 19 (llvm-project#96600)
LD_PRELOAD=$preload pytest --capture=sys -p no:cacheprovider \
    --deselect tests/test_threads.py::test_forks_while_threads_compute "$@" || status=$?

for report in "$folder"/report.*; do
    if [ -f "$report" ] && grep -qE "$counts" "$report"; then
        cat "$report"
        echo 'sanitize.sh: the core has the error, leak or race that is shown above' >&2
        status=1
    fi
done
exit $status
