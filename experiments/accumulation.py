#!/usr/bin/env python3
"""How a matrix unit's 13 fraction bits show in a product, and what promotion does about it.

Random matrices are cast to E4M3 with one scale each (`fp8scope cast`), and the codes multiplied by `fp8scope
gemm` on several matrix units with several promotion intervals. The casts own none of the error, so all of it is
the unit's: relative Frobenius norm, 99th percentile of |D - P| / |P|, and the largest |D - P| over the rms of
P, the product in binary64. Writes a CSV and a figure.

"Nearly 2 % at K = 4096" (arXiv:2412.19437, section 3.5.2) names neither distribution nor metric: see the
shifted normals, where the mean decides. `hopper_wgmma:c=outside` is a negative control: a unit that adds the
sums of its steps outside the alignment, to nearest, errs 400 times less than Hopper on positive inputs.
"""
import argparse
import csv
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
ROWS = 64  # of A and of B: 4096 outputs
UNITS = {"hopper_wgmma": ["none", "512", "256", "128", "64", "32"], "blackwell_tcgen05": ["none"],
         "fp32_sequential": ["none"], "hopper_wgmma:c=outside": ["none"]}
METRICS = {"total": "relative Frobenius", "p99": "99th percentile of elements", "max": "largest element / rms"}
LENGTHS = [256, 512, 1024, 2048, 4096, 8192, 16384]


def inputs(rng, k):
    """{name: (A, B)}, float32 [ROWS, k] each."""
    normal = lambda mean: tuple((rng.standard_normal((ROWS, k)) + mean).astype("f4") for _ in "ab")
    uniform = lambda low: tuple(rng.uniform(low, 1, (ROWS, k)).astype("f4") for _ in "ab")
    return {"N(0,1)": normal(0.0), "N(0.3,1)": normal(0.3), "N(0.5,1)": normal(0.5), "N(1,1)": normal(1.0),
            "|N(0,1)|": tuple(np.abs(x) for x in normal(0.0)), "U(-1,1)": uniform(-1.0), "U(0,1)": uniform(0.0)}


def run(program, *arguments):
    return subprocess.run([program, *arguments], check=True, capture_output=True, text=True).stdout


def unit_error(program, a, b, unit, promote):
    """{name: value} of the errors that `gemm` prints."""
    out = run(program, "gemm", a, b, "--recipe", "none", "--format", "e4m3", "--accumulator", unit, "--promote", promote)
    return {line.split()[0]: float(line.split()[1]) for line in out.splitlines()[1:]}


def measure(program, lengths):
    rng = np.random.default_rng(2412_19437)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        codes = [f"{folder}/{side}.h5:/codes" for side in "ab"]
        for k in lengths:
            for name, matrices in inputs(rng, k).items():
                for side, matrix in zip("ab", matrices):
                    np.save(f"{folder}/{side}.npy", matrix)
                    run(program, "cast", f"{folder}/{side}.npy", "-r", "te_current", "-o", f"{folder}/{side}.h5")
                for unit, promotions in UNITS.items():
                    for promote in promotions:
                        e = unit_error(program, *codes, unit, promote)
                        rows.append(dict(inputs=name, k=k, unit=unit, promote=promote, **{m: e[m] for m in METRICS}))
            print(f"K = {k} done", file=sys.stderr)
    return rows


def table(rows, k, metric):
    """The rows of one K as text, in %: inputs down, intervals across."""
    columns = [(u, p) for u, ps in UNITS.items() for p in ps]
    lines = [f"{METRICS[metric]}, %, K = {k}", "",
             "| inputs | " + " | ".join(u if p == "none" else f"N_C = {p}" for u, p in columns) + " |",
             "|---" * (len(columns) + 1) + "|"]
    for name in dict.fromkeys(r["inputs"] for r in rows):
        cells = [next(100 * r[metric] for r in rows
                      if (r["inputs"], r["k"], r["unit"], r["promote"]) == (name, k, u, p)) for u, p in columns]
        lines.append(f"| {name} | " + " | ".join(f"{c:.2g}" for c in cells) + " |")
    return "\n".join(lines) + "\n"


def plot(rows, path):
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    names = list(dict.fromkeys(r["inputs"] for r in rows))
    figure, axes = plt.subplots(1, len(names), figsize=(2.6 * len(names), 3.2), sharey=True, constrained_layout=True)
    for axis, name in zip(axes, names):
        for unit, promotions in UNITS.items():
            for promote in promotions:
                some = [r for r in rows if (r["inputs"], r["unit"], r["promote"]) == (name, unit, promote)]
                axis.loglog([r["k"] for r in some], [100 * r["total"] for r in some], "-o", ms=3,
                            label=unit if promote == "none" else f"{unit}, N_C = {promote}")
        axis.axhline(2, color="grey", lw=0.6)
        axis.set(title=name, xlabel="K")
    axes[0].set_ylabel("error of the unit, % (Frobenius)")
    axes[-1].legend(fontsize=7, bbox_to_anchor=(1.03, 0.5), loc="center left")
    figure.savefig(path, dpi=110, metadata={"Software": None})


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--program", default=str(ROOT / "build/release/fp8scope"))
    parser.add_argument("--csv", help="write every row here")
    parser.add_argument("--figure", help="draw K against error here")
    parser.add_argument("--k", type=int, nargs="*", default=LENGTHS, help="lengths of the contracted dimension")
    args = parser.parse_args()
    rows = measure(args.program, args.k)
    if args.csv:
        with open(args.csv, "w", newline="") as f:
            writer = csv.DictWriter(f, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)
    if args.figure:
        plot(rows, args.figure)
    for metric in METRICS:
        print(table(rows, 4096 if 4096 in args.k else args.k[-1], metric))


if __name__ == "__main__":
    try:
        main()
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"accumulation: {error}{getattr(error, 'stderr', '') or ''}")
