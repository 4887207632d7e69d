"""E1: one figure for the error of accumulation ("nearly 2 %") hides a fifty-fold range.

Source: arXiv:2412.19437, 3.5.2, one figure; the products and units are ours. Test: normal inputs of K = 256 to 16384 whose mean is
0 to 4 standard deviations, cast to E4M3 with one scale; their codes on Hopper's unit, never promoted and every 512, 128 and
32 products, on Ada's, on Blackwell's and in FP32: all error is the unit's. Reproduced if Hopper's unpromoted error at K = 4096 alone
spans a factor of 50 over the means, and the share of it that is bias (a systematic loss, not noise) goes from below 5 to above 90 %.
"""
import numpy as np
from claims import NOT_REPRODUCED, REPRODUCED, claim, depends

ROWS = 64
UNITS = {"Hopper": ("hopper_wgmma", "none"), "Hopper, 512": ("hopper_wgmma", "512"), "Hopper, 128": ("hopper_wgmma", "128"),
         "Hopper, 32": ("hopper_wgmma", "32"), "Ada": ("ada_mma", "none"), "Blackwell": ("blackwell_tcgen05", "none"), "FP32": ("fma_fp32", "none")}


@claim("E1", "the error of accumulation is no single figure: K, N_C, the mean of the inputs and the unit decide",
       source="arXiv:2412.19437, 3.5.2: nearly 2 % (one figure)")
def test(run):
    lengths, means = ([256, 4096], [0, 1, 4]) if run.quick else ([256, 1024, 4096, 16384], [0, 0.1, 0.25, 0.5, 1, 2, 4])
    rng = np.random.default_rng(51)
    error, bias = {}, {}
    for k in lengths:
        for mean in means:
            codes = [f"{run.cast(run.npy(side, rng.standard_normal((ROWS, k)) + mean), 'te_current')}:/codes" for side in "ab"]
            for unit, (model, promote) in UNITS.items():
                found = run.codes_error(*codes, model, promote)
                error[unit, k, mean] = 100 * found["total"]
                bias[unit, k, mean] = 100 * (found["bias"] / found["total"]) ** 2 if found["total"] > 0 else 0
    at = [error["Hopper", 4096, m] for m in means]
    spread = run.number("Hopper, K = 4096: largest over smallest of the means", max(at) / min(at), 30, 80)
    noise, shift = (run.number(f"Hopper, K = 4096, mean {m}: share of bias, %", bias["Hopper", 4096, m], *band) for m, band in ((0, (0, 5)), (4, (90, 100))))
    promoted = [error["Hopper", 4096, m] / error["Hopper, 128", 4096, m] for m in means]
    run.number("N_C = 128: gain at mean 0", promoted[0], 8, 16)
    blackwell = run.number("Blackwell, K = 4096: largest, %", max(error["Blackwell", 4096, m] for m in means), 0, 0.1)

    figure, axes = run.axes(3, width=11, height=3)
    grid = lambda values, rows: np.array([[values[r + (m,)] for m in means] for r in rows])
    panels = [(grid(error, [("Hopper", k) for k in lengths]), lengths, "K", "Hopper, never promoted: error, %"),
              (grid(bias, [("Hopper", k) for k in lengths]), lengths, "K", "of it bias (the square), %"),
              (grid(error, [(u, 4096) for u in UNITS]), list(UNITS), "", "K = 4096: error, %")]
    for axis, (values, rows, label, title) in zip(axes, panels):
        axis.imshow(np.log10(np.maximum(values, 1e-5)), cmap="viridis", aspect="auto", origin="lower")
        if "error" in title:
            axis.contour(values, levels=[2], colors="w", linewidths=1)
        for (y, x), v in np.ndenumerate(values):
            axis.text(x, y, f"{v:.0f}" if v > 10 else f"{v:.2g}", ha="center", va="center", color="k" if v > 1 else "w", fontsize=6)
        axis.set(xticks=range(len(means)), xticklabels=means, yticks=range(len(rows)), yticklabels=rows, ylabel=label, xlabel="mean / standard deviation", title=title)
        axis.grid(False)
    run.save(figure)
    first = {k: next((m for m in means if error["Hopper", k, m] > 2), None) for k in lengths}
    crossed = [f"K = {k} " + ("never" if m is None else f"from a mean of {m}") for k, m in first.items()]
    verdict = REPRODUCED if spread >= 50 and noise < 5 and shift > 90 else depends("the means that are tried") if spread > 10 else NOT_REPRODUCED
    return (f"Hopper, K = 4096: {min(at):.2f} to {max(at):.1f} % ({spread:.0f} times), bias {noise:.0f} to {shift:.0f} % of its square; above 2 %: {', '.join(crossed)}; "
            f"N_C = 128 gains {min(promoted):.0f} to {max(promoted):.0f} times; Blackwell at most {blackwell:.2g} %, FP32 {max(error['FP32', 4096, m] for m in means):.2g} %", verdict)
