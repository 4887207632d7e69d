"""V11: dispatch to experts in FP8 with power-of-two scales halves its traffic; combine stays in BF16.

Source: arXiv:2412.19437, 3.3.3; arXiv:2505.09343, 3.1: 50 %. Test: bytes of codes and scales of a recorded branch input as
DeepEP's recipe casts it; bytes that the emulated ranks of a mixture of experts send in a training step, and the error of its
gradients; and the step of 2048 GPUs in the pipeline simulator. Reproduced if dispatch has 0.49 to 0.52 of the bytes of BF16.
"""
import h5py
from claims import NOT_REPRODUCED, REPRODUCED, claim


def bytes_of(path):
    """Bytes that a receiver needs: codes, and the stored scales."""
    with h5py.File(path) as f:
        scales = f["scale_inv_codes" if "scale_inv_codes" in f else "scale_inv"]
        return f["codes"].size * f["codes"].dtype.itemsize + scales.size * scales.dtype.itemsize, f["codes"].size


@claim("V11", "FP8 dispatch halves the traffic to experts; combine stays in BF16",
       source="arXiv:2505.09343, 3.1: 50 %; arXiv:2412.19437, 3.3.3")
def test(run):
    array = run.export("train_s", "L03.gateup", "x", 200)
    share = {}
    for name, recipe in (("FP32 scales", "deepep"), ("1-byte scales", "deepep:scales=ue8m0")):
        size, count = bytes_of(run.cast(array, recipe))
        share[name] = size / (2 * count)
    run.number("bytes of BF16, FP32 scales", share["FP32 scales"], 0.515, 0.517)
    run.number("bytes of BF16, 1-byte scales", share["1-byte scales"], 0.503, 0.505)
    model, step = ("tiny_moe", 20) if run.quick else ("moe", 300)
    probe = run.probe(model, [step], ["bf16", "dispatch_fp8", "combine_fp8", "dsv3"])
    rows = probe[probe.tensor == "all"].set_index("variant")
    sent = rows.traffic / rows.traffic["bf16"]  # dispatch and combine, half each in BF16
    dispatched = {v: 2 * sent[v] - 1 for v in ("dispatch_fp8", "combine_fp8")}
    run.number("dispatch of the trainer over BF16", dispatched["dispatch_fp8"], 0.50, 0.63 if run.quick else 0.52)
    error = rows.gradient_error
    run.number("gradients, FP8 dispatch, %", error["dispatch_fp8"], 0.5, 8)

    seconds = {}
    for wire in ("bf16", "fp8"):
        for line in run.program("schedule", "--dispatch", wire).splitlines()[1:]:
            seconds[line.split()[0], wire] = float(line.split()[1])
    figure, (left, right) = run.axes(2)
    left.bar(["BF16", *share, "trainer's\nranks"], [1, *share.values(), dispatched["dispatch_fp8"]])
    left.axhline(0.5, color="C3", ls="--", lw=0.8)
    left.set(ylabel="bytes dispatched, of BF16")
    names = list(dict.fromkeys(s for s, _ in seconds))
    for i, wire in enumerate(("bf16", "fp8")):
        right.bar([x + 0.4 * i for x in range(len(names))], [seconds[n, wire] for n in names], 0.38, label=f"{wire} dispatch")
    right.set(xticks=[x + 0.2 for x in range(len(names))], xticklabels=names, ylabel="s of a step of 2048 GPUs, simulated")
    right.legend()
    run.save(figure)
    good = all(0.49 <= v <= 0.52 for v in share.values())
    gain = ", ".join(f"{n} {100 * (1 - seconds[n, 'fp8'] / seconds[n, 'bf16']):.0f} %" for n in names)
    return (f"{share['FP32 scales']:.3f} of the bytes of BF16 with FP32 scales, {share['1-byte scales']:.3f} with scales of a byte; "
            f"gradients off by {error['dispatch_fp8']:.1f} % (FP8 combine {error['combine_fp8']:.1f} %, dsv3 products {error['dsv3']:.1f} %); "
            f"simulated step shorter by: {gain}",
            REPRODUCED if good else NOT_REPRODUCED)
