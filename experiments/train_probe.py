#!/usr/bin/env python3
"""What each number format of a training step does to the gradients, at the same weights and batch.

Trains one model in binary32, keeps its state at some steps, and measures every variant of `fp8scope train
--variants list` there: relative error of the gradients of all parameters and of each tensor, their cosine, the
shift of the held-out loss, the error of the optimizer's update, bytes held and sent. Deterministic, seconds a
state; no seeds are needed because nothing chaotic happens between the two sides. Writes an HDF5 file and a
figure. A model with experts is measured twice: with its own choice of experts, and with every token sent where
binary32 sends it, so that rounding and rerouting are told apart; its figure shows the gate, the experts and what
the exchanges do, layer by layer.

    experiments/train_probe.py                     # model s, steps 0, 100, 500, 1000
    experiments/train_probe.py --model moe --keep 0,500
"""
import argparse
import pathlib
import subprocess

import h5py
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
LAYERED = ["bf16", "te_delayed", "te_current", "dsv3", "mxfp8"]
ROUTED = ["dsv3", "gate_fp8", "experts_fp8", "dispatch_fp8", "combine_bf16", "combine_fp8"]


def train(args, *words):
    command = [args.program, "train", "--model", args.model, "--batch", args.batch, "--corpus",
               ROOT / "notebooks-data/corpus/kjv.txt", "--no-progress", "--threads", args.threads, *words]
    return subprocess.run([str(w) for w in command], check=True, stdout=subprocess.PIPE, text=True).stdout


def measure(args):
    folder = pathlib.Path(args.folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = folder / f"{args.model}.h5"
    kept = [pathlib.Path(f"{state}.{step}") for step in args.keep.split(",")]
    if not all(path.exists() for path in kept):
        train(args, "--mode", "fp32", "--steps", args.keep.split(",")[-1], "--checkpoint", state, "--keep", args.keep)
    print(train(args, "--probe", ",".join(map(str, kept)), "--reproducible", "-o", args.output))
    pack(args.output)


def pack(path):
    """Compresses the columns, whose words repeat in every row."""
    small = pathlib.Path(f"{path}.packed")
    with h5py.File(path) as f, h5py.File(small, "w") as out:
        out.attrs.update(f.attrs)
        for name, item in f.items():
            if name != "probe":
                f.copy(item, out)
        group = out.create_group("probe")
        group.attrs.update(f["probe"].attrs)
        for name, column in f["probe"].items():
            values = np.char.encode(column.asstr()[()].astype(str)) if h5py.check_string_dtype(column.dtype) else column[()]
            group.create_dataset(name, data=values, compression="gzip", shuffle=True).attrs.update(column.attrs)
    small.replace(path)


def read(path):
    with h5py.File(path) as f:
        return {k: np.array([x.decode() if isinstance(x, bytes) else x for x in v[()]]) for k, v in f["probe"].items()}


def figure(table, path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    whole = table["tensor"] == "all"
    steps = np.unique(table["step"])
    names = [n for n in dict.fromkeys(table["variant"]) if n != "fp32"]
    fig, (left, right) = plt.subplots(1, 2, figsize=(12, 7.5), layout="constrained")
    for i, step in enumerate(steps):
        at = whole & (table["step"] == step)
        value = {n: e for n, e in zip(table["variant"][at], table["gradient_error"][at])}
        left.scatter([max(value[n], 1e-6) for n in names], np.arange(len(names)), s=18, color=f"C{i}", label=f"step {step}")
    against = dict(zip(table["variant"], table["against"]))
    left.set_yticks(range(len(names)), [n if against[n] == "fp32" else f"{n}  (against {against[n]})" for n in names], fontsize=7)
    left.invert_yaxis()
    left.set_xscale("log")
    left.set_xlabel("relative error of all gradients, % (1e-6: none)")
    left.grid(axis="x", alpha=0.3)
    left.legend(fontsize=8)
    if (table["rerouted"] > 0).any():
        at = whole & (table["step"] == steps[-1])
        value = {n: e for n, e in zip(table["variant"][at], table["gradient_error_held"][at])}
        left.scatter([max(value[n], 1e-6) for n in names], np.arange(len(names)), s=30, facecolors="none", edgecolors="k",
                     label=f"step {steps[-1]}, tokens sent as by binary32")
        left.legend(fontsize=8)
        scope, shown = "part", ROUTED
    else:
        scope, shown = "tensor", LAYERED
    last = (table["step"] == steps[-1]) & (table["scope"] == scope)
    tensors = list(dict.fromkeys(table["tensor"][last]))
    for name in shown:
        at = last & (table["variant"] == name)
        value = dict(zip(table["tensor"][at], table["gradient_error"][at]))
        against = table["against"][at][0]
        right.plot([value[t] for t in tensors], range(len(tensors)), ".-", lw=0.8,
                   label=name if against == "fp32" else f"{name} (against {against})")
    right.set_yticks(range(len(tensors)), tensors, fontsize=7)
    right.invert_yaxis()
    right.set_xscale("log")
    right.set_xlabel(f"relative error of each {scope}'s gradient at step {steps[-1]}, %")
    right.grid(axis="x", alpha=0.3)
    right.legend(fontsize=8, loc="lower left" if scope == "part" else "best")
    fig.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=ROOT / "build/release/fp8scope")
    parser.add_argument("--model", default="s")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--keep", default="0,100,500,1000", help="steps whose states are measured")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", default=ROOT / "build/probe", help="of the states")
    parser.add_argument("-o", "--output", help="default notebooks-data/train_probe_MODEL.h5")
    parser.add_argument("--figure", help="default notebooks-data/figures/train_probe_MODEL.png")
    args = parser.parse_args()
    args.output = args.output or ROOT / f"notebooks-data/train_probe_{args.model}.h5"
    args.figure = args.figure or ROOT / f"notebooks-data/figures/train_probe_{args.model}.png"
    measure(args)
    figure(read(args.output), args.figure)


if __name__ == "__main__":
    main()
