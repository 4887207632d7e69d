"""V10: the inputs of SwiGLU are kept in FP8 with fine-grained scales, and its output is computed again in the backward pass.

Source: arXiv:2412.19437, 3.3.3: a balance of memory and accuracy, no figure. Test: same weights, same batch: gradients of
training with this cache, with the output recomputed from inputs in full precision, and with the output kept; bytes that a rank
holds. Reproduced if recomputation alone changes nothing, the FP8 cache saves memory, and what it adds to the gradients is
less than what FP8 products (dsv3) lose already.
"""
import numpy as np
from claims import NOT_REPRODUCED, REPRODUCED, claim


@claim("V10", "SwiGLU's inputs kept in FP8, its output recomputed: memory saved for little accuracy",
       source="arXiv:2412.19437, 3.3.3: no figure")
def test(run):
    steps = [0, 60] if run.quick else [0, 100, 400]
    probe = run.probe("tiny" if run.quick else "s", steps, ["bf16", "swiglu_recompute", "swiglu_cache_fp8", "dsv3"])
    rows = probe[probe.tensor == "all"]
    error = rows.pivot(index="step", columns="variant", values="gradient_error")
    held = rows.pivot(index="step", columns="variant", values="memory").iloc[0] / 1e6
    again = run.number("gradients, recomputed in full, %", error.swiglu_recompute.max(), 0, 0)
    cached = run.number("gradients, FP8 cache, largest of the steps, %", error.swiglu_cache_fp8.max(), 1, 6)
    saved = {v: 100 * (1 - held[v] / held["bf16"]) for v in ("swiglu_recompute", "swiglu_cache_fp8")}
    run.number("memory saved by the FP8 cache, %", saved["swiglu_cache_fp8"], 4, 30)

    figure, (left, right) = run.axes(2)
    names = ["swiglu_recompute", "swiglu_cache_fp8", "dsv3"]
    for i, step in enumerate(error.index):
        left.barh(np.arange(3) + 0.25 * i, error.loc[step, names], 0.24, label=f"step {step}")
    left.set(yticks=np.arange(3) + 0.25, yticklabels=names, xlabel="error of all gradients, %")
    left.legend()
    right.barh(["bf16"] + names[:2], held[["bf16"] + names[:2]])
    right.set(xlabel="held by a rank in a step, MB")
    run.save(figure)
    good = again == 0 and saved["swiglu_cache_fp8"] > 0 and (error.swiglu_cache_fp8 < error.dsv3).all()
    return (f"gradients off by {error.swiglu_cache_fp8.min():.1f} to {cached:.1f} % (dsv3 products: {error.dsv3.min():.1f} to "
            f"{error.dsv3.max():.1f} %), recomputing alone by 0; memory {-saved['swiglu_cache_fp8']:.0f} %, "
            f"recomputing alone {-saved['swiglu_recompute']:.0f} %",
            REPRODUCED if good else NOT_REPRODUCED)
