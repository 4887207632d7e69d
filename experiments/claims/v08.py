"""V8: Adam's moments can be BF16 without visible loss, with master weights and summed gradients in FP32.

Source: arXiv:2412.19437, 3.3.3. Test: at the same weights, the error of one optimizer step with moments, gradient sums or
master weights in BF16; then short runs in FP8 (dsv3), paired by seed, with BF16 moments, FP8 moments and BF16 master weights
against FP32 ones, beside A/A, which only changes the initial weights by 1e-6. Reproduced if BF16 moments lie within the
spread of A/A, and BF16 master weights do not: the control that shows that the runs can see anything.
"""
import numpy as np
from claims import NOT_REPRODUCED, REPRODUCED, claim, columns, depends

RUNS = {"again": ["--perturb", 1e-6], "moments=bf16": ["--set", "moments=bf16"], "moments=fp8": ["--set", "moments=fp8"],
        "master=bf16": ["--set", "master=bf16"]}


def end_loss(run, name, seed, options):
    """Held-out loss at the end of a run, nat."""
    model, steps, batch = ("tiny", 40, 4) if run.quick else ("s", 300, 8)
    out = run.path(f"{name}-{seed}.h5")
    run.train("--model", model, "--mode", "dsv3", "--steps", steps, "--batch", batch, "--seed", seed, "--validate-every", 0,
              "-o", out, *options)
    return columns(out, "validation").loss.iloc[-1]


@claim("V8", "AdamW's moments in BF16 cost nothing visible; master weights and gradient sums stay FP32",
       source="arXiv:2412.19437, 3.3.3: no observable degradation", long=True)
def test(run):
    probe = run.probe("tiny" if run.quick else "s", [60 if run.quick else 300],
                      ["moments_bf16", "moments_fp8", "master_bf16", "gradients_fp32", "gradients_bf16"])
    update = probe[probe.tensor == "all"].set_index("variant").update_error
    run.number("update, BF16 moments, %", update["moments_bf16"], 0.05, 0.5)
    run.number("update, BF16 master weights, %", update["master_bf16"], 10, 100)
    seeds = range(1, 3 if run.quick else 5)
    base = np.array([end_loss(run, "fp32", s, []) for s in seeds])
    change = {n: 100 * (np.array([end_loss(run, n, s, o) for s in seeds]) / base - 1) for n, o in RUNS.items()}
    for name, c in change.items():
        run.number(f"held-out loss, {name}, mean of pairs, %", c.mean(), -5, 30)
    spread = np.abs(change["again"]).max()

    figure, (left, right) = run.axes(2)
    names = [n for n in update.index if n != "gradients_fp32"]
    left.barh(names, update[names])
    left.set(xscale="log", xlabel="error of one update of the weights, %")
    for y, (name, c) in enumerate(change.items()):
        right.plot(c, np.full(len(c), y), "o", ms=4)
    right.axvspan(-spread, spread, color="0.9")
    right.set(yticks=range(len(change)), yticklabels=change, xlabel="held-out loss against FP32 states, %", title="grey: all of A/A")
    run.save(figure)
    within = abs(change["moments=bf16"].mean()) <= spread
    control = abs(change["master=bf16"].mean()) > spread
    if run.quick:
        verdict = depends("the length of the run: this one is too short to decide")
    elif within and not control:
        verdict = depends("the length of the run: here BF16 master weights show nothing either")
    else:
        verdict = REPRODUCED if within else NOT_REPRODUCED
    shown = ", ".join(f"{n} {c.mean():+.2f}" for n, c in change.items())
    return (f"one update: BF16 moments {update['moments_bf16']:.2f} %, FP8 moments {update['moments_fp8']:.1f} %, "
            f"BF16 gradient sums {update['gradients_bf16']:.2f} %, BF16 master weights {update['master_bf16']:.0f} %; held-out loss of {len(base)} pairs, %: "
            f"{shown}; A/A at most {spread:.2f}", verdict)
