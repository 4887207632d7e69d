"""V12: delayed scaling infers the current amax from a history; online scales are chosen because they are accurate.

Source: arXiv:2412.19437, 3.3.2. Test: the amaxes that both bundled traces recorded at every step (training: 51 operands, 203
steps; inference: 240 operands, 256 steps) drive the delayed recipe, as tensors of one element, the amax; from step 100 on,
how often it lies beyond what the scale can hold, and by how much. Reproduced if every history length clips, and
current scaling never does.
"""
import h5py
from claims import NOT_REPRODUCED, REPRODUCED, claim, depends, plain_ticks

WARM = 100


def amaxes(run, name):
    """A trace whose tensors are the recorded amaxes of every step."""
    with h5py.File(run.trace(name)) as f:
        history, slots = f["history/amax"][()], f["history/slot_name"].asstr()[()]
    keep = [i for i, slot in enumerate(slots) if (history[:, i] > 0).all()]
    if run.quick:
        keep = keep[::5]
    return run.write_trace(f"amax_{name}", {slots[i]: history[:, i, None, None] for i in keep})


@claim("V12", "delayed scaling infers the amax from history and clips; online scaling is accurate",
       source="arXiv:2412.19437, 3.3.2: no figure")
def test(run):
    lengths = [1, 16, 1024] if run.quick else [1, 4, 16, 64, 256, 1024]
    recipes = {n: f"te_delayed:amax_history_len={n}" for n in lengths}
    recipes |= {"margin": "te_delayed:amax_history_len=16:margin=1", "now": "te_current"}
    rate, ratio = {}, {}
    for name in ["train_s"] if run.quick else ["train_s", "smollm2"]:
        frame = run.replay(amaxes(run, name), ",".join(recipes.values())).frame()
        frame = frame[frame.step >= WARM]
        for key, recipe in recipes.items():
            for operand, some in frame[frame.recipe == recipe].groupby("operand", observed=True):
                if name == "smollm2" and operand == "w":
                    continue  # constant
                rate[name, operand, key] = 100 * some.overflow.mean()
                ratio[name, operand, key] = 2 ** -some.headroom_log2.min()
    slots = list(dict.fromkeys((n, o) for n, o, _ in rate))
    delayed = [rate[s + (n,)] for s in slots for n in lengths]
    now = run.number("current scaling: largest amax over the range", max(ratio[s + ("now",)] for s in slots), 0.99, 1.001)
    for operand, band in (("x", (30, 60)), ("w", (20, 60)), ("dy", (30, 60))):
        run.number(f"training, {operand}: steps beyond the range, history of 1, %", rate["train_s", operand, 1], *band)
    worst = run.number("training, dy: largest amax over the range, history of 16", ratio["train_s", "dy", 16], 1.2, 8)

    figure, (left, right) = run.axes(2)
    for name, operand in slots:
        for axis, values in ((left, rate), (right, ratio)):
            axis.plot(lengths, [values[name, operand, n] for n in lengths], "o-", ms=3, label=f"{name}, {operand}")
    left.set(xscale="log", xlabel="length of the history", ylabel="steps beyond the range, %",
             title="te_delayed, amax of every step")
    right.set(xscale="log", yscale="log", xlabel="length of the history", ylabel="largest amax / range")
    plain_ticks(left.xaxis, right.xaxis, right.yaxis)
    right.set_yticks([1, 1.5, 2, 3])
    left.legend()
    run.save(figure)
    shown = "; ".join(f"{n} {o}: " + ", ".join(f"{rate[n, o, k]:.1f}" for k in (1, 16, 1024)) for n, o in slots)
    margin = max(rate[s + ("margin",)] for s in slots)
    clips = REPRODUCED if min(delayed) > 0 else depends("the operand and the history") if max(delayed) > 0 else NOT_REPRODUCED
    return (f"operands beyond the range, % of the steps after {WARM}, history of 1, 16, 1024: {shown}; worst gradient {worst:.1f} times "
            f"(history of 16); a margin of 1 leaves {margin:.2f} %; current scaling: none", clips if now < 1.001 else NOT_REPRODUCED)
