"""V17: future Tensor Cores should accumulate in FP32, or with a precision that can be chosen, and take scales of groups.

Source: arXiv:2412.19437, 3.5.2; arXiv:2505.09343, 3.1. Test: Hopper's unit with F fraction bits instead of 13, never promoted,
on zero-mean and positive inputs; the knee is the smallest F whose error is below a tenth of what the casts lose; and a
unit with group scales (Blackwell, MXFP8) beside Hopper's promoted one. The wish is justified if 13 bits lie below the knee;
how far the knee lies below FP32's 23 says whether FP32 is needed.
"""
import numpy as np
from claims import NOT_REPRODUCED, claim, depends, plain_ticks

ROWS = 64


@claim("V17", "Tensor Cores should accumulate in FP32 or configurable precision, and take group scales",
       source="arXiv:2412.19437, 3.5.2; arXiv:2505.09343, 3.1: at least FP32")
def test(run):
    bits = [11, 13, 17, 21] if run.quick else list(range(9, 26, 1))
    lengths = [4096] if run.quick else [4096, 16384]
    rng = np.random.default_rng(17)
    draws = {"N(0,1)": rng.standard_normal, "U(0,1)": lambda shape: rng.uniform(0, 1, shape)}
    error, casts, knee = {}, {}, {}
    for name, draw in draws.items():
        for k in lengths:
            a, b = run.npy("a", draw((ROWS, k))), run.npy("b", draw((ROWS, k)))
            codes = [f"{run.cast(x, 'te_current')}:/codes" for x in (a, b)]
            e = [100 * run.codes_error(*codes, f"hopper_wgmma:f={f}:result={min(f, 23)}")["total"] for f in bits]
            casts[name, k] = 100 * run.gemm(a, b, "-r", "te_current:format=e4m3", "-a", "fp64")["total"]
            error[name, k] = e
            knee[name, k] = next((f for f, x in zip(bits, e) if x < casts[name, k] / 10), None)
            if k == 4096:
                promoted = 100 * run.codes_error(*codes, promote="128")["total"]
                scaled = 100 * run.gemm(a, b, "-r", "mxfp8", "-a", "blackwell_mxfp8")["from_accumulator"]
                run.number(f"{name}: error with 13 bits, %", e[bits.index(13)], *((0.1, 0.2) if name[0] == "N" else (7, 8)))
    figure, axis = run.axes()
    for i, (name, k) in enumerate(error):
        axis.plot(bits, error[name, k], "o-", ms=3, color=f"C{i}", label=f"{name}, K = {k}")
        axis.axhline(casts[name, k] / 10, color=f"C{i}", lw=0.7, ls=":")
    axis.axvline(13, color="k", lw=0.8, ls="--")
    axis.set(yscale="log", xlabel="fraction bits of the accumulation (Hopper: 13, dashed)", ylabel="error of the unit, %",
             title="never promoted; dotted: a tenth of the casts' error")
    plain_ticks(axis.yaxis)
    axis.legend()
    run.save(figure)
    found = "; ".join(f"{name}, K = {k}: {'> ' + str(bits[-1]) if f is None else f}" for (name, k), f in knee.items())
    enough = all(f is not None and f <= 13 for f in knee.values())
    verdict = NOT_REPRODUCED if enough else depends("the inputs: zero-mean ones need no more than 13 bits, positive ones do")
    return (f"fraction bits until the unit errs a tenth of the casts: {found}; FP32 has 23; on U(0,1) Hopper promoted "
            f"at 128 errs {promoted:.3f} %, Blackwell with scales of 32 in the unit {scaled:.5f} %", verdict)
