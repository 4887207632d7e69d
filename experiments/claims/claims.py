"""What a claim file is written with.

Every claim of the field is one file beside this one, v01.py ... v17.py and e01.py ... e10.py; `python3
experiments/claims` finds and runs them. A file looks like this:

    \"\"\"V99: the claim. Its source. How it is tested here. What counts as reproduced.\"\"\"
    from claims import NOT_REPRODUCED, REPRODUCED, claim

    @claim("V99", "the claim in a sentence", source="arXiv:1234.56789, 3.1: 2 %")
    def test(run):
        frame = run.replay(run.trace("smollm2"), "dsv3,mxfp8").frame()      # pandas; recipe, layer, operand, ...
        db = run.number("SQNR of x under dsv3, dB", frame[frame.recipe == "dsv3"].sqnr_db.median(), 30, 36)
        figure, axis = run.axes()
        axis.plot(...)
        run.save(figure)                                                    # figures/claims/V99.png
        return f"{db:.1f} dB", REPRODUCED if db > 30 else NOT_REPRODUCED    # our figure, verdict

All arithmetic is the program's: `run` calls it and reads its files; numpy makes inputs and pictures only. Claims
run two at a time, in processes of their own, each with its own folder: a file must not depend on another one.
`run.quick` asks for a test of a few seconds: fewer steps, rows or points, the same code.
`run.number` states the band in which a figure lies wherever the program is the same; outside it the run fails.
"""
import dataclasses
import io
import math
import pathlib
import re
import shlex
import subprocess
import sys
import time

import numpy as np

FOLDER = pathlib.Path(__file__).resolve().parent
ROOT = FOLDER.parent.parent
sys.path[:0] = [str(ROOT / "python"), str(FOLDER.parent)]
import fp8scope  # noqa: E402  the results, as frames

REPRODUCED, NOT_REPRODUCED, NOT_TESTABLE = "reproduced", "not reproduced", "not testable on a CPU"
DEPENDS, PENDING = "depends on ", "pending: "
LARGEST_PLOT = 60_000  # bytes


def depends(on):
    """A verdict: the claim holds or not according to `on`, which it leaves open."""
    return DEPENDS + on


def pending(what):
    """A verdict: the recorded results of a long run are not there yet. The table of the project has none."""
    return PENDING + what


def allowed(verdict):
    """Is this text a verdict?"""
    return verdict in (REPRODUCED, NOT_REPRODUCED, NOT_TESTABLE) or (
        verdict.startswith((DEPENDS, PENDING)) and len(verdict) > len(DEPENDS))


@dataclasses.dataclass
class Claim:
    number: str  # V3
    claim: str  # in a sentence
    source: str  # where it stands, and its figure
    test: object  # called with a Run; returns (our figure, verdict)
    long: bool = False  # takes minutes, so it begins before the others


REGISTRY = {}  # number: Claim, filled by the files


def claim(number, text, source, long=False):
    """Decorator of a claim's test(run) -> (our figure, verdict); `long` ones, of minutes, begin first."""
    def register(test):
        REGISTRY[number] = Claim(number, text, source, test, long)
        return test
    return register


class Run:
    """What a test calls: the program, its files, figures.

    quick   a test of seconds is wanted
    folder  a folder of its own, empty at the start
    numbers {name: (value, low, high)} of `number`
    log     the command lines that ran
    """

    def __init__(self, number, program, folder, figures, quick):
        self.claim_number, self.program_path, self.quick = number, str(program), quick
        self.folder, self.figures = pathlib.Path(folder), pathlib.Path(figures)
        self.numbers, self.log = {}, []

    def path(self, name):
        """A path in the claim's own folder."""
        return self.folder / name

    def program(self, *words, codes=(0,)):
        """Runs `fp8scope WORDS` and returns its standard output. Throws RuntimeError with its words if it ends with
        another exit code than `codes`."""
        command = [self.program_path, *map(str, words)]
        self.log.append(shlex.join(["fp8scope", *(w.replace(f"{self.folder}/", "").replace(f"{ROOT}/", "") for w in command[1:])]))
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        if done.returncode not in codes:
            raise RuntimeError(f"{self.log[-1]}: exit code {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def trace(self, name):
        """A bundled trace: smollm2 (inference, real outliers) or train_s (x, w, dy of three training steps)."""
        return ROOT / f"notebooks-data/traces/{name}.h5"

    def export(self, trace, layer, operand, step=None):
        """One tensor of a bundled trace as float32 in a .npy, whose path this returns; a constant one has no step."""
        out = self.path(f"{trace}-{layer}-{operand}-{step}.npy")
        self.program("trace", "export", self.trace(trace), "--layers", f"{re.escape(layer)}$", "--operands", operand,
                     *([] if step is None else ["--steps", step]), "-o", out)
        return out

    def npy(self, name, array):
        """Writes float32 inputs [rows, columns] as NAME.npy and returns its path."""
        np.save(self.path(name + ".npy"), np.ascontiguousarray(array, "f4"))
        return self.path(name + ".npy")

    def cast(self, array, recipe, *options):
        """Path of the HDF5 file of codes, scale_inv and dequantized that `cast` makes of a .npy or FILE:/DATASET."""
        out = self.path(f"cast{len(self.log)}.h5")
        self.program("cast", array, "--recipe", recipe, "-o", out, *options)
        return out

    def replay(self, trace, recipes, *options):
        """fp8scope.Results of a replay: .frame() casts, .frame("gemm") products, .frame("tiles"), ..."""
        out = self.path(f"replay{len(self.log)}.h5")
        self.program("replay", trace, "--recipes", recipes, "-o", out, "--no-progress", *options)
        return fp8scope.load(out)

    def sweep(self, specification, *options):
        """fp8scope.Results of a sweep of a TOML text, with the columns of its points in .frame("point")."""
        path = self.path(f"sweep{len(self.log)}.toml")
        path.write_text(specification)
        self.program("sweep", path, "-o", path.with_suffix(""), "--resume", "--no-progress", *options)
        return fp8scope.load(path.with_suffix("") / "results.h5")

    def gemm(self, a, b, *options):
        """{error: value} that `gemm` prints: total, from_a, from_b, from_accumulator, max, p99, bias, ..."""
        return table(self.program("gemm", a, b, *options), "value")

    def unit_error(self, a, b, unit="hopper_wgmma", promote="none"):
        """The same of two arrays cast to E4M3 with one scale each, whose codes are then exact: the unit's own error."""
        codes = [f"{self.cast(self.npy(side, x), 'te_current')}:/codes" for side, x in (("a", a), ("b", b))]
        return self.codes_error(*codes, unit, promote)

    def codes_error(self, a, b, unit="hopper_wgmma", promote="none"):
        """The same of codes that are there: FILE:/codes."""
        return self.gemm(a, b, "--recipe", "none", "--format", "e4m3", "--accumulator", unit, "--promote", promote)

    def train(self, *options):
        """Runs `train` on the shipped text with one thread; options end with where its results go."""
        return self.program("train", "--threads", 1, "--no-progress", "--corpus", ROOT / "notebooks-data/corpus/kjv.txt",
                            *options)

    def write_trace(self, name, tensors, first_step=0):
        """Writes NAME.h5, a trace of {"layer/operand": float32 [steps, rows, columns]}, and returns its path. The amaxes that
        recipes with a memory see are those of the tensors."""
        path = self.path(name + ".h5")
        with fp8scope.TraceWriter(path, title=name, source="recorded") as trace:
            for i in range(len(next(iter(tensors.values())))):
                trace.amax(first_step + i, {slot: float(np.abs(x[i]).max()) for slot, x in tensors.items()})
                trace.record(first_step + i, {tuple(slot.rsplit("/", 1)): (x[i], "float32") for slot, x in tensors.items()})
        return path

    def script(self, name, *words):
        """Runs experiments/NAME, one of the scripts that the project's long runs were made with."""
        command = [sys.executable, str(FOLDER.parent / name), "--program", self.program_path, *map(str, words)]
        self.log.append(shlex.join([f"experiments/{name}", *command[4:]]).replace(f"{self.folder}/", ""))
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        if done.returncode != 0:
            raise RuntimeError(f"{self.log[-1]}: {done.stderr.strip()}")

    def probe(self, model, steps, variants, batch=8):
        """Trains a model in binary32 up to the last of `steps` and measures variants of `train --variants list` at each:
        a frame of step, variant, against, tensor ("all" or a parameter), gradient_error (%), loss_shift (%), memory, ..."""
        state, out = self.path(f"{model}.state.h5"), self.path(f"{model}.probe.h5")
        kept = ",".join(f"{state}.{step}" for step in steps)
        self.train("--model", model, "--batch", batch, "--mode", "fp32", "--steps", steps[-1], "--validate-every", 0,
                   "--checkpoint", state, "--keep", ",".join(map(str, steps)))
        self.train("--model", model, "--batch", batch, "--probe", kept, "--variants", ",".join(variants), "-o", out)
        return columns(out, "probe")

    def injected(self, recipes, ratios, kind="token", fraction=0.01, operand="dy", trace="train_s", steps="200"):
        """Frame of every recipe over a bundled trace with outliers injected by `sweep`: the columns of a replay, `ratio`,
        and `spread`, the amax over the rms of the tensor without outliers. A ratio of 1 injects nothing."""
        quote = lambda names: ", ".join(f'"{n}"' for n in names)
        role = {"x": "activation", "w": "weight", "dy": "gradient"}[operand]
        results = self.sweep(f"""schema = 1
trace = "{self.trace(trace)}"
select.tensors = ["{role}"]
select.steps = "{steps}"
[grid]
recipe = [{quote(recipes)}]
inject.ratio = [{", ".join(map(str, ratios))}]
inject.kind = "{kind}"
inject.operand = "{operand}"
inject.fraction = {fraction}
""")
        frame, points = results.frame(), results.columns("point")
        frame["ratio"] = points["axis.inject.ratio"].astype(float)[frame.point_id]
        bulk = frame[frame.ratio == 1].groupby(["layer", "step"], observed=True).rms.first()
        frame["spread"] = frame.amax / bulk.loc[list(zip(frame.layer, frame.step))].to_numpy()
        return frame

    def number(self, name, value, low=-math.inf, high=math.inf):
        """Records a figure and its band, and returns it."""
        self.numbers[name] = (float(value), float(low), float(high))
        return float(value)

    def axes(self, columns=1, width=None, height=3.2, **options):
        """(figure, axes) of matplotlib, small."""
        import matplotlib
        matplotlib.use("Agg")
        import matplotlib.pyplot as plt
        plt.rcParams.update({"font.size": 8, "axes.grid": True, "grid.alpha": 0.3, "legend.fontsize": 7})
        figure, axes = plt.subplots(1, columns, figsize=(width or 1.2 + 3.6 * columns, height), constrained_layout=True, **options)
        return figure, axes

    def save(self, figure):
        """Writes the claim's plot as a PNG of 64 colours. Throws ValueError if it is larger than 60 kB."""
        from PIL import Image
        data, packed = io.BytesIO(), io.BytesIO()
        figure.savefig(data, dpi=100)
        Image.open(data).convert("RGB").quantize(64).save(packed, "PNG", optimize=True)
        if packed.tell() > LARGEST_PLOT:
            raise ValueError(f"the plot has {packed.tell()} bytes, more than {LARGEST_PLOT}")
        self.plot_path().write_bytes(packed.getvalue())

    def plot_path(self):
        return self.figures / f"{self.claim_number}.png"


def columns(path, group):
    """A group of equally long datasets of an HDF5 file of the program, as a pandas.DataFrame."""
    import h5py
    import pandas as pd
    with h5py.File(path) as f:
        return pd.DataFrame({k: v.asstr()[()] if h5py.check_string_dtype(v.dtype) else v[()] for k, v in f[group].items()})


def plain_ticks(*axes):
    """Logarithmic axes with numbers as people write them: 0.1, 1, 10. Give axis.xaxis or axis.yaxis."""
    from matplotlib.ticker import FuncFormatter, NullFormatter
    for axis in axes:
        axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        axis.set_minor_formatter(NullFormatter())


def table(text, column):
    """{first word: number in `column`} of a table that the program printed with one space or more between cells."""
    lines = [line.split() for line in text.splitlines()]
    at = next(i for i, words in enumerate(lines) if column in words)
    return {words[0]: float(words[lines[at].index(column)]) for words in lines[at + 1:] if len(words) > 1}


def execute(number, program, folder, figures, quick):
    """Runs one claim and returns its row: {number, claim, source, ours, verdict, plot, command, seconds, numbers, log,
    fault}; fault names what went wrong, or is empty."""
    item = REGISTRY[number]
    run = Run(number, program, folder, figures, quick)
    run.folder.mkdir(parents=True, exist_ok=True)
    begin, ours, verdict, faults = time.monotonic(), "", "", []
    try:
        ours, verdict = item.test(run)
        if not allowed(verdict):
            faults.append(f"'{verdict}' is no verdict")
    except Exception as error:  # the others go on
        faults.append(f"{type(error).__name__}: {error}")
    faults += [f"{name} = {value:.6g}, outside {low:g} to {high:g}" for name, (value, low, high) in run.numbers.items()
               if not low <= value <= high]
    plot = run.plot_path().name if run.plot_path().exists() else ""
    return dict(number=number, claim=item.claim, source=item.source, ours=ours, verdict=verdict, plot=plot,
                command=f"python3 experiments/claims --only {number}" + " --quick" * quick,
                seconds=time.monotonic() - begin, numbers=run.numbers, log=run.log, fault="; ".join(faults))
