"""E2: delayed scaling: weights leave the range often but barely, gradients rarely but far; a margin of 1 (a factor of 2) ends nearly all
of it and costs an FP8 format no accuracy.

Source: Transformer Engine's recipe (history 1024, margin 0) and its LogFp8TensorStats, which measures delayed scaling only where
that is the recipe of training; ours replays any recipe. Test: the amaxes of every step of the training trace drive te_delayed for
histories of 1 to 1024 and margins of 0 to 3 (tensors of one element, the amax; steps from 100 on); the recorded tensors at
every margin say what it costs. Reproduced if weights clip by less than 5 %, gradients by more than 1.5 times at a history of 16, a margin of
1 leaves below 0.5 % of the steps of every operand from a history of 16 on, and 0.1 dB is the most that it costs.
"""
import h5py
import numpy as np
from claims import NOT_REPRODUCED, REPRODUCED, claim, depends

WARM, CLASSES = 100, ("x", "w", "dy")


def amaxes(run):
    with h5py.File(run.trace("train_s")) as f:
        history, slots = f["history/amax"][()], f["history/slot_name"].asstr()[()]
    keep = [i for i, slot in enumerate(slots) if (history[:, i] > 0).all() and (not run.quick or slot.startswith("L03"))]
    return run.write_trace("amax", {slots[i]: history[:, i, None, None] for i in keep})


@claim("E2", "delayed scaling: weights clip often by little, gradients rarely by much; a margin of 1 ends it at no cost",
       source="Transformer Engine: history 1024, margin 0; no figure")
def test(run):
    lengths = [1, 16, 1024] if run.quick else [1, 4, 16, 64, 256, 1024]
    margins = [0, 1] if run.quick else [0, 1, 2, 3]
    name = lambda n, m: f"te_delayed:amax_history_len={n}:margin={m}"
    frame = run.replay(amaxes(run), ",".join(name(n, m) for n in lengths for m in margins)).frame()
    frame = frame[frame.step >= WARM]
    rate, ratio = {}, {}
    for (recipe, operand), some in frame.groupby(["recipe", "operand"], observed=True):
        rate[operand, recipe] = 100 * some.overflow.mean()
        ratio[operand, recipe] = 2 ** -some.headroom_log2.min()
    recorded = run.replay(run.trace("train_s"), ",".join([name(16, m) for m in margins] + ["te_current", "dsv3:amax_floor=0", "mxfp8"])).frame()
    db = recorded.groupby(["recipe", "operand"], observed=True).sqnr_db.median()
    cost = {o: db[name(16, 0), o] - db[name(16, 1), o] for o in CLASSES}
    weights = run.number("weights: largest amax over the range, history of 16", ratio["w", name(16, 0)], 1.0, 1.1)
    gradients = run.number("gradients: largest amax over the range, history of 16", ratio["dy", name(16, 0)], 1.2, 8)
    left_over = run.number("margin 1, history of 16 or more: steps beyond the range, %", max(rate[o, name(n, 1)] for o in CLASSES for n in lengths if n >= 16), 0, 3)
    dear = run.number("margin 1: SQNR lost, dB", max(cost.values()), -0.5, 0.5)

    figure, (left, right) = run.axes(2)
    for i, operand in enumerate(CLASSES):
        for m in margins[:2]:
            style = dict(color=f"C{i}", ls="-" if m == 0 else "--", label=f"{operand}, margin {m}")
            left.plot(lengths, [rate[operand, name(n, m)] for n in lengths], "o", ms=3, **style)
            right.plot(lengths, [ratio[operand, name(n, m)] for n in lengths], "o", ms=3, **style)
    left.set(xscale="log", yscale="symlog", xlabel="length of the history", ylabel="operands beyond the range, % of the steps")
    right.set(xscale="log", yscale="log", xlabel="length of the history", ylabel="largest amax / range")
    right.axhline(1, color="k", lw=0.7)
    left.legend()
    run.save(figure)
    free = {o: next((m for m in margins if all(rate[o, name(n, m)] == 0 for n in lengths if n >= 16)), f"more than {margins[-1]}") for o in CLASSES}
    good = weights < 1.05 and gradients > 1.5 and left_over < 0.5 and dear < 0.1
    shown = "; ".join(f"{o} {', '.join(f'{rate[o, name(n, 0)]:.1f}' for n in (1, 16, 1024))} %, at most {ratio[o, name(16, 0)]:.2f} times" for o in CLASSES)
    return (f"beyond the range with a history of 1, 16, 1024: {shown} (16); margin 1 leaves {left_over:.2f} % and costs {dear:.2f} dB; margin without any clipping, history from 16 on: "
            + ", ".join(f"{o} {m}" for o, m in free.items()), REPRODUCED if good else depends("the operand and the history") if gradients > weights else NOT_REPRODUCED)
