#!/usr/bin/env bash
# The control of cuda_compile.sh: with 24 registers a kernel spills, and the check must say so.
#   cuda_spill_control.sh NVCC SOURCE
folder=$(dirname "$0")
"$folder/cuda_compile.sh" "$1" "$2" 90a -maxrregcount=24 "$folder/cuda_spills.cu"
code=$?
((code == 77)) && exit 77
((code == 1))
