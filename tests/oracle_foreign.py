#!/usr/bin/env python3
"""Read foreign files with NumPy, or by the letter of the safetensors format, and compare every tensor with the trace
that fp8scope imported from it.

    oracle_foreign.py FOLDER     FOLDER/N.npy or N.npz or N.safetensors beside FOLDER/N.h5

Prints a line for each difference; exit code 1 if there is one. Needs numpy and h5py.
"""
import json
import pathlib
import struct
import sys
import warnings

import h5py
import numpy as np

BITS = {"F32": "<f4", "F64": "<f8", "F16": "<f2", "BF16": "<u2"}


def safetensors(path):
    data = path.read_bytes()
    length, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    for name, entry in header.items():
        if name == "__metadata__" or entry["dtype"] not in BITS:
            continue
        begin, end = entry["data_offsets"]
        array = np.frombuffer(data[8 + length + begin:8 + length + end], BITS[entry["dtype"]]).reshape(entry["shape"])
        if entry["dtype"] == "BF16":
            array = (array.astype("<u4") << 16).view("<f4")
        yield name, array


def arrays(path):
    if path.suffix == ".safetensors":
        return list(safetensors(path))
    loaded = np.load(path, allow_pickle=False)
    return [("", loaded)] if path.suffix == ".npy" else [(n, loaded[n]) for n in loaded.files]


def rows(array):
    return array.reshape(-1, array.shape[-1]) if array.ndim else array.reshape(1, 1)


def traced(path):
    with h5py.File(path) as file:
        return [d[0] for layer in file["tensors"].values() if isinstance(layer, h5py.Group) for d in layer.values()]


def same(a, b):
    """Equal to the sign of zero; one NaN is as good as another."""
    return (a.shape == b.shape and np.array_equal(a, b, equal_nan=True)
            and np.array_equal(np.signbit(a) & ~np.isnan(a), np.signbit(b) & ~np.isnan(b)))


def main():
    warnings.simplefilter("ignore")
    wrong = compared = 0
    for trace in sorted(pathlib.Path(sys.argv[1]).glob("*.h5")):
        source = next(p for p in trace.parent.glob(trace.stem + ".*") if p.suffix != ".h5")
        there = [rows(a).astype("f4") for _, a in arrays(source)]
        for got in traced(trace):
            compared += 1
            got = np.asarray(got, "f4")
            if not any(same(a, got) for a in there):
                wrong += 1
                print(f"{source}: no tensor of it is {got.shape} with the values of the trace")
    print(f"{compared} tensors compared, {wrong} differ")
    return 1 if wrong or not compared else 0


if __name__ == "__main__":
    sys.exit(main())
