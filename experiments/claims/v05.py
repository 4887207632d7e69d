"""V5: activations in tiles of 1x128, weights in blocks of 128x128, the amax of now, E4M3 for every operand.

Source: arXiv:2412.19437, 3.3.2. Test: the recipe `dsv3_report` over both bundled traces, every tile listed: shape, format,
and that the largest magnitude of every tile lands on 448, which is what an amax of now means; and against one scale a tensor,
what that buys. Reproduced if all tiles are so, none clips, and the fine scales lose less than one of the tensor.
"""
import numpy as np
from claims import NOT_REPRODUCED, REPRODUCED, claim


@claim("V5", "1x128 tiles for activations, 128x128 blocks for weights, online amax, E4M3 everywhere",
       source="arXiv:2412.19437, 3.3.2: the recipe; the claim that it accommodates outliers better")
def test(run):
    names = ["train_s"] if run.quick else ["train_s", "smollm2"]
    gain, flush, good = {}, {}, True
    for name in names:
        results = run.replay(run.trace(name), "dsv3_report,te_current:format=e4m3", "--tiles", "all")
        tiles = results.frame("tiles")
        tiles = tiles[(tiles.recipe == "dsv3_report") & (tiles.amax > 0)]
        shape = np.where(tiles.tensor.astype(str).str.endswith("/w"), 128, 1)
        odd = run.number(f"{name}: tiles of another shape", ((tiles.block_cols != 128) | (tiles.block_rows != shape)).sum(), 0, 0)
        landed = run.number(f"{name}: largest |amax / scale_inv - 448|", np.abs(tiles.amax / tiles.scale_inv - 448).max(), 0, 1e-3)
        recipe = results.columns("lookup/recipe")
        formats = {recipe[f"{x}_format"][0] for x in ("x", "w", "dy")}
        frame = results.frame()
        fine, one = (frame[frame.recipe == r].set_index(["tensor", "step"]) for r in ("dsv3_report", "te_current:format=e4m3"))
        clipped = run.number(f"{name}: clipped", fine.clipped_count.sum(), 0, 0)
        gain[name] = (fine.sqnr_db - one.sqnr_db).groupby(one.operand, observed=True).median().dropna()
        flush[name] = one.underflow.mean() / max(fine.underflow.mean(), 1e-12)
        good = good and not odd and landed < 1e-3 and formats == {"e4m3"} and not clipped
        run.number(f"{name}: gain of x over one scale, dB", gain[name]["x"], 0, 4)
    figure, axis = run.axes()
    for i, name in enumerate(names):
        axis.bar(np.arange(3) + 0.4 * i, gain[name].reindex(["x", "w", "dy"]).fillna(0), 0.38, label=name)  # no dy in inference
    axis.set(xticks=np.arange(3) + 0.2, xticklabels=["x", "w", "dy"], ylabel="SQNR gained over one scale a tensor, dB")
    axis.legend()
    run.save(figure)
    ours = "; ".join(f"{n}: x {gain[n]['x']:+.1f} dB, w {gain[n]['w']:+.1f} dB over one scale, "
                     f"{flush[n]:.0f} times fewer flushed" for n in names)
    good = good and all(g["x"] > 0 for g in gain.values())
    return f"all tiles so, amax at 448, none clipped; {ours}", REPRODUCED if good else NOT_REPRODUCED
