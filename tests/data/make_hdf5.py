#!/usr/bin/env python3
"""Write the small HDF5 files beside this script with h5py: a writer independent of src/hdf5*.cpp.

types.h5 holds every element type that is read; the others must be refused. crashes_hdf5.h5 and hangs_hdf5.h5
are not made here: they are small traces with random bytes changed. Needs h5py >= 3.7.
"""
import pathlib

import h5py
import numpy as np
from h5py import h5d, h5p, h5s, h5t

HERE = pathlib.Path(__file__).resolve().parent


def create(name):
    return h5py.File(HERE / name, "w", libver=("v108", "v110"))


def half_type(exponent_bits, mantissa_bits, bias):
    t = h5t.IEEE_F32LE.copy()
    t.set_fields(15, mantissa_bits, exponent_bits, 0, mantissa_bits)
    t.set_size(2)
    t.set_ebias(bias)
    return t


def raw(group, name, kind, array):
    d = h5d.create(group.id, name, kind, h5s.create_simple(array.shape), h5p.create(h5p.DATASET_CREATE))
    d.write(h5s.ALL, h5s.ALL, array, kind)


def types():
    bits = np.array([0x0000, 0x8000, 0x0001, 0x3C01, 0x3F80, 0x7F80, 0x7FC1, 0xFF81], "<u2")
    with create("types.h5") as f:
        raw(f, b"bf16", half_type(8, 7, 127), bits)
        raw(f, b"fp16", half_type(5, 10, 15), bits)
        f["f32"] = np.array([0.1, -0.0, np.inf], "<f4")
        f["f32_big_endian"] = np.array([0.1, -0.0, np.inf], ">f4")
        f["f64"] = np.array([0.1, 1e300], "<f8")
        for kind in ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8"):
            f[kind] = np.array([np.iinfo(kind).min, np.iinfo(kind).max], kind)
        f["scalar"] = np.float32(2.5)
        f["empty"] = np.zeros((0, 4), "<f4")
        f["null"] = h5py.Empty("f4")
        f["compound"] = np.zeros(2, [("a", "f4"), ("b", "i4")])
        f["text"] = np.array(["caf\u00e9", ""], h5py.string_dtype())
        f["fixed_text"] = np.array([b"ab", b"cdef"], "S4")
        f["codes"] = np.arange(256, dtype="u1").reshape(2, 128)
        f["codes"].attrs["encoding"] = "float8_e4m3fn"
        f["odd_codes"] = np.zeros(4, "u1")
        f["odd_codes"].attrs["encoding"] = "bfloat16"
        f.attrs["word"] = "caf\u00e9"
        f.attrs["fixed"] = np.bytes_("abc")
        f.attrs["number"] = np.uint8(7)
        f.attrs["real"] = np.float32(0.5)
        f.attrs["list"] = ["a", "b"]
        f.attrs["array"] = np.arange(3)


def refused():
    with create("external_link.h5") as f:
        f["x"] = h5py.ExternalLink("types.h5", "/f32")
    with create("soft_link.h5") as f:
        f["y"] = np.zeros(2, "f4")
        f["x"] = h5py.SoftLink("/y")
    with create("external_storage.h5") as f:
        f.create_dataset("x", (8,), "u1", external=[("make_hdf5.py", 0, 8)])
    with create("virtual.h5") as f:
        layout = h5py.VirtualLayout((3,), "f4")
        layout[:] = h5py.VirtualSource(str("types.h5"), "f32", (3,))
        f.create_virtual_dataset("x", layout)
    with create("lzf.h5") as f:
        f.create_dataset("x", data=np.zeros((64, 64), "f4"), compression="lzf")
    with create("missing_chunks.h5") as f:
        f.create_dataset("x", (4, 16), "f4", chunks=(1, 16))[:3] = 1
    with create("bomb.h5") as f:
        f.create_dataset("x", (1 << 40, 1 << 20), "f4", chunks=(1, 1 << 20))
    with create("unwritten.h5") as f:
        f.create_dataset("x", (1 << 20,), "f4")
    with create("cycle.h5") as f:
        f.create_group("a")["b"] = f["/"]


if __name__ == "__main__":
    types()
    refused()
