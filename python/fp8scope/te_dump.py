"""Turn a folder of Transformer Engine's DumpTensors into a trace.

The folder: tensor_dumps/rank_<r>/iter_<i>/<layer>_<tensor>.pt, each a dict with the tensor under "high_precision".
The files are pickles: loading one may run code, so open only what you wrote. Only tensors are loaded
(weights_only) unless `trust` is set.
"""
import pathlib
import re

import torch

from .record import DTYPES, bits, finite_amax
from .trace import TraceWriter

OPERANDS = {"activation": "x", "weight": "w", "gradient": "dy"}
FILE = re.compile(r"(?P<layer>.+)_(?P<tensor>activation|weight|gradient)\.pt")


def find(folder, rank):
    """{step: {(layer, operand): path}} of one rank. Throws ValueError if the folder holds no dump."""
    root = pathlib.Path(folder)
    root = root / "tensor_dumps" if (root / "tensor_dumps").is_dir() else root
    steps = {}
    for path in sorted(root.glob(f"rank_{rank}/iter_*/*.pt")):
        match = FILE.fullmatch(path.name)
        if match:
            step = int(path.parent.name[len("iter_"):])
            steps.setdefault(step, {})[match["layer"], OPERANDS[match["tensor"]]] = path
    if not steps:
        raise ValueError(f"{folder}: no rank_{rank}/iter_*/*_activation.pt, ..._weight.pt or ..._gradient.pt")
    return steps


def convert(folder, output, rank=0, trust=False, **attrs):
    """Writes the dumps of one rank as a trace. Tensors that some steps lack are left out and returned.

    Throws OSError, ValueError."""
    steps = find(folder, rank)
    common = set.intersection(*(set(files) for files in steps.values()))
    left_out = sorted("/".join(key) for key in set.union(*(set(f) for f in steps.values())) - common)
    attrs = {"title": f"Transformer Engine dump, rank {rank}", "framework": "TransformerEngine DumpTensors", **attrs}
    with TraceWriter(output, **attrs) as trace:
        for step in sorted(steps):
            tensors = {key: _load(steps[step][key], trust) for key in sorted(common)}
            trace.amax(step, {"/".join(key): finite_amax(t) for key, t in tensors.items()})
            trace.record(step, {key: (bits(t), DTYPES[t.dtype]) for key, t in tensors.items()})
    return left_out


def _load(path, trust):
    try:
        loaded = torch.load(path, map_location="cpu", **({} if trust else {"weights_only": True}))
    except Exception as error:
        raise ValueError(f"{path}: {str(error).splitlines()[0]}"
                         + ("" if trust else " (only tensors are loaded; --trust loads any pickle)")) from None
    tensor = loaded.get("high_precision") if isinstance(loaded, dict) else loaded
    if not isinstance(tensor, torch.Tensor):
        raise ValueError(f"{path}: holds no tensor under 'high_precision'; dump with high_precision_tensor: True")
    if tensor.dtype not in DTYPES:
        raise ValueError(f"{path}: is {tensor.dtype}; wanted bfloat16, float16 or float32")
    return tensor.detach().reshape(-1, tensor.shape[-1])
