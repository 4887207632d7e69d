#!/usr/bin/env bash
# A portable binary needs nothing but libc, libm and the loader, no newer than glibc 2.35, and starts.
#   portable_check.sh PROGRAM
set -euo pipefail
needed=$(readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
echo "needs:" $needed
extra=$(grep -vE '^(libc\.so\.6|libm\.so\.6|ld-linux-x86-64\.so\.2)$' <<<"$needed" || true)
[[ -z $extra ]] || { echo "error: also needs $extra"; exit 1; }
newest=$(readelf -V "$1" | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -1)
echo "newest symbol: $newest"
[[ $(printf '%s\nGLIBC_2.36\n' "$newest" | sort -V | tail -1) == GLIBC_2.36 ]] || { echo "error: $newest"; exit 1; }
"$1" info
