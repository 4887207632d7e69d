"""V3: on random matrices with K = 4096 the accumulation of Hopper's Tensor Cores errs by nearly 2 %.

Source: arXiv:2412.19437, 3.5.2, which names neither the distribution nor the metric. Test: matrices of normal
numbers with a mean from 0 to 2 standard deviations, and of uniform and positive ones, are cast to E4M3 with one scale
each; the codes are multiplied by the emulated unit without promotion, and all the error is the unit's. Reproduced if
every distribution and metric gave 1 to 3 %; they do not, so the verdict says on what it depends.
"""
import numpy as np
from claims import NOT_REPRODUCED, REPRODUCED, claim, depends, plain_ticks

ROWS, K = 64, 4096


def inputs(quick):
    """{name: (A, B)}, float32 [ROWS, K] each; normal ones by their mean / sigma."""
    rng = np.random.default_rng(2412_19437)
    pair = lambda draw: (draw(), draw())
    shifts = [0, 0.5, 1] if quick else [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.85, 1, 1.5, 2]
    normals = {s: pair(lambda: rng.standard_normal((ROWS, K)) + s) for s in shifts}
    return normals, {"U(0,1)": pair(lambda: rng.uniform(0, 1, (ROWS, K))), "U(-1,1)": pair(lambda: rng.uniform(-1, 1, (ROWS, K)))}


@claim("V3", "K = 4096, random matrices: Hopper's FP8 accumulation errs by nearly 2 %",
       source="arXiv:2412.19437, 3.5.2: nearly 2 %, largest relative error")
def test(run):
    normals, others = inputs(run.quick)
    normal = {s: run.unit_error(*m) for s, m in normals.items()}
    other = {name: run.unit_error(*m) for name, m in others.items()}
    total = run.number("N(0,1), Frobenius, %", 100 * normal[0]["total"], 0.10, 0.18)
    p99 = run.number("N(0,1), p99, %", 100 * normal[0]["p99"], 2.5, 5.5)
    half, one = (run.number(f"N({s},1), largest / rms, %", 100 * normal[s]["max"], *band)
                 for s, band in ((0.5, (1.1, 2.0)), (1, (3.2, 4.2))))
    positive = run.number("U(0,1), Frobenius, %", 100 * other["U(0,1)"]["total"], 7, 8)

    figure, axis = run.axes()
    shifts = list(normal)
    for key, label in (("max", "largest element / rms"), ("total", "Frobenius"), ("p99", "99th percentile of elements")):
        axis.plot(shifts, [100 * normal[s][key] for s in shifts], "o-", ms=3, label=label)
    axis.axhline(2, color="k", ls="--", lw=0.8, label="the report: nearly 2 %")
    axis.set(yscale="log", xlabel="mean / standard deviation of the inputs", ylabel="error of the unit, %",
             title=f"Hopper, K = {K}, never promoted")
    plain_ticks(axis.yaxis)
    axis.set_yticks([0.1, 0.2, 0.5, 1, 2, 5])
    axis.legend()
    run.save(figure)
    values = [total, p99, half, one, positive]
    verdict = REPRODUCED if all(1 <= v <= 3 for v in values) else depends("the inputs and the metric") \
        if min(values) < 2 < max(values) else NOT_REPRODUCED
    return (f"N(0,1): {total:.2f} % (Frobenius), {p99:.1f} % (p99 of elements); largest error / rms {half:.1f} % at mean 0.5 sigma, "
            f"{one:.1f} % at 1 sigma; U(0,1): {positive:.1f} %", verdict)
