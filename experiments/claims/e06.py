"""E6: the best format depends on the tails of the tensor: light tails want mantissa bits, heavy ones exponent bits.

Source: arXiv:2208.09225 (Kuzmin et al., 2022), on inference; arXiv:2209.05433 (E4M3 forward, E5M2 for gradients). Test: recorded x, w and
dy, and the outputs of layers that end a branch, in eight-bit formats from INT8 to E5M2 with one scale a tensor, and in LogFMT and E5M6 with tiles; and drawn
numbers from uniform to Student's t. Reproduced if on the drawn numbers the best format gains exponent bits with amax / rms; the recorded
tensors say who wins there, and whether E5M2 is ever the best for gradients.
"""
import re

import numpy as np
from claims import NOT_REPRODUCED, REPRODUCED, claim, depends

FORMATS = {"INT8": "te_current:format=e1m6finite", "E2M5": "te_current:format=e2m5finite", "E3M4": "te_current:format=e3m4finite", "E4M3": "te_current:format=e4m3",
           "E5M2": "te_current:format=e5m2", "LogFMT-8": "logfmt", "LogFMT-10": "logfmt:bits=10", "E5M6": "dsv3:amax_floor=0:format=e5m6"}
PER_TENSOR = list(FORMATS)[:5]


def drawn(run):
    rng = np.random.default_rng(6)
    shape = (128, 1024)
    outliers = rng.standard_normal(shape) * np.where(rng.uniform(size=shape) < 1e-4, 100, 1)
    draws = {"uniform": rng.uniform(-1, 1, shape), "normal": rng.standard_normal(shape), "Laplace": rng.laplace(size=shape),
             "Student 4": rng.standard_t(4, shape), "Student 2": rng.standard_t(2, shape), "outliers x100": outliers}
    return run.write_trace("drawn", {f"{name}/x": x[None] for name, x in draws.items()}), list(draws)


def outputs(run):
    """A trace of y = x w^T of the layers that end a branch."""
    found = {}
    for layer in ("L03.o", "L03.down"):
        for operand in "xw":
            run.program("trace", "export", run.trace("train_s"), "--layers", re.escape(layer), "--operands", operand, "--steps", 200, "-o", run.path(f"{operand}.npy"))
        run.program("gemm", run.path("x.npy"), run.path("w.npy"), "-r", "none", "-f", "bf16", "-a", "fma_fp32", "-o", run.path("y.npy"))
        found[f"{layer}/x"] = np.load(run.path("y.npy"))[None]
    return run.write_trace("outputs", found)


@claim("E6", "the best 8-bit format depends on the tails: mantissa for light ones, exponent for heavy ones; E5M2 for gradients",
       source="arXiv:2208.09225, arXiv:2209.05433: an order, no figure for these")
def test(run):
    names = ",".join(FORMATS.values())
    trace, draws = drawn(run)
    frames = {"": run.replay(trace, names).frame(), "train_s": run.replay(run.trace("train_s"), names).frame(), "outputs": run.replay(outputs(run), names).frame()}
    if not run.quick:
        frames["smollm2"] = run.replay(run.trace("smollm2"), names).frame()
    db, crest = {}, {}
    for source, frame in frames.items():
        by = frame.layer.astype(str) if source == "" else frame.operand.astype(str)
        for group, some in frame.groupby(by):
            label = group if source == "" else "branch outputs" if source == "outputs" else f"{source} {group}"
            crest[label] = (some.amax / some.rms).median()
            db[label] = {f: some[some.recipe == r].sqnr_db.median() for f, r in FORMATS.items()}
    best = {label: max(PER_TENSOR, key=v.get) for label, v in db.items()}
    draws.sort(key=crest.get)
    bits = [PER_TENSOR.index(best[name]) for name in draws]
    for name, wanted in (("uniform", "INT8"), ("normal", "E2M5"), ("outliers x100", "E3M4")):
        run.number(f"{name}: {wanted}, dB", db[name][wanted], 33, 50)
    e4m3, e5m2 = (run.number(f"gradients: {f}, dB", db["train_s dy"][f], 23, 34) for f in ("E4M3", "E5M2"))

    figure, axis = run.axes(width=7.5)
    labels = draws + sorted((label for label in db if label not in draws), key=crest.get)
    for f in FORMATS:
        axis.plot(range(len(labels)), [db[label][f] for label in labels], "o-" if f in PER_TENSOR else "s:", ms=3, lw=0.8, label=f)
    axis.set(xticks=range(len(labels)), ylabel="SQNR, dB")
    axis.set_xticklabels([f"{label}\n{crest[label]:.3g}" for label in labels], rotation=30, ha="right")
    axis.axvline(len(draws) - 0.5, color="k", lw=0.7)
    axis.legend(ncol=4)
    run.save(figure)
    ordered, gradients = bits == sorted(bits), e5m2 > e4m3
    verdict = REPRODUCED if ordered and gradients else depends("what is asked: the order of formats by tails holds, E5M2 for gradients does not") if ordered else NOT_REPRODUCED
    return ("best with one scale: " + ", ".join(f"{label} (amax / rms {crest[label]:.3g}) {best[label]}" for label in labels) + f"; gradients: E4M3 {e4m3:.1f}, E5M2 {e5m2:.1f} dB", verdict)
