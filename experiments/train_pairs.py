#!/usr/bin/python3
"""FP8 against BF16 at the end of training, with the control that makes the difference readable.

For every seed one run of each mode, all with the same weights and text, and one more BF16 run whose initial
weights differ by 1e-6: the A/A control. What FP8 does to a loss curve counts only where it leaves the band of
BF16 against BF16. "Within 0.25 %" (arXiv:2412.19437, appendix B.1) comes with no such control.

Runs are processes of their own, two at a time; each keeps a checkpoint, so that after a stop the same command
goes on where it was. Writes one HDF5 file with every curve and the command, a figure, and prints a table.

    experiments/train_pairs.py --model s --steps 1000 --seeds 6            # the default
    experiments/train_pairs.py --model m --steps 200 --seeds 6 --batch 8
    experiments/train_pairs.py --figure-only --model s
"""
import argparse
import concurrent.futures
import pathlib
import shlex
import subprocess
import sys

import h5py
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
MODES = ["fp32", "te_delayed", "te_current", "dsv3", "mxfp8"]
CONTROL = "bf16 again"  # weights times 1 + 1e-6
EMA = 0.9
LIMIT = 0.25  # %
# Student's t, 97.5 %, by degrees of freedom; beyond, the normal value.
T = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26, 10: 2.23, 11: 2.20, 12: 2.18}


def command(args, mode, seed, stem):
    words = [args.program, "train", "--model", args.model, "--steps", args.steps, "--batch", args.batch, "--seed", seed,
             "--rate", args.rate, "--corpus", ROOT / "notebooks-data/corpus/kjv.txt", "--threads", 1, "--no-progress",
             "--reproducible", "--validate-every", max(1, args.steps // 10), "--checkpoint", f"{stem}.state.h5",
             "-o", f"{stem}.h5"]
    words += ["--mode", "bf16", "--perturb", 1e-6] if mode == CONTROL else ["--mode", mode]
    return [str(w) for w in words]


def run(args, mode, seed):
    stem = pathlib.Path(args.folder) / f"{args.model}-{args.steps}-{mode.replace(' ', '_')}-{seed}"
    if not pathlib.Path(f"{stem}.h5").exists():
        done = subprocess.run(command(args, mode, seed, stem), capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{mode}, seed {seed}: {done.stderr.strip()}")
        print(f"{mode}, seed {seed}: {done.stdout.strip().splitlines()[-1]}", file=sys.stderr, flush=True)
    with h5py.File(f"{stem}.h5") as f:
        return {"loss": f["loss/loss"][()], "validation": f["validation/loss"][()],
                "validation_step": f["validation/step"][()], "run": f.attrs["run"]}


def run_all(args):
    """{(mode, seed): curves}, by processes side by side; a seed is complete before the next begins."""
    jobs = [(mode, seed) for seed in range(1, args.seeds + 1) for mode in ["bf16", CONTROL] + args.modes]
    pathlib.Path(args.folder).mkdir(parents=True, exist_ok=True)
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        return dict(zip(jobs, pool.map(lambda job: run(args, *job), jobs)))


def write(args, runs):
    modes = ["bf16", CONTROL] + args.modes
    seeds = list(range(1, args.seeds + 1))
    stack = lambda key: np.array([[runs[m, s][key] for s in seeds] for m in modes])
    with h5py.File(args.output, "w") as f:
        f.attrs["schema"] = "fp8train_pairs"
        f.attrs["command"] = shlex.join(["experiments/train_pairs.py"] + sys.argv[1:])
        f.attrs["model"], f.attrs["steps"], f.attrs["batch"] = args.model, args.steps, args.batch
        f.attrs["control"] = "bf16 with every initial weight times 1 + 1e-6 n, n normal"
        f.create_dataset("mode", data=modes, dtype=h5py.string_dtype())
        f["seed"], f["validation_step"] = seeds, runs[modes[0], 1]["validation_step"]
        f.create_dataset("loss", data=stack("loss").astype("f4"), compression="gzip", shuffle=True)
        f.create_dataset("validation", data=stack("validation"))
        f.create_dataset("run", data=[[runs[m, s]["run"] for s in seeds] for m in modes], dtype=h5py.string_dtype())
        for name, text in [("loss", "training loss [mode, seed, step], nat"), ("validation", "held-out loss [mode, seed, point], nat"),
                           ("run", "all that decides the bits of the run")]:
            f[name].attrs["long_name"] = text


def ema(curves):
    """Exponential mean along the last axis, EMA = 0.9, started at the first value."""
    out = np.array(curves, dtype="f8")
    for i in range(1, out.shape[-1]):
        out[..., i] = EMA * out[..., i - 1] + (1 - EMA) * out[..., i]
    return out


def interval(values):
    """Half of the 95 % confidence interval of the mean along axis 0."""
    n = len(values)
    return np.full(values.shape[1:], np.nan) if n < 2 else T.get(n - 1, 1.96) * values.std(0, ddof=1) / n**0.5


def difference(f, key, mode):
    """Relative difference from BF16 in %, [seed, ...], paired by seed."""
    modes = [m.decode() if isinstance(m, bytes) else m for m in f["mode"][()]]
    curves = ema(f[key][()]) if key == "loss" else f[key][()]
    return 100 * (curves[modes.index(mode)] / curves[0] - 1)


def table(f):
    modes = [m.decode() if isinstance(m, bytes) else m for m in f["mode"][()]][1:]
    last = max(1, f["loss"].shape[-1] // 5)
    print(f"{'against bf16':14} {'held-out, end':>20} {'sd':>6} {'last fifth':>20} {'sd':>6} {'max of EMA':>11}   (%, {f['loss'].shape[1]} pairs)")
    plain = f["loss"][()][..., -last:].mean(-1)
    for i, mode in enumerate(modes, 1):
        end = difference(f, "validation", mode)[:, -1]
        mean = 100 * (plain[i] / plain[0] - 1)
        half = f["loss"].shape[-1] // 2
        peak = np.abs(difference(f, "loss", mode)[:, half:]).max(-1).mean()
        print(f"{mode:14} {end.mean():+9.3f} +- {interval(end):7.3f} {end.std(ddof=1):6.3f} {mean.mean():+9.3f} +- {interval(mean):7.3f} "
              f"{mean.std(ddof=1):6.3f} {peak:11.3f}")


def figure(f, path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    modes = [m.decode() if isinstance(m, bytes) else m for m in f["mode"][()]][2:]
    control = difference(f, "loss", CONTROL)
    steps = np.arange(control.shape[1])
    low, high = control.min(0), control.max(0)
    fig, axes = plt.subplots(1, len(modes), figsize=(3.1 * len(modes), 3.1), sharey=True, layout="constrained")
    for axis, mode in zip(np.atleast_1d(axes), modes):
        d = difference(f, "loss", mode)
        mean, half = d.mean(0), interval(d)
        axis.fill_between(steps, low, high, color="0.85", label="BF16 against BF16, all seeds")
        axis.fill_between(steps, mean - half, mean + half, color="C0", alpha=0.3, label="95 % of the mean")
        axis.plot(steps, mean, color="C0", lw=1, label=f"mean of {len(d)} pairs")
        for y in (-LIMIT, LIMIT):
            axis.axhline(y, color="C3", lw=0.8, ls="--")
        axis.axhline(0, color="k", lw=0.5)
        axis.set_title(f"{mode} against bf16", fontsize=9)
        axis.set_xlabel("step")
    limit = max(1.0, 1.3 * np.nanpercentile(np.abs(control), 99))
    np.atleast_1d(axes)[0].set_ylim(-limit, limit)
    np.atleast_1d(axes)[0].set_ylabel("training loss, EMA 0.9, difference in %")
    np.atleast_1d(axes)[0].legend(fontsize=7, loc="lower left")
    fig.suptitle(f"model {f.attrs['model']}, {f.attrs['steps']} steps; dashed: the 0.25 % of arXiv:2412.19437", fontsize=9)
    fig.savefig(path, dpi=150)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=ROOT / "build/release/fp8scope")
    parser.add_argument("--model", default="s")
    parser.add_argument("--modes", default=",".join(MODES), help="against bf16")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seeds", type=int, default=6, help="pairs of each mode")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--folder", default=ROOT / "build/train-pairs", help="of the single runs and their states")
    parser.add_argument("-o", "--output", help="default notebooks-data/train_pairs_MODEL.h5")
    parser.add_argument("--figure", help="default notebooks-data/figures/train_pairs_MODEL.png")
    parser.add_argument("--figure-only", action="store_true", help="draw and print what the output file holds")
    args = parser.parse_args()
    args.modes = [m for m in args.modes.split(",") if m]
    args.output = args.output or ROOT / f"notebooks-data/train_pairs_{args.model}.h5"
    args.figure = args.figure or ROOT / f"notebooks-data/figures/train_pairs_{args.model}.png"
    if not args.figure_only:
        write(args, run_all(args))
    elif not pathlib.Path(args.output).exists():
        raise SystemExit(f"{args.output}: no such file; without --figure-only the runs are made, or name it with -o")
    with h5py.File(args.output) as f:
        table(f)
        figure(f, args.figure)


if __name__ == "__main__":
    main()
