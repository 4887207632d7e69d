"""V6: E4M3 also for gradients, "mantissa over exponents": tiles share the exponent.

Source: arXiv:2412.19437, 3.3.2, against hybrid recipes with E5M2 gradients. Test: the recorded gradients of the training
trace through the products dgrad and wgrad, sums of 25 bits, with E5M2 and one scale (hybrid), E4M3 and one scale, E4M3 and 1x128
tiles; then the same gradients with token outliers injected up to 1e6. Reproduced if E4M3 tiles err less than hybrid in every
product, and stay better than E5M2 at every outlier ratio while E4M3 with one scale falls below it.
"""
from claims import NOT_REPRODUCED, REPRODUCED, claim, depends

RECIPES = {"te_current": "E5M2, one scale", "te_current:format=e4m3": "E4M3, one scale", "dsv3:amax_floor=0": "E4M3, 1x128"}


@claim("V6", "E4M3 is fine for gradients when tiles share the exponent",
       source="arXiv:2412.19437, 3.3.2: E4M3 for all tensors instead of E5M2 gradients")
def test(run):
    trace = run.trace("train_s")
    if run.quick:
        trace = run.path("step.h5")
        run.program("trace", "slice", run.trace("train_s"), "--steps", 200, "--layers", "L03", "-o", trace)
    products = run.replay(trace, ",".join(RECIPES), "--gemms", "all", "-a", "blackwell_tcgen05")
    g = products.frame("gemm")
    g = g[g.gemm != "fprop"].set_index(["gemm", "a", "b", "step"])
    total = {r: 100 * g[g.recipe == r].total for r in RECIPES}
    hybrid, tensor, tile = total.values()
    ratio = run.number("hybrid over E4M3 tiles, median", (hybrid / tile).median(), 1.3, 1.9)
    worse = run.number("products where tiles err more than hybrid", (tile > hybrid).sum(), 0, 0)

    ratios = [1, 1e4, 1e6] if run.quick else [1, 1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6]
    frame = run.injected(RECIPES, ratios, fraction=0.03)
    bulk = frame.pivot_table("row_median_sqnr_db", "ratio", "recipe", aggfunc="median", observed=True)
    spread = frame.groupby("ratio").spread.median()
    last = bulk.iloc[-1]
    flipped = last["te_current:format=e4m3"] < last["te_current"]
    safe = (bulk["dsv3:amax_floor=0"] > bulk["te_current"]).all()
    run.number("E4M3 tiles at the largest outliers, dB", last["dsv3:amax_floor=0"], 30, 33)

    figure, (left, right) = run.axes(2)
    left.boxplot([t.to_numpy() for t in total.values()], labels=[l.replace(", ", "\n") for l in RECIPES.values()])
    left.set(ylabel="error of dgrad and wgrad, %", title="recorded gradients, sums of 25 bits")
    for recipe, label in RECIPES.items():
        right.plot(spread, bulk[recipe], "o-", ms=3, label=label)
    right.set(xscale="log", xlabel="amax / rms of the bulk", ylabel="SQNR of the median row, dB", title="token outliers injected")
    right.legend()
    run.save(figure)
    verdict = REPRODUCED if not worse and flipped and safe else depends("the tensor") if ratio > 1 else NOT_REPRODUCED
    return (f"dgrad, wgrad: hybrid {hybrid.median():.1f} %, E4M3 one scale {tensor.median():.1f} %, E4M3 tiles {tile.median():.1f} % "
            f"({ratio:.2f} times less than hybrid); with outliers of {spread.iloc[-1]:.0e} times the rms: {last['te_current']:.0f}, "
            f"{last['te_current:format=e4m3']:.0f}, "
            f"{last['dsv3:amax_floor=0']:.0f} dB", verdict)
