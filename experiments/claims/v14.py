"""V14: fine-grained scaling is the idea of microscaling formats, with larger groups.

Source: arXiv:2412.19437, 3.3.2 ("highly consistent"). Test: both bundled traces under groups of 32, 64 and 128 with FP32 scales,
scales rounded up to powers of two, and the floor rule of OCP MX. Reproduced if, with the same rule for scales, groups of 32
and of 128 differ by less than 0.5 dB in the median; the floor rule and FP32 scales show what the rule is worth.
"""
from claims import NOT_REPRODUCED, REPRODUCED, claim, depends

RULES = {"FP32": "dsv3:amax_floor=0", "power of two, up": "dsv3:amax_floor=0:scales=ue8m0",
         "OCP floor": "mxfp8:scale=floor:tile.ragged=pad"}
GROUPS = [32, 64, 128]


@claim("V14", "fine-grained scaling is microscaling with larger groups",
       source="arXiv:2412.19437, 3.3.2: consistent with microscaling, 128 instead of 32")
def test(run):
    traces = ["train_s"] if run.quick else ["train_s", "smollm2"]
    recipes = {(rule, n): f"{r}:tile.shape=1x{n}" for rule, r in RULES.items() for n in GROUPS}
    db = {}
    for trace in traces:
        frame = run.replay(run.trace(trace), ",".join(recipes.values())).frame()
        frame = frame[frame.operand != "w"]
        for key, name in recipes.items():
            db[(trace, *key)] = frame[frame.recipe == name].sqnr_db.median()
    gap = max(abs(db[t, "power of two, up", 32] - db[t, "power of two, up", 128]) for t in traces)
    floor = [db[t, "power of two, up", 32] - db[t, "OCP floor", 32] for t in traces]
    free = [db[t, "FP32", 32] - db[t, "FP32", 128] for t in traces]
    run.number("powers of two: groups of 32 over 128, dB", gap, 0, 0.5)
    run.number("floor rule, groups of 32: dB lost", max(floor), 0.5, 4)
    run.number("FP32 scales: groups of 32 over 128, dB", max(free), 0.2, 5)

    figure, axes = run.axes(len(traces), sharey=True, squeeze=False)
    for axis, trace in zip(axes[0], traces):
        for rule in RULES:
            axis.plot(GROUPS, [db[trace, rule, n] for n in GROUPS], "o-", label=rule)
        axis.set(xticks=GROUPS, xlabel="elements that share a scale", title=trace, ylabel="SQNR of x and dy, dB, median")
    axes[0][0].legend(title="scale")
    run.save(figure)
    span = lambda v: f"{min(v):.1f}" if len(v) == 1 else f"{min(v):.1f} and {max(v):.1f}"
    verdict = NOT_REPRODUCED if gap >= 0.5 else REPRODUCED if max(floor) < 0.5 else depends("the rule for the scales")
    return (f"powers of two: 32 and 128 differ by {gap:.2f} dB; FP32 scales: 32 gains {span(free)} dB; the floor rule of OCP MX loses "
            f"{span(floor)} dB against rounding up: the rule matters more than the size", verdict)
