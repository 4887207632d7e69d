"""V9: the input of the linear layer after attention is kept in 1x128 tiles and turned to 128x1 in the backward pass without
further error, because its scales are powers of two.

Source: arXiv:2412.19437, 3.3.3 (and E5M6 for this tensor). Test: recorded inputs of output projections are cast with FP32 and
with power-of-two scales, in E4M3 and E5M6, and turned by `rewrite --transpose requantise`, which counts the elements that
are rounded again; and the gradients of a training step with such a cache against those with the source kept. Reproduced if
powers of two change at most 0.5 % of the elements and 0.01 dB, and free scales 98 % or more.
"""
import re

import numpy as np
from claims import NOT_REPRODUCED, REPRODUCED, claim, depends

RULES = {"E4M3, FP32 scales": "dsv3:amax_floor=0", "E4M3, powers of two": "dsv3:amax_floor=0:scales=ue8m0",
         "E5M6, FP32 scales": "dsv3:amax_floor=0:format=e5m6", "E5M6, powers of two": "dsv3:amax_floor=0:format=e5m6:scales=ue8m0"}


def turned(run, array, recipe):
    """(share of elements rounded again in %, dB lost) of one array."""
    text = run.program("rewrite", run.cast(array, recipe), "--transpose", "requantise", "--block", "1x128", "--x", array,
                       codes=(0, 1))
    share = float(re.search(r"rounded again +\d+ \(([\d.e+-]+) %\)", text)[1])
    before, after = map(float, re.search(r"against x +([\d.]+) dB before, ([\d.]+) dB after", text).groups())
    return share, before - after


@claim("V9", "1x128 tiles become 128x1 without further error if scales are powers of two",
       source="arXiv:2412.19437, 3.3.3: no extra error")
def test(run):
    cases = [("train_s", "L03.o", 200)]
    if not run.quick:
        cases += [("train_s", "L03.o", 202)] + [("smollm2", f"L{i:02}.o", s) for i in (0, 15, 29) for s in (112, 115)]
    found = {rule: [] for rule in RULES}
    for trace, layer, step in cases:
        array = run.export(trace, layer, "x", step)
        for rule, recipe in RULES.items():
            found[rule].append(turned(run, array, recipe))
    share, lost = ({rule: np.array(v)[:, i] for rule, v in found.items()} for i in (0, 1))
    for rule in RULES:
        value, low, high = (share[rule].min(), 90, 100) if "FP32" in rule else (share[rule].max(), 0, 0.5)
        run.number(f"{rule}: elements rounded again, %", value, low, high)
    probe = run.probe("tiny" if run.quick else "s", [60 if run.quick else 100], ["linear_cache_pow2", "linear_cache_fp32"])
    gradient = probe[probe.tensor == "all"].set_index("variant").gradient_error
    run.number("gradients with turned caches, powers of two, %", gradient["linear_cache_pow2"], 0, 0.01)
    run.number("gradients with turned caches, FP32 scales, %", gradient["linear_cache_fp32"], 1, 4)

    figure, (left, right) = run.axes(2, sharey=True)
    for y, rule in enumerate(RULES):
        left.plot(share[rule], np.full(len(share[rule]), y), "o", ms=4)
        right.plot(lost[rule], np.full(len(lost[rule]), y), "o", ms=4)
    left.set(yticks=range(len(RULES)), yticklabels=RULES, xlabel="elements rounded again, %")
    right.set(xlabel="SQNR lost, dB")
    run.save(figure)
    two, free = ([r for r in RULES if word in r] for word in ("powers", "FP32"))
    exact = max(share[r].max() for r in two) <= 0.5 and max(lost[r].max() for r in two) < 0.01
    moves = min(share[r].min() for r in free) >= 98
    span = lambda values: f"{min(v.min() for v in values):.2g} to {max(v.max() for v in values):.3g}"
    return (f"rounded again: powers of two {span([share[r] for r in two])} %, FP32 scales {span([share[r] for r in free])} %, "
            f"which lose {span([lost[r] for r in free])} dB; gradients with such caches: {gradient['linear_cache_pow2']:.1g} % and "
            f"{gradient['linear_cache_fp32']:.1f} %",
            REPRODUCED if exact and moves else depends("the tensor") if exact else NOT_REPRODUCED)
