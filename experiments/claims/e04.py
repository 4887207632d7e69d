"""E4: token outliers in gradients make 128x128 blocks lose the other tokens, more with every dgrad on the way down; 1x128 tiles lose nothing.

Source: arXiv:2412.19437, B.2: gradients in 128x128 blocks diverged; its guess is token outliers. Test: recorded gradients, 3 % of
whose tokens are multiplied by 1 to 1e5, go through a chain of dgrads with recorded weights (q, k, v and o of two layers),
each with its operands cast by tiles, blocks or one scale, sums in FP32, BF16 results; beside the same chain in binary64. The
distance of the two, row by row, is that of the program's results. Reproduced if, at the largest ratio, blocks lose the median token (error
twice that of tiles or more) and tiles stay within 1.3 times what they lose without outliers, at every depth.
"""
import re

import numpy as np
from claims import NOT_REPRODUCED, REPRODUCED, claim, depends

RECIPES = {"dsv3:amax_floor=0": "1x128 tiles", "dsv3:amax_floor=0:block=128x128": "128x128 blocks", "te_current:format=e4m3": "one scale"}


def export(run, trace, layer, operand, step=200):
    out = run.path("exported.npy")
    run.program("trace", "export", trace, "--layers", re.escape(layer) + "$", "--operands", operand, "--steps", step, "-o", out)
    array = np.load(out)
    return array.reshape(-1, array.shape[-1])


def chain(run, dy, weights, *options):
    """[depth] results of dy w0, dy w0 w1, ..., each product by `gemm`."""
    results, here = [], run.npy("dy", dy)
    for i, w in enumerate(weights):
        out = run.path(f"dx{i}.npy")
        run.program("gemm", here, w, "--b-layout", "kn", "-o", out, *options)
        results.append(np.load(out).astype("f8"))
        here = out
    return results


@claim("E4", "token outliers: 128x128 blocks lose the other tokens at every dgrad, 1x128 tiles do not",
       source="arXiv:2412.19437, B.2: divergence; the mechanism is its guess")
def test(run):
    ratios, depth = ([1, 1e5], 3) if run.quick else ([1, 1e3, 1e4, 3e4, 1e5], 8)
    parts = [export(run, run.trace("train_s"), layer, "w")[i:i + 128] for layer in ("L03.o", "L03.qkv", "L00.qkv") for i in (0, 128, 256)
             if layer != "L03.o" or i == 0]
    weights = [run.npy(f"w{i}", parts[i % len(parts)]) for i in range(depth)]
    error = {}
    for ratio in ratios:
        trace = run.path(f"ratio{ratio:g}.h5")
        run.program("trace", "synth", "--inject", run.trace("train_s"), "--layers", "L03.o", "--operands", "dy", "--steps", 200,
                    "--outliers", f"token:share=0.03:ratio={ratio:g}", "-o", trace)
        dy = export(run, trace, "L03.o", "dy")
        exact = chain(run, dy, weights, "-r", "none", "-f", "e8m23ieee", "-a", "fp64")
        for recipe in RECIPES:
            found = chain(run, dy, weights, "-r", recipe, "-a", "fma_fp32", "--output-format", "bfloat16")
            error[recipe, ratio] = [100 * np.median(np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1)) for a, b in zip(found, exact)]
    tile, block, one = RECIPES
    last = ratios[-1]
    clean = run.number(f"no outliers, {depth} dgrads: tiles, median token, %", error[tile, 1][-1], 1, 30)
    lost = run.number("largest outliers, first dgrad: blocks over tiles", error[block, last][0] / error[tile, last][0], 1.5, 100)
    deep = run.number("largest outliers, last dgrad: blocks over tiles", error[block, last][-1] / error[tile, last][-1], 1.5, 100)
    kept = run.number("tiles: largest outliers over none, largest of the depths", max(a / b for a, b in zip(error[tile, last], error[tile, 1])), 0.8, 1.3)

    figure, (left, right) = run.axes(2)
    for i, (recipe, label) in enumerate(RECIPES.items()):
        left.plot(range(1, depth + 1), error[recipe, 1], "o:", ms=3, color=f"C{i}")
        left.plot(range(1, depth + 1), error[recipe, last], "o-", ms=3, color=f"C{i}", label=label)
        right.plot(ratios, [error[recipe, r][-1] for r in ratios], "o-", ms=3, color=f"C{i}", label=label)
    left.set(xlabel="dgrads in a row", ylabel="error of the median token, %", yscale="log", title=f"outliers x {last:.0e}; dotted: none")
    right.set(xlabel="outlier ratio", xscale="log", yscale="log", title=f"after {depth} dgrads")
    left.legend()
    run.save(figure)
    worse = all(b >= 2 * t for b, t in zip(error[block, last], error[tile, last]))
    span = lambda r, ratio: f"{error[r, ratio][0]:.1f} to {error[r, ratio][-1]:.1f}"
    return (f"median token, %, 1 to {depth} dgrads: without outliers tiles {span(tile, 1)}, blocks {span(block, 1)}; with outliers x {last:.0e} tiles {span(tile, last)}, "
            f"blocks {span(block, last)}, one scale {span(one, last)}; blocks err {lost:.1f} times as much as tiles at the first dgrad, {deep:.1f} at the last",
            REPRODUCED if worse and kept < 1.3 else depends("the depth") if max(lost, deep) >= 2 and kept < 1.3 else NOT_REPRODUCED)
