"""E10: CUDA kernels and emulator agree in every bit on the user's own tensors.

Source: a question of ours; peers compare kernels with a tolerance. Test: `validate --gpu` sends the tensors of a trace through every
kernel (conversions, quantisers by tile, column and tensor, delayed scaling, statistics, emulated products) and counts words that
differ. Here no GPU is used: `--device cuda-loops` runs the kernels' loops on the CPU, which tests their indexing, order and rules, not the code that
a GPU runs. On a machine with a GPU: `fp8scope validate TRACE.h5 --gpu`. Counted as agreeing if no word differs.
"""
import re

from claims import NOT_REPRODUCED, NOT_TESTABLE, claim


@claim("E10", "CUDA kernels and emulator agree bit for bit on a recorded trace", source="none: peers compare within a tolerance; 0 mismatches is the aim")
def test(run):
    trace = run.trace("train_s")
    if run.quick:
        trace = run.path("one.h5")
        run.program("trace", "slice", run.trace("train_s"), "--layers", "L03.o$", "--steps", 200, "-o", trace)
    text = run.program("validate", trace, "--gpu", "--device", "cuda-loops", codes=(0, 1))
    rows = re.findall(r"^(\S.*?)  +(\d+) +(\d+) +(\d+) +(.+)$", text, re.M)
    counts = {name: (int(words), int(wrong)) for name, _, words, wrong, verdict in rows if verdict != "not compared"}
    words = run.number("words compared", sum(n for n, _ in counts.values()), 1e6)
    wrong = run.number("words that differ", sum(d for _, d in counts.values()), 0, 0)
    run.number("kernels", len(counts), 10, 30)
    figure, axis = run.axes()
    axis.barh(list(counts), [n for n, _ in counts.values()])
    for y, (_, differ) in enumerate(counts.values()):
        axis.text(1.2e4, y, f"{differ} differ", va="center", color="w", fontsize=7)
    axis.set(xscale="log", xlim=(1e4, None), xlabel="words compared, kernels' loops on the CPU")
    run.save(figure)
    skipped = [name for name, *_, verdict in rows if verdict == "not compared"]
    return (f"loops of {len(counts)} kernels on the CPU: {wrong:.0f} of {words:.3g} words differ ({len(skipped)} kind of casts has no kernel); no GPU ran",
            NOT_TESTABLE if wrong == 0 else NOT_REPRODUCED)
