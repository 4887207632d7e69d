"""V16: 20 of 132 SMs and 10 channels are enough for communication; the backward pass is split into input and weight parts.

Source: arXiv:2412.19437, 3.2. Test: none of this is arithmetic, and how fast an SM copies needs a GPU. The pipeline simulator
shows what the split and the SMs do to a step of 2048 GPUs under its assumptions (5 GB/s a channel, 50 GB/s a GPU), all of
which are options of `schedule`. The published bubbles come out exactly without communication (a test of the project).
"""
from claims import NOT_TESTABLE, claim


def steps(run, sms):
    """{schedule: {column: value}} with `sms` SMs for communication, two of them a channel."""
    lines = [line.split() for line in run.program("schedule", "--communication-sms", sms, "--channels", sms // 2).splitlines()]
    return {words[0]: dict(zip(lines[0][1:5], map(float, words[1:5]))) for words in lines[1:]}


@claim("V16", "20 of 132 SMs, 10 channels, suffice for communication; backward is split into input and weight parts",
       source="arXiv:2412.19437, 3.2: design, no figure")
def test(run):
    counts = [8, 20, 32] if run.quick else [4, 8, 12, 16, 20, 24, 32, 40, 64]
    found = {n: steps(run, n) for n in counts}
    at = found[20]
    run.number("bubble of 1F1B, %", at["1f1b"]["bubble_%"], 14, 17)
    run.number("bubble of zero-bubble, %", at["zb1p"]["bubble_%"], 8, 10)
    run.number("exposed communication of DualPipe, %", at["dualpipe"]["exposed_%"], 10, 14)
    best = min(counts, key=lambda n: found[n]["dualpipe"]["seconds"])
    figure, axis = run.axes()
    for name in at:
        axis.plot(counts, [found[n][name]["seconds"] for n in counts], "o-", ms=3, label=name)
    axis.axvline(20, color="C3", ls="--", lw=0.8)
    axis.set(xlabel="SMs for communication, of 132", ylabel="s of a step of 2048 GPUs, simulated")
    axis.legend()
    run.save(figure)
    bubble = {name: f"{row['bubble_%']:.0f} %" for name, row in at.items()}
    return (f"simulated only: splitting the backward pass cuts the bubble from {bubble['1f1b']} (1F1B) to {bubble['zb1p']}, DualPipe's is "
            f"{bubble['dualpipe']} with {at['dualpipe']['exposed_%']:.0f} % of communication exposed; of {counts[0]} to {counts[-1]} SMs, {best} give "
            "DualPipe's shortest step: by assumption, for the 10 channels of 20 SMs fill the link",
            NOT_TESTABLE)
