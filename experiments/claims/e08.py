"""E8: at the same weights and batch the error of a recipe is deterministic, resolved far below 0.01 %, and splits by operand, product, layer
and cause; two trainings resolve none of that.

Source: a method of ours against arXiv:2412.19437, B.1, which compares losses of two runs. Test: states of a binary32 run; gradients with only x,
w or dy in FP8, only one product in FP8, another accumulator, scales that are powers of two, and of a mixture of experts with each cause
apart, its tokens sent freely or as binary32 sends them. Reproduced if two probes give the same bytes, an effect below 0.01 % is
seen, and the squares of x, w and dy alone add up to the whole within 25 %.
"""
import numpy as np
from claims import NOT_REPRODUCED, REPRODUCED, claim, depends

CAUSES = ["dsv3_x", "dsv3_w", "dsv3_dy", "dsv3_fprop", "dsv3_dgrad", "dsv3_wgrad", "dsv3", "dsv3_hopper", "te_block", "te_current", "te_current_hopper"]
ROUTED = ["dsv3", "gate_fp8", "experts_fp8", "dispatch_fp8", "combine_bf16", "combine_fp8"]


@claim("E8", "same-weights probes are deterministic, resolve less than 0.01 % and split the error by operand, layer and cause",
       source="arXiv:2412.19437, B.1, compares two trainings: no such split")
def test(run):
    dense, routed, step, later = ("tiny", "tiny_moe", 40, 60) if run.quick else ("s", "moe", 100, 400)
    variants = ["linear_cache_pow2", "attention_cache_e5m6", *CAUSES]
    probe = run.probe(dense, [step, later], variants)
    state, again, first = run.path(f"{dense}.state.h5.{later}"), run.path("again.h5"), run.path("first.h5")
    for out in (first, again):
        run.train("--model", dense, "--batch", 8, "--probe", state, "--variants", "dsv3,te_current_hopper", "--reproducible", "-o", out)
    same = run.number("two probes: the same bytes", first.read_bytes() == again.read_bytes(), 1, 1)
    rows = probe[probe.tensor == "all"]
    error = rows.pivot(index="step", columns="variant", values="gradient_error")
    smallest = run.number("smallest effect seen, %", error[error > 0].min().min(), 1e-9, 0.01)
    parts = np.sqrt((error[["dsv3_x", "dsv3_w", "dsv3_dy"]] ** 2).sum(axis=1)) / error.dsv3
    products = np.sqrt((error[["dsv3_fprop", "dsv3_dgrad", "dsv3_wgrad"]] ** 2).sum(axis=1)) / error.dsv3
    run.number("x, w, dy apart over the whole, furthest from 1", parts.iloc[(parts - 1).abs().argmax()], 0.7, 1.4)
    hopper = run.number("Hopper's accumulator, promoted every 128, over FP32 sums", error.dsv3_hopper.iloc[-1] / error.dsv3.iloc[-1], 0.8, 1.2)
    experts = run.probe(routed, [step], ROUTED)
    whole = experts[experts.tensor == "all"].set_index("variant")
    rounding = (whole.gradient_error_held / whole.gradient_error).loc["dsv3"]
    run.number("experts, dsv3: rounding alone over the whole error", rounding, 0.1, 1.1)

    figure, (left, middle, right) = run.axes(3, width=11)
    y = np.arange(len(CAUSES))
    for i, at in enumerate(error.index):
        left.barh(y + 0.4 * i, error.loc[at, CAUSES], 0.38, label=f"step {at}")
    left.set(yticks=y + 0.2, yticklabels=CAUSES, xlabel="error of all gradients, %", title=f"model {dense}")
    left.legend()
    layers = probe[(probe.scope == "layer") & (probe.step == later)]
    for variant in ("dsv3", "dsv3_x", "dsv3_w", "dsv3_dy"):
        some = layers[layers.variant == variant]
        middle.plot(range(len(some)), some.gradient_error, "o-", ms=3, label=variant)
    middle.set(xticks=range(layers.tensor.nunique()), xticklabels=layers.tensor.unique(), title=f"by layer, step {later}", ylabel="%")
    middle.legend()
    right.barh(np.arange(len(ROUTED)), whole.gradient_error[ROUTED], 0.4, label="all")
    right.barh(np.arange(len(ROUTED)) + 0.4, whole.gradient_error_held[ROUTED], 0.4, label="rounding: tokens sent as by binary32")
    right.set(yticks=np.arange(len(ROUTED)) + 0.2, yticklabels=ROUTED, xlabel="%", title=f"model {routed}, step {step}")
    right.legend()
    run.save(figure)
    budget = ", ".join(f"{v[5:]} {error[v].iloc[-1]:.1f}" for v in CAUSES[:6])
    split = ", ".join(f"{v} {whole.gradient_error[v]:.1f} ({whole.gradient_error_held[v]:.1f})" for v in ROUTED)
    good = same and smallest < 0.01 and (parts - 1).abs().max() < 0.25
    return (f"the same bytes twice: {'yes' if same else 'no'}; smallest effect {smallest:.1g} %; dsv3 {error.dsv3.iloc[-1]:.1f} % at step {later}, of it alone: {budget}; root of squares "
            f"over the whole {parts.iloc[-1]:.2f} (operands), {products.iloc[-1]:.2f} (products); Hopper's accumulator {hopper:.2f} times; experts, in brackets rounding without rerouting: {split} %",
            REPRODUCED if good else depends("the model: parts do not add up") if same and smallest < 0.01 else NOT_REPRODUCED)
