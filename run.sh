#!/usr/bin/env bash
# Two commands for a machine with nothing on it (Debian 12, Ubuntu 24.04 or newer):
#   ./run.sh demo    install what is missing, build, replay the bundled trace, draw the figure
#   ./run.sh check   install what is missing, build, run every test, also under the sanitizers (half an hour)
# Nothing needs root if nothing is missing.
set -euo pipefail
cd "$(dirname "$0")"

build_packages=(g++ cmake ninja-build pkg-config libeigen3-dev libboost-program-options-dev
  libhdf5-dev libfmt-dev libgtest-dev libhwy-dev libtomlplusplus-dev nlohmann-json3-dev libtbb-dev
  libmpfr-dev zlib1g-dev)
figure_packages=(python3-numpy python3-h5py python3-matplotlib)
check_packages=(clang  # one result file from two compilers
  libclang-rt-dev      # the fuzzers
  python3-pytest python3-pandas python3-xarray python3-plotly python3-yaml python3-torch
  chromium chromium-driver python3-selenium  # the report in a browser
  python3-nbconvert python3-ipykernel        # the notebook
  slurm-wlm munge)                           # a cluster of one node

portable_packages=(xz-utils libaec-dev zlib1g-dev)

usage() {
  sed -n '2,5s/^# \{0,1\}//p' "$0"
  echo "  ./run.sh bench   build, measure the speeds of the README"
  echo "  ./run.sh check-plain | check-sanitized   the two parts of check"
  echo "  ./run.sh claims  [--quick]  test the claims of the field: notebooks-data/claims.md (under an hour; about a minute)"
  echo "  ./run.sh portable  build one binary for another machine: build/portable/fp8scope"
  exit "${1:-2}"
}

install_missing() {
  command -v dpkg-query >/dev/null || return 0  # another distribution: CMake names what it misses
  local missing=() package
  for package in "$@"; do
    [[ $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
  done
  ((${#missing[@]} == 0)) && return 0
  local as_root=()
  if ((EUID != 0)); then
    command -v sudo >/dev/null || {
      echo "run.sh: as root, run: apt-get install -y --no-install-recommends ${missing[*]}" >&2
      exit 2
    }
    as_root=(sudo)
  fi
  echo "${as_root[*]:+sudo }apt-get update && ${as_root[*]:+sudo }apt-get install -y --no-install-recommends ${missing[*]}"
  "${as_root[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

build() {  # PRESET [TARGET...]
  local preset=$1 targets=()
  shift
  (($#)) && targets=(--target "$@")
  cmake --preset "$preset" -Wno-dev
  cmake --build --preset "$preset" "${targets[@]}" -- --quiet
}

demo() {
  install_missing "${build_packages[@]}" "${figure_packages[@]}"
  build release fp8scope
  mkdir -p demo-out
  echo
  build/release/fp8scope replay notebooks-data/traces/smollm2.h5 -o demo-out/results.h5 \
    --recipes te_delayed,te_delayed:amax_history_len=1,te_current,te_block,dsv3,mxfp8
  /usr/bin/python3 experiments/plot_replay.py demo-out/results.h5 -o demo-out/replay.png
  echo
  echo "results  demo-out/results.h5   (read it with h5py, or: build/release/fp8scope export demo-out/results.h5 --format csv)"
  echo "figure   demo-out/replay.png"
}

install_for_check() {
  install_missing "${build_packages[@]}" "${figure_packages[@]}" "${check_packages[@]}"
}

check_plain() {
  build release
  command -v clang++ >/dev/null && build clang fp8scope
  ctest --preset release -j "$(nproc)"
}

# The parsers under AddressSanitizer and UBSan, the threads under ThreadSanitizer, and every fuzzer for
# half a minute.
check_sanitized() {
  if ! command -v clang++ >/dev/null; then
    echo "skipped: the sanitizers and fuzzers need clang++" >&2
    return 0
  fi
  build asan asan_tests fuzzers  # one build for both
  # Without the products of whole traces: minutes each here, and the tests of gemm are among the rest.
  ctest --preset asan -L asan -E 'ReplayGemms|Products' -j "$(nproc)"
  ctest --preset fuzz -j "$(nproc)"
  build tsan tsan_tests
  ctest --preset tsan -L tsan -j "$(nproc)"
}

portable() {
  install_missing "${build_packages[@]}" "${portable_packages[@]}"
  cuda/portable_libraries.sh build/portable/libraries
  build portable fp8scope
  tests/portable_check.sh build/portable/fp8scope
}

case "${1:-}" in
  portable) portable ;;
  demo) demo ;;
  check)  # the plain tests last: theirs is the summary that stays in sight
    install_for_check
    check_sanitized
    check_plain
    ;;
  check-plain)
    install_for_check
    check_plain
    ;;
  check-sanitized)
    install_for_check
    check_sanitized
    ;;
  bench)
    install_missing "${build_packages[@]}"
    build release fp8scope
    shift
    for suite in "${@:-cast tile replay}"; do
      for name in $suite; do build/release/fp8scope bench "$name"; done
    done
    ;;
  claims)
    install_missing "${build_packages[@]}" "${figure_packages[@]}" python3-pandas
    build release fp8scope
    shift
    /usr/bin/python3 experiments/claims "$@"
    ;;
  -h | --help) usage 0 ;;
  *) usage ;;
esac
