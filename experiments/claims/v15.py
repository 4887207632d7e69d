"""V15: LogFMT-8 is more accurate than E4M3 and E5M2, LogFMT-10 as good as BF16; rounding in linear space matters.

Source: arXiv:2505.09343, 3.2.1, on outputs of residual branches; not deployed. Test: outputs of the recorded `o` and `down`
layers (products of their x and w in FP32), cast by 1x128 tiles to LogFMT and to floating-point formats of as many bits. The
published comparison with BF16 is of training, ours of SQNR. Reproduced if LogFMT-8 beats E4M3 and E5M2 and LogFMT-10 comes
within 1 dB of BF16; judged apart.
"""
import numpy as np
from claims import NOT_REPRODUCED, REPRODUCED, claim, depends

FORMATS = {"LogFMT-8": "logfmt", "E4M3": "dsv3:amax_floor=0", "E5M2": "dsv3:amax_floor=0:format=e5m2",
           "LogFMT-10": "logfmt:bits=10", "E5M6": "dsv3:amax_floor=0:format=e5m6",
           "BF16": "unit_scaling:element.format=bf16"}


def branch_outputs(run):
    """A trace of y = x w^T of the layers that end a branch, one step each."""
    cases = [("train_s", f"L03.{n}", s) for n in ("o", "down") for s in ((200,) if run.quick else (200, 201, 202))]
    if not run.quick:  # of these weights 128 output rows are recorded: 128 of 576 channels
        cases += [("smollm2", f"L{i:02}.{n}", s) for i in (0, 15, 29) for n in ("o", "down") for s in (112, 115)]
    found = {}
    for trace, layer, step in cases:
        x, w = run.export(trace, layer, "x", step), run.export(trace, layer, "w", step if trace == "train_s" else None)
        run.program("gemm", x, w, "-r", "none", "-f", "bf16", "-a", "fma_fp32", "-o", run.path("y.npy"))
        found[f"{trace}.{layer}.{step}/x"] = np.load(run.path("y.npy"))[None]
    return run.write_trace("outputs", found)


@claim("V15", "LogFMT-8 beats E4M3 and E5M2, LogFMT-10 is as good as BF16, rounding in linear space matters",
       source="arXiv:2505.09343, 3.2.1: no figure")
def test(run):
    frame = run.replay(branch_outputs(run), ",".join(FORMATS.values())).frame()
    frame = {f: frame[frame.recipe == recipe] for f, recipe in FORMATS.items()}
    db = {f: t.sqnr_db.to_numpy() for f, t in frame.items()}
    bias = {f: 100 * (t.bias / t.rms).to_numpy() for f, t in frame.items()}
    median = {f: run.number(f"{f}: SQNR, dB, median", np.median(v), *band) for (f, v), band in
              zip(db.items(), [(34, 42), (30, 35), (24, 29), (46, 55), (46, 53), (52, 60)])}
    worst = run.number("LogFMT-8: largest |bias|, % of the rms", np.abs(bias["LogFMT-8"]).max(), 0, 0.5)
    figure, (left, right) = run.axes(2)
    left.boxplot(list(db.values()), labels=FORMATS)
    left.set(ylabel="SQNR, dB", title=f"{len(db['E4M3'])} outputs of branches")
    right.boxplot(list(bias.values()), labels=FORMATS)
    right.set(ylabel="bias, % of the rms")
    run.save(figure)
    eight = all(a > max(b, c) for a, b, c in zip(db["LogFMT-8"], db["E4M3"], db["E5M2"]))
    ten = median["LogFMT-10"] > median["BF16"] - 1
    verdict = REPRODUCED if eight and ten else depends("the width: 8 bits yes, 10 bits are not BF16") if eight else NOT_REPRODUCED
    return (", ".join(f"{f} {v:.1f}" for f, v in median.items()) + f" dB; LogFMT-8 is {'always' if eight else 'not always'} ahead at "
            f"8 bits; its bias is at most {worst:.3f} % of the rms, so that rounding in linear space has little to correct "
            "(rounding in logarithms is not emulated)", verdict)
