#!/usr/bin/env python3
"""Draw what each pipeline schedule does with a training step, and what FP8 dispatch saves.

Left: every rank's time line of 8 ranks and 20 micro-batches (compute above, communication below). Right: the step
of 2048 GPUs as DeepSeek-V3 trained (16 stages, 120 micro-batches), split into compute, exposed communication and
bubble, with FP8 and BF16 dispatch. All numbers are a simulation's; `fp8scope schedule --help` lists its assumptions.
"""
import argparse
import json
import pathlib
import subprocess
import tempfile

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

ROOT = pathlib.Path(__file__).resolve().parent.parent
COLORS = {"attention": "#54aeff", "mlp": "#0969da", "attention input": "#4ac26b", "mlp input": "#1a7f37",
          "attention weights": "#d4a72c", "mlp weights": "#bf8700", "dispatch": "#bc4c00", "combine": "#fb8f44"}


def simulate(program, *options):
    """(table rows, time lines) of `fp8scope schedule`."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/timeline.json"
        out = subprocess.run([program, "schedule", "--timeline", path, *options], check=True, capture_output=True,
                             text=True).stdout.splitlines()
        header = out[0].split()
        return [dict(zip(header, row.split())) for row in out[1:]], json.load(open(path))["schedules"]


def draw_timeline(axis, schedule, end):
    bars = {}  # one collection a lane and part: thousands of artists take minutes
    for s in schedule["segments"]:
        low = s["rank"] + (0.08 if s["lane"] == "compute" else 0.62)
        height = 0.5 if s["lane"] == "compute" else 0.28
        bars.setdefault((low, height, s["part"]), []).append((s["start"], s["end"] - s["start"]))
    for (low, height, part), spans in bars.items():
        axis.broken_barh(spans, (low, height), color=COLORS[part], linewidth=0)
    axis.set(xlim=(0, end), ylim=(max(s["rank"] for s in schedule["segments"]) + 1, 0), ylabel="rank",
             title=f"{schedule['name']}: {schedule['seconds']:.2f} s")


def draw_shares(axis, program):
    labels, rows = [], []
    for wire in ("fp8", "bf16"):
        for row in simulate(program, "--dispatch", wire)[0]:
            labels.append(f"{row['schedule']}, {wire} dispatch")
            rows.append(row)
    left = [0.0] * len(rows)
    for column, color in (("compute_%", "#0969da"), ("exposed_%", "#bc4c00"), ("bubble_%", "#d0d7de")):
        width = [float(r["seconds"]) * float(r[column]) / 100 for r in rows]
        axis.barh(labels, width, left=left, color=color, label=column[:-2])
        left = [a + b for a, b in zip(left, width)]
    axis.invert_yaxis()
    axis.set(xlabel="s of a step", title="16 stages, 120 micro-batches")
    axis.legend(fontsize=8)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--program", default=str(ROOT / "build/release/fp8scope"), help="the program")
    parser.add_argument("-o", "--output", default=str(ROOT / "notebooks-data/figures/pipeline_schedules.png"))
    args = parser.parse_args()
    _, schedules = simulate(args.program, "--ranks", "8", "--micro-batches", "20", "--layers", "16")
    figure = plt.figure(figsize=(14, 8), constrained_layout=True)
    grid = figure.add_gridspec(len(schedules), 2, width_ratios=[2.2, 1])
    end = max(s["seconds"] for s in schedules)
    for i, schedule in enumerate(schedules):
        axis = figure.add_subplot(grid[i, 0])
        draw_timeline(axis, schedule, end)
    axis.set_xlabel("s")
    axis.legend(handles=[plt.Rectangle((0, 0), 1, 1, color=c, label=p) for p, c in COLORS.items()], fontsize=7, ncol=4,
                loc="lower right")
    draw_shares(figure.add_subplot(grid[:, 1]), args.program)
    figure.savefig(args.output, dpi=100, metadata={"Software": None})
    print(args.output)


if __name__ == "__main__":
    main()
