#!/usr/bin/env bash
# Builds the example kernel of a GPU as its users would, and has it judged.
#   device_kernel.sh NVCC SOURCE PROGRAM
# Exit code 77 where there is no nvcc, or the kernel says that there is no device.
set -uo pipefail
nvcc=$1 source=$2 program=$3
[[ -x $nvcc ]] || { echo "skipped: no nvcc"; exit 77; }
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
"$nvcc" -shared -cudart static -Xcompiler -fPIC -fmad=false -arch=native -I"$source" -o "$folder/libdevice_kernel.so" "$source/tests/kernels/device_kernel.cu" 2>/dev/null ||
  "$nvcc" -shared -cudart static -Xcompiler -fPIC -fmad=false -gencode arch=compute_90a,code=sm_90a -I"$source" -o "$folder/libdevice_kernel.so" \
    "$source/tests/kernels/device_kernel.cu" || exit 1
"$program" validate --kernel "$folder/libdevice_kernel.so:device_gemm" --model fp32_sequential --scales tensor --promote none
