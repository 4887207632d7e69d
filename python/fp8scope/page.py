"""One self-contained HTML file that shows a result file: no server, no network."""
import base64
import html
import json
import os
import pathlib
import re

import numpy as np

from .results import load

ASSETS = pathlib.Path(__file__).with_name("assets")
# What the page plots: statistics of /results, columns of /gemm. Shares are shown in %.
STATISTICS = ["sqnr_db", "bulk_sqnr_db", "row_median_sqnr_db", "underflow", "clipped", "overflow", "subnormal",
              "mse", "max_rel_error", "bias", "calc_diff", "clipped_mass", "headroom_log2"]
FACTS = ["amax", "amax_age", "staleness", "scale_inv_min", "scale_inv_max"]
GEMM = ["total", "from_a", "from_b", "from_accumulator", "from_output", "max", "p50", "p99", "p999", "bias"]
TILE_MAPS = 400  # at most so many scale maps, the worst first: a page must stay openable


def report(path, output, title=None):
    """Writes the page for a result file, or for results.h5 in a sweep's folder. Returns the path written.

    Throws OSError, ValueError (no result file), ImportError (plotly is missing).
    """
    from plotly.offline import get_plotlyjs

    path = pathlib.Path(path)
    results = load(path / "results.h5" if path.is_dir() else path)
    page = (ASSETS / "report.html").read_text(encoding="utf-8")
    parts = {"title": html.escape(title or str(results.attrs.get("title", "fp8scope results"))),
             "style": (ASSETS / "report.css").read_text(encoding="utf-8"),
             "plotly": get_plotlyjs().replace("</script", "<\\/script"),
             # No "<" may reach the HTML parser: names of tensors are anybody's text.
             "data": json.dumps(payload(results), separators=(",", ":")).replace("<", "\\u003c"),
             "script": "".join((ASSETS / name).read_text(encoding="utf-8")
                               for name in ("data.js", "charts.js", "report.js"))}
    page = re.sub(r"<!--(\w+)-->", lambda slot: parts[slot[1]], page)
    part = f"{output}.part"
    with open(part, "w", encoding="utf-8") as f:
        f.write(page)
        f.flush()
        os.fsync(f.fileno())
    os.replace(part, output)
    return output


def payload(results):
    """Everything the page shows, as a dict of JSON values; columns are packed (see packed())."""
    table = results.columns("results")
    lookup = results.columns("lookup/tensor")
    ids = {name: packed(table[name], "<i4") for name in ("tensor_id", "recipe_id", "gemm_id", "step")}
    out = {
        "attrs": {k: _plain(v) for k, v in results.attrs.items()},
        "inputs": [f"{n} ({s[:12]})" for n, s in zip(results.columns("inputs")["name"],
                                                     results.columns("inputs")["sha256"])]
        if "inputs" in results.tables() else [],
        "tensors": list(results.names("tensor")),
        "classes": list(lookup.get("class", [n.rpartition("/")[2] for n in results.names("tensor")])),
        "recipes": list(results.names("recipe")),
        "gemms": list(results.names("gemm")),
        "results": {**ids, **{c: packed(table[c]) for c in STATISTICS + FACTS if c in table}},
        "units": {c: results.units["results", c] for c in STATISTICS if c in table},
        "statistics": [c for c in STATISTICS if c in table],
        "ranges": _ranges(results),
    }
    if "hist" in results.tables():
        out["hist"] = _histograms(results.columns("hist"))
    if "gemm" in results.tables():
        gemm = results.columns("gemm")
        out["accumulators"] = list(results.names("accumulator"))
        names = list(results.names("gemm"))
        out["gemm"] = {**{c: packed(gemm[c], "<i4") for c in ("a_tensor_id", "b_tensor_id", "recipe_id",
                                                              "accumulator_id", "step", "k")},
                       **{c: packed(gemm[c]) for c in GEMM if c in gemm},
                       "gemm_id": packed(np.array([names.index(g) for g in gemm["gemm"]]), "<i4")}
    if "tiles" in results.tables():
        out["tiles"] = _tile_maps(results.columns("tiles"))
    return out


def packed(values, kind="<f4"):
    """A column as {"type", "base64"}: a tenth of the text that JSON numbers need."""
    return {"type": kind, "base64": base64.b64encode(np.ascontiguousarray(values, kind).tobytes()).decode()}


def _plain(value):
    return value if isinstance(value, (str, int, float, list)) else str(value)


def _ranges(results):
    """[recipes] of {operand: [smallest subnormal, smallest normal, MAX]} before scales, where the file has them."""
    table = results.columns("lookup/recipe")
    operands = [o for o in ("x", "w", "dy") if f"{o}_max" in table]
    limits = lambda o, r: [float(table[f"{o}_{c}"][r]) for c in ("min_subnormal", "min_normal", "max")]
    return [{o: limits(o, r) for o in operands if np.isfinite(table[f"{o}_max"][r])} for r in range(len(table["name"]))]


def _histograms(hist):
    """Counts cut to the bins that are used at all."""
    used = np.nonzero(hist["count"].sum(axis=0))[0]
    low, high = (used[0], used[-1] + 1) if len(used) else (0, 1)
    return {"exponent": hist["exponent"][low:high].tolist(), "tensor_id": packed(hist["tensor_id"], "<i4"),
            "step": packed(hist["step"], "<i4"), "count": packed(hist["count"][:, low:high])}


def _tile_maps(tiles):
    """Scale maps: one entry per (tensor, step, recipe), its tiles' scale exponents and losses by row and column."""
    keys = np.stack([tiles[c] for c in ("tensor_id", "step", "recipe_id", "gemm_id")])
    groups, index = np.unique(keys, axis=1, return_inverse=True)
    order = np.argsort(index, kind="stable")
    edges = np.searchsorted(index[order], np.arange(groups.shape[1] + 1))
    loss = np.nan_to_num(tiles["sqnr_db"], nan=np.inf)
    worst = sorted(range(groups.shape[1]), key=lambda g: loss[order[edges[g]:edges[g + 1]]].min())[:TILE_MAPS]
    maps = []
    for g in sorted(worst):
        rows = order[edges[g]:edges[g + 1]]
        maps.append({"tensor": int(groups[0, g]), "step": int(groups[1, g]), "recipe": int(groups[2, g]),
                     "gemm": int(groups[3, g]), "row": packed(tiles["tile_row"][rows], "<i4"),
                     "col": packed(tiles["tile_col"][rows], "<i4"),
                     "scale_inv": packed(tiles["scale_inv"][rows]), "amax": packed(tiles["amax"][rows]),
                     "sqnr_db": packed(tiles["sqnr_db"][rows]),
                     "underflow": packed(tiles["underflow_count"][rows] / np.maximum(tiles["n"][rows], 1))})
    return {"maps": maps, "left_out": int(groups.shape[1] - len(maps))}
