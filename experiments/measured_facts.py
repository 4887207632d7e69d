#!/usr/bin/python3
"""Facts about scaling recipes, out of fp8scope on the inputs that the libraries' own code ran on.

usage: measured_facts.py FP8SCOPE scaling.h5   (the golden file of inputs and of the libraries' arrays)

Prints a table: what was measured with the libraries, what fp8scope gives.
"""
import os
import subprocess
import sys
import tempfile

import h5py
import numpy as np

program, golden_path = sys.argv[1:3]
golden = h5py.File(golden_path, "r")
folder = tempfile.TemporaryDirectory()


def run(*words):
    done = subprocess.run([program, *words], capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        sys.exit(done.stderr)
    return done.stdout


def trace(name, operand, steps, amaxes=None):
    """Writes a trace of one layer: [steps] arrays of [rows, cols], amaxes of every step or their own."""
    path = os.path.join(folder.name, name + ".h5")
    steps = np.asarray(steps, np.float32)
    if amaxes is None:
        amaxes = np.abs(steps).max(axis=(1, 2))
    with h5py.File(path, "w", track_order=True) as file:
        file.attrs.update(schema="fp8trace", schema_version="1.0", title=name, source="synthetic")
        step = file.create_dataset("steps", data=np.arange(len(steps)))
        step.make_scale("step")
        group = file.create_group("tensors/L0")
        group.attrs["index"] = 0
        group.attrs["kind"] = "linear"
        scales = [step]
        for side, size in (("token", steps.shape[1]), ("features", steps.shape[2])):
            scale = file.require_group("tensors").create_dataset(f"{side}_{size}", data=np.arange(size))
            scale.make_scale(f"{side}_{size}")
            scales.append(scale)
        # float32 keeps bfloat16 numbers exactly
        data = group.create_dataset(operand, data=steps, chunks=(1, steps.shape[1], steps.shape[2]))
        for axis, scale in enumerate(scales):
            data.dims[axis].attach_scale(scale)
        gemm = {"x": "fprop", "w": "fprop", "dy": "dgrad"}[operand]
        data.attrs.update({"operand": operand, "gemms": gemm, f"contraction_axis_{gemm}": 2, "logical_dtype": "float32",
                           "units": "1", "long_name": name, "row_sampling": "all", "rows_total": steps.shape[1]})
        history = file.create_group("history")
        history.create_dataset("step", data=np.arange(len(steps)))
        history.create_dataset("slot_name", data=[f"L0/{operand}"], dtype=h5py.string_dtype())
        history.create_dataset("amax", data=np.asarray(amaxes, np.float32)[:, None])
    return path


def replay(path, recipes):
    """{recipe: {column: [steps]}}"""
    out = os.path.join(folder.name, "results.h5")
    run("replay", path, "-r", recipes, "-o", out, "--no-progress", "--allow-nan")
    with h5py.File(out) as file:
        table = {k: v[:] for k, v in file["results"].items()}
        names = [n.decode() for n in file["lookup/recipe/name"][:]]
    return {n: {k: v[table["recipe_id"] == i] for k, v in table.items()} for i, n in enumerate(names)}


def scales_line(path, recipes):
    return [line.strip() for line in run("diff", path, "--recipes", recipes, "-n", "0").splitlines() if "differ" in line]


rows = []
grad = golden["inputs/grad_bf16"][:]
nonzero = np.count_nonzero(grad)
found = replay(trace("small_gradient", "dy", [grad]), "dsv3,te_block:scales=fp32,te_block,mxfp8,te_current:format=e4m3,te_current")
for recipe, said in (("dsv3", 11.9), ("te_block:scales=fp32", 2.1), ("te_block", ""), ("mxfp8", 1.2), ("te_current:format=e4m3", 11.5), ("te_current", 0.0)):
    share = 100.0 * found[recipe]["underflow_count"][0] / nonzero
    rows.append((f"{recipe}: share of a small gradient flushed, %", said, f"{share:.2f}"))
rows.append(("dsv3: share of its blocks on the floor of 1e-4, %", "", f"{100 * found['dsv3']['floored'][0]:.0f}"))

x = golden["inputs/act_bf16"][:]
above = (np.abs(x).reshape(len(x), -1, 128).max(axis=2) >= 1e-4).all(axis=1)  # the floor of dsv3 apart
activation = trace("activation", "x", [x[above]])
rows.append(("te_block:scales=fp32 and dsv3: stored factors, codes", "a third, 1 of 10,000",
             "; ".join(scales_line(activation, "te_block:scales=fp32,dsv3")[:2])))
rows.append(("te_block and dsv3:scales=ue8m0", "equal where amax >= 1e-4",
             "; ".join(scales_line(activation, "te_block,dsv3:scales=ue8m0")[:2])))
rows.append(("dsv3 and its first release", "0.1 % of codes", "; ".join(scales_line(activation, "dsv3,dsv3:version=2025-02")[:2])))

amaxes = [1.0, 2.0, np.inf] + [4.0] * 9
ones = np.ones((len(amaxes), 4, 4), np.float32)
for length in (4, 1024):
    got = replay(trace(f"inf_{length}", "dy", ones, amaxes), f"te_delayed:amax_history_len={length}")
    frozen = list(got.values())[0]["frozen_steps"].max()
    rows.append((f"updates that one Inf blocks, history of {length}, 9 steps later", f"up to {length}", f"{frozen:.0f}"))

recipes = run("recipes")
if "torchao_delayed" in recipes:
    amaxes = [0.0] * 4 + [2.0]
    steps = np.zeros((5, 4, 4), np.float32)
    steps[4] = 2.0
    name = next(word for word in recipes.split() if word.startswith("torchao_delayed"))
    got = replay(trace("zeros", "x", steps, amaxes), f"{name}:history.length=4")
    got = list(got.values())[0]
    rows.append(("removed torchao delayed scaling after zeros: scale", "4.48e14", f"{1.0 / got['scale_inv_max'][4]:.3g}"))
    rows.append(("and the share of the next tensor that clips, %", "100", f"{100 * got['clipped'][4]:.0f}"))

print("| fact | measured with the libraries | fp8scope |\n|---|---|---|")
for fact, said, got in rows:
    print(f"| {fact} | {said} | {got} |")
