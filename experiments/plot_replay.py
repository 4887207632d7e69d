#!/usr/bin/env python3
"""Draw what each recipe lost on the operand whose range moved most: plot_replay.py RESULTS.h5 -o FIGURE.png

Left: amax of every recorded step, and the amax behind the scale that delayed scaling used. Middle:
SQNR of every step by recipe. Right: share of elements flushed to zero, by operand of the trace.
"""
import argparse
import sys

import h5py
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np


def load(path):
    """({column: array} of /results, tensor names, recipe names)."""
    with h5py.File(path, "r") as f:
        table = {name: d[...] for name, d in f["results"].items() if d.ndim == 1}
        text = lambda name: [s.decode() for s in f[name][...]]
        return table, text("lookup/tensor/name"), text("lookup/recipe/name")


def liveliest(table, names):
    """Index of the activation or gradient whose amax varies most between steps."""
    best, spread = 0, -1.0
    for t, name in enumerate(names):
        amax = table["amax"][table["tensor_id"] == t]
        if len(amax) and not name.endswith("/w") and amax.max() / amax.min() > spread:
            best, spread = t, amax.max() / amax.min()
    return best


def plot(table, names, recipes, path):
    shown = liveliest(table, names)
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 3.8), constrained_layout=True)
    colors = plt.get_cmap("tab10").colors
    for r, recipe in enumerate(recipes):
        rows = (table["tensor_id"] == shown) & (table["recipe_id"] == r)
        step = table["step"][rows]
        if r == 0:
            left.plot(step, table["amax"][rows], "k-o", ms=4, label="amax of the step")
        if (table["amax_age"][rows] != 0).any():
            left.plot(step, table["amax"][rows] * table["staleness"][rows], "--", color=colors[r % 10],
                      label=f"amax in use, {recipe}")
        middle.plot(step, table["sqnr_db"][rows], "-o", ms=4, color=colors[r % 10], label=recipe)
    left.set(title=names[shown], xlabel="step", ylabel="amax")
    left.legend(fontsize=7, framealpha=0.5)
    middle.set(title=f"{names[shown]}: SQNR", xlabel="step", ylabel="dB")

    operands = [t for t, name in enumerate(names) if not name.endswith("/w")]
    width = 0.8 / len(recipes)
    for r, recipe in enumerate(recipes):
        share = [100 * table["underflow"][(table["tensor_id"] == t) & (table["recipe_id"] == r)].mean()
                 for t in operands]
        right.bar(np.arange(len(operands)) + (r - len(recipes) / 2 + 0.5) * width, share, width,
                  color=colors[r % 10], label=recipe)
    right.set_xticks(range(len(operands)), [names[t] for t in operands], rotation=60, ha="right", fontsize=7)
    right.set(title="flushed to zero", ylabel="% of elements", yscale="log")
    right.set_ylim(top=right.get_ylim()[1] * 100)  # room for the legend above the bars
    right.legend(fontsize=7, framealpha=0.5, loc="upper left")
    figure.savefig(path, dpi=110, metadata={"Software": None})


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("results", help="result file of fp8scope replay")
    parser.add_argument("-o", "--output", required=True, help="figure to write")
    args = parser.parse_args()
    table, names, recipes = load(args.results)
    plot(table, names, recipes, args.output)


if __name__ == "__main__":
    try:
        main()
    except (OSError, KeyError) as error:
        sys.exit(f"plot_replay: {error}")
