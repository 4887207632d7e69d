"""V2: Hopper adds FP8 products in steps of 32, aligned to the largest, and keeps 14 bits: 13 below the leading one.

Source: arXiv:2412.19437, 3.5.2 (about 14 bits); arXiv:2505.09343, 3.1 (13 fraction bits, a register of 1+8+13). Test:
words that GPUs computed are compared with the emulator by `validate`, where the file of them is there; and products
chosen to show each bit go through the emulated unit: which term survives beside 1, and how far away a 1 must be before
two terms below the quantum add up. Reproduced if every recorded word is equal and the three probes give 13, 32, 13.
"""
import os
import pathlib
import re

import numpy as np
from claims import NOT_REPRODUCED, REPRODUCED, ROOT, claim, depends

WORDS = pathlib.Path(os.environ.get("FP8SCOPE_GOLDEN", ROOT.parent / "shared/golden")) / "mma_hardware.h5"


def unit(run, a, b):
    """The emulated sums a b^T, [rows] for one row of b; elements are powers of two, exact in E4M3."""
    out = run.path("c.npy")
    run.gemm(run.npy("a", a), run.npy("b", b[None]), "-r", "none", "-f", "e4m3", "-a", "hopper_wgmma",
             "--promote", "none", "-o", out)
    return np.load(out)[:, 0]


def survivors(run, position, k=64):
    """The largest j up to 18 for which 2^-j at `position` changes the 1 at position 0."""
    exponents = np.arange(1, 19)
    a, b = np.zeros((len(exponents), k)), np.ones(k)
    a[:, 0], a[:, position], b[position] = 1, 2.0 ** (9 - exponents), 2.0 ** -9
    return int(exponents[unit(run, a, b) != 1].max())


def step_length(run, k=96):
    """The first position of a 1 at which two terms 2^-14 at 0 and 1 add up first, to one that survives."""
    positions = np.arange(2, k)
    a, b = np.zeros((len(positions), k)), np.ones(k)
    a[:, :2], b[:2] = 2.0 ** -7, 2.0 ** -7
    a[np.arange(len(positions)), positions] = 1
    return int(positions[unit(run, a, b) != 1].min())


@claim("V2", "Hopper keeps 14 bits when it adds FP8 products, 32 at a time, aligned to the largest",
       source="arXiv:2412.19437, 3.5.2: about 14 bits; arXiv:2505.09343, 3.1: 13 fraction bits, FP22 register")
def test(run):
    bits, step, register = survivors(run, 1), step_length(run), survivors(run, 40)
    for name, value, is_ in (("fraction bits beside the largest product", bits, 13), ("products of a step", step, 32),
                             ("fraction bits of the register", register, 13)):
        run.number(name, value, is_, is_)
    ours = f"emulated unit: {bits} fraction bits, steps of {step}, register of {register} fraction bits"
    fits = (bits, step, register) == (13, 32, 13)
    if not WORDS.exists():
        return ours + "; no recorded words of a GPU here", depends("recorded words of GPUs, which are not here")
    text = run.program("validate", WORDS, codes=(0, 1))
    groups = re.findall(r"(\w+): \d+ x \d+ products.*\n\s+(\d+) of (\d+) words differ", text)
    wgmma = [(int(bad), int(n)) for name, bad, n in groups if "wgmma" in name]
    bad = run.number("words that differ", sum(int(b) for _, b, _ in groups), 0, 0)
    figure, axis = run.axes()
    axis.bar(["fraction bits\nbeside the largest", "products\nof a step", "fraction bits\nof the register"], [bits, step, register])
    axis.set(title=f"{sum(n for _, n in wgmma)} words of H100 and H200 WGMMA, {sum(b for b, _ in wgmma)} differ")
    run.save(figure)
    return (f"{ours}; {sum(b for b, _ in wgmma)} of {sum(n for _, n in wgmma)} recorded FP8 words of H100 and H200 differ, "
            f"{bad:.0f} of {sum(int(n) for *_, n in groups)} of all GPUs", REPRODUCED if fits and bad == 0 else NOT_REPRODUCED)
