"""Write trace files, schema fp8trace 1.0: recorded operands of linear layers, and the amax of every step."""
import hashlib
import os

import numpy as np
from h5py import h5t, string_dtype

from . import h5

# What an operand is to the products of its layer, and the axis of [step, row, col] each sums over.
OPERANDS = {
    "x": ("fprop,wgrad", {"fprop": 2, "wgrad": 1}, "input"),
    "w": ("fprop,dgrad", {"fprop": 2, "dgrad": 1}, "weight"),
    "dy": ("dgrad,wgrad", {"dgrad": 2, "wgrad": 1}, "gradient of the output"),
}
BITS = {"bfloat16": ("<u2", h5.bf16_type), "float16": ("<u2", h5t.IEEE_F16LE.copy),
        "float32": ("<f4", h5t.IEEE_F32LE.copy)}
ROWS_PER_CHUNK = 128  # a multiple of every block the recipes know


class TraceWriter:
    """A trace that grows step by step and appears whole, under its name, when close() is called.

    with TraceWriter("trace.h5", title="...", framework="...") as trace:
        for step in range(steps):
            trace.amax(step, {"L00.down/x": 3.5, ...})          # every step, recorded or not
            trace.record(step, {("L00.down", "x"): (bits, "bfloat16"), ...})   # recorded steps
    """

    def __init__(self, path, **attrs):
        """attrs  attributes of the file: title, framework, licence, ...; a dict `model` goes to /model."""
        self.path, self._part = os.fspath(path), os.fspath(path) + ".part"
        self._file = h5.create_file(self._part)
        model = attrs.pop("model", None)
        h5.set_attrs(self._file, {"schema": "fp8trace", "schema_version": "1.0", "source": "recorded",
                                  "default": "history", **attrs})
        if model:
            h5.create_group(self._file, "model", **model)
        self._tensors = h5.create_group(self._file, "tensors")
        self._steps, self._history, self._open, self._groups = [], {}, {}, {}

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.close() if kind is None else self.discard()

    def amax(self, step, values):
        """Notes {"layer/operand": largest finite magnitude of the whole operand} of a step."""
        self._history.setdefault(int(step), {}).update(values)

    def layer(self, layer, **attrs):
        """Attributes of a layer: index, kind, in_features, out_features, name_in_framework."""
        if "/" in layer:
            raise ValueError(f"layer '{layer}': a layer's name holds no '/'")
        if layer not in self._groups:
            self._groups[layer] = h5.create_group(self._tensors, layer, **attrs)
        return self._groups[layer]

    def record(self, step, tensors, **attrs):
        """Appends one step: {(layer, operand): (array [rows, cols] of bits, dtype)}.

        dtype  "bfloat16" or "float16" (uint16 bits), "float32" (float32)
        attrs  {(layer, operand): {"row_sampling": ..., "rows_total": ...}} under the key `about`
        Every step must bring the same tensors. Throws ValueError if it does not, or if shapes change.
        """
        about = attrs.pop("about", {})
        if self._steps and step <= self._steps[-1]:
            raise ValueError(f"step {step} follows step {self._steps[-1]}: steps must ascend")
        if self._steps and set(tensors) != set(self._open):
            odd = sorted("/".join(t) for t in set(tensors) ^ set(self._open))
            raise ValueError(f"step {step} has other tensors than the step before: {', '.join(odd[:4])}")
        for key, (data, dtype) in tensors.items():
            self._append(key, np.asarray(data), dtype, about.get(key, {}), step)
        self._steps.append(int(step))

    def _append(self, key, data, dtype, about, step):
        layer, operand = key
        if dtype not in BITS:
            raise ValueError(f"{layer}/{operand}: dtype '{dtype}'; known: {', '.join(BITS)}")
        numpy_type, make = BITS[dtype]
        data = np.ascontiguousarray(data, numpy_type)
        if key not in self._open:
            rows, cols = data.shape
            # Rows up to 1 MiB: larger chunks are inflated at every access.
            chunk = min(max(rows, 1), ROWS_PER_CHUNK, max(1, (1 << 20) // (data.itemsize * max(cols, 1))))
            self._open[key] = (h5.create_growing(self.layer(layer), operand, make(), data.shape,
                                                 (1, chunk, max(cols, 1))),
                               hashlib.sha256(), dtype, about)
        dataset, digest, _, _ = self._open[key]
        if dataset.shape[1:] != data.shape:
            raise ValueError(f"{layer}/{operand}: {data.shape[0]}x{data.shape[1]} at step {step}, "
                             f"{dataset.shape[1]}x{dataset.shape[2]} before; record a fixed number of rows")
        h5.append_bits(dataset, data)
        digest.update(data.tobytes())

    def close(self):
        """Writes the step numbers, the history and the checksums, then renames the file."""
        if self._file is None:
            return
        try:
            self._finish()
            self._file.close()
            with open(self._part, "rb") as f:
                os.fsync(f.fileno())
            os.replace(self._part, self.path)
            self._file = None
        finally:
            self.discard()

    def discard(self):
        """Leaves nothing behind."""
        if self._file is not None:
            self._file.close()
            self._file = None
        if os.path.exists(self._part):
            os.remove(self._part)

    def _finish(self):
        steps = h5.create_dataset(self._file, "steps", np.array(self._steps, np.int64), [], units="1",
                                  long_name="recorded step")
        scales = {}

        def scale(stem, n):
            if (stem, n) not in scales:
                scales[stem, n] = h5.create_dataset(self._tensors, f"{stem}_{n}", np.arange(n, dtype=np.int64),
                                                    [], units="1", long_name=stem)
            return scales[stem, n]

        for (layer, operand), (dataset, digest, dtype, about) in self._open.items():
            gemms, axes, what = OPERANDS[operand]
            attrs = {"operand": operand, "gemms": gemms,
                     **{f"contraction_axis_{gemm}": axis for gemm, axis in axes.items()},
                     "logical_dtype": dtype, "units": "1", "long_name": f"{what} of {layer}",
                     "row_sampling": "all", "rows_total": dataset.shape[1], "sha256": digest.hexdigest(), **about}
            h5.finish_dataset(dataset, [steps, scale("row", dataset.shape[1]), scale("col", dataset.shape[2])],
                              attrs)
        if self._history:
            self._write_history()

    def _write_history(self):
        missing = [s for s in self._steps if s not in self._history]
        if missing:
            raise ValueError(f"step {missing[0]} was recorded, but no amax was noted for it")
        numbers = sorted(self._history)
        slots = sorted({slot for values in self._history.values() for slot in values})
        amax = np.array([[self._history[s].get(slot, 0.0) for slot in slots] for s in numbers], np.float32)
        group = h5.create_group(self._file, "history", NX_class="NXdata", signal="amax", axes=["step", "slot"])
        step = h5.create_dataset(group, "step", np.array(numbers, np.int64), [], units="1", long_name="step")
        slot = h5.create_dataset(group, "slot", np.arange(len(slots), dtype=np.int64), [], units="1",
                                 long_name="index of the operand, see slot_name")
        h5.create_dataset(group, "slot_name", np.array(slots, string_dtype()), [slot],
                          long_name="operand as layer/operand")
        h5.create_dataset(group, "amax", amax, [step, slot], chunk=amax.shape, units="1",
                          long_name="maximum magnitude of the whole operand in the step")
