"""Record the operands of a PyTorch model's linear layers into trace files.

    recorder = Recorder(model, "record.yaml", "traces/")
    for step, batch in enumerate(data):
        with recorder.step(step):
            loss(model(batch)).backward()
        optimizer.step()
    recorder.close()              # traces/<section>.h5, one for each section of the configuration

x is the input of a layer, w its weight, dy the gradient of its output, in the dtype that the model computes in.
The amax of each is noted at every step, recorded or not: delayed scaling needs all of them. Of several forward
passes in a step (micro-batches) the first is recorded; the amax is that of all. Forward passes that only
recompute activations (checkpointing) see the same input again and change nothing.
"""
import contextlib
import os
import pathlib

import numpy as np
import torch

from .schedule import parse
from .trace import TraceWriter

DTYPES = {torch.bfloat16: "bfloat16", torch.float16: "float16", torch.float32: "float32"}


def is_linear(module):
    """Whether a module multiplies by a 2-D weight: torch.nn.Linear, Transformer Engine's, Megatron's, ..."""
    weight = getattr(module, "weight", None)
    return "Linear" in type(module).__name__ and getattr(weight, "ndim", 0) == 2


class Recorder:
    """Hooks on the layers that a configuration names, and one TraceWriter for each of its sections."""

    def __init__(self, model, config, folder, rank=None, **attrs):
        """config  a dict, or the path of a YAML file; see fp8scope.schedule
        folder  of the traces, made if missing; with `rank` they are called <section>.rank<rank>.h5
        attrs   attributes of the files: title, licence, corpus, ...
        Throws ValueError if the configuration is wrong or names no layer of the model.
        """
        sections = parse(_read(config))
        if not sections:
            raise ValueError("no section of the configuration is enabled")
        self._step, self._hooks, self._writers = None, [], []
        folder = pathlib.Path(folder)
        os.makedirs(folder, exist_ok=True)
        linear = [(name, module) for name, module in model.named_modules() if is_linear(module)]
        attrs = {"title": type(model).__name__, "framework": f"torch {torch.__version__}", **attrs}
        attrs.setdefault("model", {"name": type(model).__name__,
                                   "params": sum(p.numel() for p in model.parameters())})
        for section in sections:
            layers = {name: module for name, module in linear if section.takes_layer(name)}
            if not layers:
                raise ValueError(f"section '{section.name}' names no linear layer of the model; it has: "
                                 f"{', '.join(name for name, _ in linear[:6])}, ...")
            name = section.name if rank is None else f"{section.name}.rank{rank}"
            self._writers.append(_SectionWriter(section, layers, TraceWriter(folder / f"{name}.h5", **dict(attrs))))
        for name, module in linear:
            takers = [w for w in self._writers if name in w.layers]
            if takers:
                self._hook(name, module, takers)

    def _hook(self, name, module, takers):
        def forward(_, inputs):
            if self._step is not None:
                for taker in takers:
                    taker.see(name, "x", inputs[0])
                    taker.see(name, "w", module.weight)

        def backward(_, __, grads):
            if self._step is not None and grads[0] is not None:
                for taker in takers:
                    taker.see(name, "dy", grads[0])

        self._hooks.append(module.register_forward_pre_hook(forward))
        self._hooks.append(module.register_full_backward_hook(backward))

    @contextlib.contextmanager
    def step(self, number):
        """Everything that happens inside belongs to this optimizer step; numbers must ascend."""
        self._step = number
        for writer in self._writers:
            writer.begin(number)
        try:
            yield self
            for writer in self._writers:
                writer.end(number)
        finally:
            self._step = None

    def close(self):
        """Removes the hooks and writes the files. Returns their paths."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        for writer in self._writers:
            writer.trace.close()
        return [writer.trace.path for writer in self._writers]

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        """Keeps what was recorded up to an error: the steps that ended are whole."""
        self.close()


class _SectionWriter:
    def __init__(self, section, layers, trace):
        self.section, self.layers, self.trace = section, layers, trace
        for index, (name, module) in enumerate(layers.items()):
            out_features, in_features = module.weight.shape
            trace.layer(name, index=index, kind="linear", in_features=int(in_features),
                        out_features=int(out_features), name_in_framework=name)
        self._amax, self._kept, self._about, self._keep = {}, {}, {}, False

    def begin(self, step):
        self._amax, self._kept, self._about = {}, {}, {}
        self._keep = self.section.takes_step(step)

    def see(self, layer, operand, tensor):
        if operand not in self.section.operands:
            return
        tensor = tensor.detach()
        if tensor.dtype not in DTYPES:
            raise ValueError(f"{layer}/{operand} is {tensor.dtype}; recorded are bfloat16, float16 and float32")
        rows = tensor.reshape(-1, tensor.shape[-1])
        slot = f"{layer}/{operand}"
        self._amax[slot] = max(self._amax.get(slot, 0.0), finite_amax(rows))
        if self._keep and (layer, operand) not in self._kept:
            kept, sampling = self._sample(operand, rows)
            self._kept[layer, operand] = (bits(kept), DTYPES[kept.dtype])
            self._about[layer, operand] = {"row_sampling": sampling, "rows_total": rows.shape[0]}

    def _sample(self, operand, rows):
        n, want = rows.shape[0], self.section.rows
        if operand == "w" or want == 0 or n == want:
            return rows, "all"
        if n < want:
            raise ValueError(f"section '{self.section.name}' wants {want} rows, this step has {n}; lower 'rows'")
        if self.section.row_sampling == "first":
            return rows[:want], "first"
        return rows[:: n // want][:want], "stride"

    def end(self, step):
        self.trace.amax(step, self._amax)
        if self._keep:
            self.trace.record(step, self._kept, about=self._about)


def finite_amax(tensor):
    """Largest finite magnitude of a tensor; 0 if there is none."""
    magnitudes = tensor.abs().float()
    if magnitudes.numel() == 0:
        return 0.0
    top = magnitudes.max()
    if not torch.isfinite(top):
        top = torch.where(torch.isfinite(magnitudes), magnitudes, torch.zeros_like(magnitudes)).max()
    return float(top)


def bits(tensor):
    """A tensor's elements as numpy: uint16 bits of the 16-bit floats, float32 values."""
    tensor = tensor.contiguous().cpu()
    return tensor.numpy() if tensor.dtype == torch.float32 else tensor.view(torch.int16).numpy().view(np.uint16)


def _read(config):
    if isinstance(config, dict):
        return config
    import yaml

    with open(config, encoding="utf-8") as f:
        return yaml.safe_load(f)
