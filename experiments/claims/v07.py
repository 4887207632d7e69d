"""V7: embedding, head, gate, norms and attention stay in BF16 or FP32, because they are sensitive.

Source: arXiv:2412.19437, 3.3.1. Test: same weights, same batch: the gradients and the held-out loss with one of these parts
cast to FP8 (norms: BF16), everything else BF16; beside it the linear layers in FP8, per layer (errors of layers add as squares).
Reproduced if every part errs more than an average linear layer and moves the loss more; the two metrics are judged apart.
"""
import numpy as np
from claims import NOT_REPRODUCED, REPRODUCED, claim, depends

PARTS = ["norms_bf16", "embedding_fp8", "attention_fp8", "head_fp8"]
LINEAR = {"s": 16, "moe": 16 + 4 * 14, "tiny": 8, "tiny_moe": 8}


@claim("V7", "embedding, head, gate, norms and attention must stay in high precision",
       source="arXiv:2412.19437, 3.3.1: no figure", long=True)
def test(run):
    steps = [0, 60] if run.quick else [0, 100, 400]
    model, experts = ("tiny", "tiny_moe") if run.quick else ("s", "moe")
    probe = run.probe(model, steps, PARTS + ["dsv3", "bf16"])
    gate = run.probe(experts, steps[:1] + steps[-1:] if run.quick else steps, ["gate_fp8"])
    rows = probe[probe.tensor == "all"]
    gate = gate[gate.tensor == "all"].set_index("step")
    error = rows.pivot(index="step", columns="variant", values="gradient_error")
    shift = rows.pivot(index="step", columns="variant", values="loss_shift").abs()
    error["gate_fp8"], shift["gate_fp8"] = gate.gradient_error, gate.loss_shift.abs()
    error["one linear layer"] = error.dsv3 / np.sqrt(LINEAR[model])
    parts = PARTS + ["gate_fp8"]
    last, moved = error.iloc[-1], shift.iloc[-1]
    more = [p for p in parts if last[p] > last["one linear layer"]]
    loss = [p for p in parts if moved[p] > moved["dsv3"]]
    run.number("gradients, dsv3, %", last["dsv3"], 3, 20)
    run.number("gradients, head in FP8, %", last["head_fp8"], 1, 15)
    run.number("largest shift of the loss by a part, %", moved[parts].max(), 0, 0.6)

    figure, (left, right) = run.axes(2)
    names = parts + ["one linear layer", "dsv3"]
    for i, step in enumerate(error.index):
        left.barh(np.arange(len(names)) + 0.25 * i, error.loc[step, names], 0.24, label=f"step {step}")
        right.barh(np.arange(len(names) - 2) + 0.25 * i, shift.loc[step, parts], 0.24)
    left.set(yticks=np.arange(len(names)) + 0.25, yticklabels=names, xlabel="error of all gradients, %")
    right.set(yticks=np.arange(len(parts)) + 0.25, yticklabels=parts, xlabel="|shift of the held-out loss|, %")
    left.legend()
    run.save(figure)
    verdict = REPRODUCED if len(more) == len(loss) == len(parts) else NOT_REPRODUCED if not more and not loss else \
        depends("the part and the metric")
    listed = ", ".join(f"{p.split('_')[0]} {last[p]:.1f}" for p in parts)
    return (f"gradients at step {steps[-1]}, %: {listed}; all linear layers {last['dsv3']:.1f}, one of them "
            f"{last['one linear layer']:.1f}; more than one linear layer: {', '.join(p.split('_')[0] for p in more) or 'none'}; the held-out loss moves by at most "
            f"{moved[parts].max():.3f} % (linear layers {moved['dsv3']:.3f} %)", verdict)
