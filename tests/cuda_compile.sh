#!/usr/bin/env bash
# Compiles kernels for one architecture and reads what ptxas says of each (-Xptxas -v).
#   cuda_compile.sh NVCC SOURCE ARCH [-FLAG...] FILE...
# Fails if a file does not compile, if a kernel spills registers, or if ptxas gave up on something
# that wgmma needs. Exit code 77 where there is no nvcc.
set -uo pipefail
nvcc=$1 source=$2 arch=$3
shift 3
flags=()
while [[ ${1:-} == -* ]]; do flags+=("$1"); shift; done
[[ -x $nvcc ]] || { echo "skipped: no nvcc"; exit 77; }
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT

compile() {
  "$nvcc" -std=c++20 -O3 --fmad=false --ftz=false --prec-div=true --prec-sqrt=true -I"$source" \
    -gencode "arch=compute_$arch,code=sm_$arch" -Xptxas -v "${flags[@]}" -cubin -o "$folder/$1.cubin" "$2" >"$folder/$1.log" 2>&1 ||
    echo "error: $2 does not compile for sm_$arch" >>"$folder/$1.log"
}
n=0
for file in "$@"; do
  compile $n "$file" &
  ((++n % 2 == 0)) && wait  # two at a time
done
wait

cat "$folder"/*.log | c++filt | awk -v arch="sm_$arch" '
  /error/ { print; bad = 1 }
  # setmaxnreg ignored, wgmma serialised: the kernel would run, slowly.
  /C7508|C7510|C7515/ { print; bad = 1 }
  /Compiling entry function/ {
    name = $0; sub(/.*function .void /, "", name); sub(/.*function ./, "", name); sub(/. for .sm_.*/, "", name)
    gsub(/fp8scope::cuda::|fp8scope::|device_loops::|\(anonymous namespace\)::/, "", name)
    if (!sub(/>\([^>]*$/, ">", name)) sub(/\([^<>]*$/, "", name)
  }
  /bytes stack frame/ { stack = $1; stores = $5; loads = $9 }
  /Used [0-9]+ registers/ {
    match($0, /Used [0-9]+/); registers = substr($0, RSTART + 5, RLENGTH - 5)
    printf "%-6s %-52s %4d registers %4d stack %4d + %d spilled\n", arch, substr(name, 1, 52), registers, stack, stores, loads
    kernels++
    if (stores + loads > 0) { print "error: " name " spills"; bad = 1 }
  }
  END { print kernels + 0 " kernels"; exit bad || kernels == 0 }'
