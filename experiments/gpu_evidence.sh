#!/usr/bin/env bash
# Everything that a GPU has to say, in one command: layouts first, then kernels against the emulator, probes and
# recorded words (twice), the libraries, the sanitizers, the speeds. Reads the GPU's state and never changes it.
#
#   experiments/gpu_evidence.sh [--dry-run] [--out FOLDER] [--program build/release/fp8scope]
#
# FOLDER (default gpu-evidence) gets one log a step, golden.h5, the benches' JSON and summary.txt. --dry-run asks
# models and the kernels' loops on the CPU instead: it shows that every step works, and proves nothing about
# hardware. Exit codes: 0 all well, 1 something differs, 77 no GPU.
set -uo pipefail
cd "$(dirname "$0")/.."

dry=0 out=gpu-evidence program=build/release/fp8scope
while (($#)); do
  case "$1" in
    --dry-run) dry=1 ;;
    --out) out=$2 && shift ;;
    --program) program=$2 && shift ;;
    -h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0" && exit 0 ;;
    *) echo "gpu_evidence.sh: unknown word '$1' (see --help)" >&2 && exit 2 ;;
  esac
  shift
done
[[ -x $program ]] || { echo "gpu_evidence.sh: $program is not there; build it, or name it with --program" >&2; exit 2; }
if ((!dry)) && "$program" info | grep -q '^gpu *none'; then
  echo "gpu_evidence.sh: skipped, $("$program" info | sed -n 's/^gpu *none: //p'); --dry-run shows the steps" >&2
  exit 77
fi
mkdir -p "$out"
: >"$out/summary.txt"
failed=0 number=0

say() { echo "$*" | tee -a "$out/summary.txt"; }

# step NAME SECONDS COMMAND...: runs it, keeps its words, goes on whatever it does.
step() {
  local name=$1 limit=$2 code=0 start=$SECONDS verdict
  shift 2
  local log
  printf -v log '%s/%02d_%s.log' "$out" $((number += 1)) "$name"
  { echo "\$ $*"; timeout "$limit" "$@"; } >"$log" 2>&1 || code=$?
  case $code in
    0) verdict=ok ;;
    77) verdict="skipped: $(tail -n 1 "$log")" ;;
    124) verdict="stopped after $limit s" failed=1 ;;
    *) verdict="FAILED with exit code $code" failed=1 ;;
  esac
  say "$(printf '%-28s %4d s  %s' "$name" $((SECONDS - start)) "$verdict")"
  return "$code"
}

skip() { say "$(printf '%-28s %4s    not run: %s' "$1" - "$2")"; }

((dry)) && say "dry run: models and loops on the CPU; nothing here is evidence of hardware"
say "$("$program" info | tr '\n' ';')"
((dry)) || step machine 60 nvidia-smi -q

# 1. Layouts. If operands are fed wrongly, nothing after it means anything.
if ((dry)); then layout=(--emulate hopper_wgmma); else layout=(--all); fi
if ! step layout 300 "$program" probe --layout "${layout[@]}"; then
  say "stopped: the layouts are wrong"
  exit 1
fi

# 2. Kernels against the emulator: random, edge and trace tensors; products; anybody's kernel by the C interface.
if ((dry)); then
  step kernels 600 "$program" validate --gpu --device cuda-loops
else
  step kernels 900 "$program" validate --gpu
  step kernels_trace 900 "$program" validate --gpu notebooks-data/traces/smollm2.h5
fi
for kernel in native_gemm emulated_gemm; do
  for scales in 1x128,128x128 tensor; do
    step "${kernel}_${scales/,/_}" 300 "$program" validate --kernel "builtin:$kernel" --scales "$scales"
  done
done

# 3. Probes, and words for machines without the GPU. Every word is computed twice within a run; a second run must
# give the same file but for its date.
golden=$out/golden.h5
if ((dry)); then
  step probes 600 "$program" probe --emulate hopper_wgmma -o "$golden" --words 20000 --digest-words 200000
  step probes_again 600 "$program" probe --emulate hopper_wgmma --no-search -o "$out/golden_again.h5" --words 20000 --digest-words 200000
else
  step probes 900 "$program" probe --all -o "$golden"
  step probes_again 900 "$program" probe --all --no-search -o "$out/golden_again.h5"
fi
# Named by its content, not by its date: the hashes of every dataset stand in the groups' attributes.
step golden_words 900 "$program" validate "$golden"
step golden_same_twice 60 /usr/bin/python3 - "$golden" "$out/golden_again.h5" <<'PY'
import sys
import h5py
one, two = (h5py.File(name) for name in sys.argv[1:])
assert list(one) == list(two), "other groups"
for name in one:
    for data in one[name]:
        assert (one[name][data][()] == two[name][data][()]).all(), f"{name}/{data} differs between two runs"
print(f"{len(one)} groups, every dataset the same in two runs; source {one.attrs['source']}")
PY

# 4. Libraries: cuBLASLt's promotion interval, and PyTorch by the snippet of the README.
if ((dry)); then skip cublaslt "dry run"; else step cublaslt 600 "$program" probe --library; fi
awk '/^```python$/ {inside = 1; text = ""; next} /^```$/ {if (inside && text ~ /_scaled_mm/) printf "%s", text; inside = 0} inside {text = text $0 "\n"}' README.md >"$out/snippet.py"
if python3 -c 'import torch, h5py; assert torch.cuda.is_available()' 2>/dev/null; then
  for fast in True False; do
    sed "s/use_fast_accum=True/use_fast_accum=$fast/" "$out/snippet.py" >"$out/snippet_$fast.py"
    (cd "$out" && python3 "snippet_$fast.py" && mv dump.h5 "torch_$fast.h5") && step "torch_fast_accum_$fast" 300 "$program" validate "$out/torch_$fast.h5"
  done
elif ((dry)); then
  (cd "$out" && PYTHONPATH=$OLDPWD/tests/numpy_torch /usr/bin/python3 snippet.py) && step torch_snippet 300 "$program" validate "$out/dump.h5"
else
  skip torch "this Python has no torch with CUDA, or no h5py"
fi

# 5. Sanitizers, on small sizes.
sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)
for tool in memcheck racecheck; do
  if ((dry)); then skip "$tool" "dry run"; continue; fi
  if [[ -z $sanitizer ]]; then skip "$tool" "compute-sanitizer was not found"; continue; fi
  step "${tool}_units" 300 "$sanitizer" --tool "$tool" --error-exitcode 1 "$program" probe --layout --all
  for kernel in native_gemm emulated_gemm; do
    step "${tool}_$kernel" 300 "$sanitizer" --tool "$tool" --error-exitcode 1 --target-processes all \
      "$program" validate --kernel "builtin:$kernel" --shape 128x128x256
  done
  step "${tool}_kernels" 600 "$sanitizer" --tool "$tool" --error-exitcode 1 "$program" validate --gpu
done

# 6. Speeds, as ratios to ceilings of the same run.
for suite in $("$program" bench none 2>&1 | grep -oE '(gpu|cuda)[a-z_]*' | sort -u); do
  if ((dry)); then skip "bench_$suite" "dry run"; continue; fi
  step "bench_$suite" 600 bash -c '"$0" bench "$1" --json >"$2"' "$program" "$suite" "$out/bench_$suite.json"
done

say "logs and files: $out"
exit $failed
