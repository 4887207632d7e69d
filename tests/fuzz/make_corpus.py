#!/usr/bin/env python3
"""Write the first inputs of the fuzzers into corpus/: files as NumPy and safetensors lay them out, and the
attacks of the safetensors and zip formats' own documents. Needs numpy."""
import io
import json
import pathlib
import struct
import zipfile

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent / "corpus"


def put(target, name, data):
    folder = HERE / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())


def safetensors(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def write_safetensors():
    good = {"__metadata__": {"format": "pt"}, "L00.down/x/step1": entry("BF16", [2, 4], 0, 16),
            "L00.down/w": entry("F8_E4M3", [4, 4], 16, 32), "L00.down/w_scale_inv": entry("F32", [1, 1], 32, 36)}
    put("safetensors", "good", safetensors(good, bytes(range(36))))
    put("safetensors", "every_dtype", safetensors(
        {d: entry(d, [8], 8 * i, 8 * i + 8) for i, d in enumerate(["U8", "I8", "F8_E5M2", "F8_E8M0", "BOOL"])}
        | {"F4": entry("F4", [16], 40, 48)}, bytes(48)))
    put("safetensors", "empty", safetensors({}))
    put("safetensors", "scalar_and_zero", safetensors({"a.x": entry("F32", [], 0, 4), "b.x": entry("F32", [0, 3], 4, 4)},
                                                      bytes(4)))
    put("safetensors", "overlap", safetensors({"a": entry("F32", [2], 0, 8), "b": entry("F32", [2], 4, 12)}, bytes(12)))
    put("safetensors", "hole", safetensors({"a": entry("F32", [1], 0, 4), "b": entry("F32", [1], 8, 12)}, bytes(12)))
    put("safetensors", "overflow", safetensors({"a": entry("F32", [1 << 40, 1 << 40], 0, 8)}, bytes(8)))
    put("safetensors", "duplicate", safetensors(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
                                                b'"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', bytes(4)))
    put("safetensors", "negative", safetensors({"a": entry("F32", [-1], 0, -4)}))
    put("safetensors", "deep", safetensors(b"{" + b'"a":[' * 50))
    put("safetensors", "huge_header", safetensors({}, length=1 << 62))
    put("safetensors", "float_number", safetensors({"a": entry("F32", [1e3], 0, 4.5)}, bytes(8)))


def npy(array):
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def npy_text(header, data=b"", version=1):
    text = header.encode()
    size = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + size + text + data


def write_npy():
    for kind in ["<f4", "<f8", "<f2", "|u1", "<u2", "V2", ">f4", "O", "i8"]:
        put("npy", "type_" + kind.strip("<>|"), npy(np.zeros((2, 3), kind)) if kind != "O" else
            npy_text("{'descr': '|O', 'fortran_order': False, 'shape': (2,), }", bytes(16)))
    put("npy", "scalar", npy(np.float32(1)))
    put("npy", "fortran", npy(np.asfortranarray(np.ones((2, 3), "f4"))))
    put("npy", "negative", npy_text("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }"))
    put("npy", "overflow", npy_text("{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 4), }"))
    put("npy", "zeros", npy_text("{'descr': '<f4', 'fortran_order': False, 'shape': (0, 1152921504606846976), }"))
    put("npy", "version2", npy_text("{'shape': (1,), 'descr': '<f4', 'fortran_order': False}", bytes(4), 2))
    put("npy", "structure", npy(np.zeros(2, [("a", "<f4")])))


def npz(compressed, **arrays):
    out = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(out, **arrays)
    return out.getvalue()


def write_zip():
    x = np.arange(12, dtype="f4").reshape(3, 4)
    put("zip", "stored", npz(False, **{"L00.down/x": x, "L00.down/w": x}))
    put("zip", "deflated", npz(True, **{"L00.down/x": x, "other": x}))
    put("zip", "empty", zipfile.ZipFile(out := io.BytesIO(), "w").close() or out.getvalue())
    put("zip", "ratio", npz(True, x=np.zeros(1 << 16, "f4")))
    with zipfile.ZipFile(out := io.BytesIO(), "w") as archive:
        archive.writestr("../x.npy", npy(x))
    put("zip", "dotdot", out.getvalue())
    with zipfile.ZipFile(out := io.BytesIO(), "w") as archive:
        archive.comment = b"comment PK\5\6"
        archive.writestr("x.npy", npy(x))
    put("zip", "comment", out.getvalue())
    stream = io.BytesIO()
    stream.seekable = lambda: False
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:  # sizes after the data
        archive.writestr("x.npy", npy(x))
    put("zip", "descriptor", stream.getvalue())
    # A 64-bit end of the archive, as files above 4 GiB have.
    plain = npz(False, x=x)
    at = plain.rindex(b"PK\5\6")
    count, size, offset = struct.unpack("<HII", plain[at + 10:at + 20])
    end64 = struct.pack("<IQHHIIQQQQ", 0x06064b50, 44, 45, 45, 0, 0, count, count, size, offset)
    locator = struct.pack("<IIQI", 0x07064b50, 0, at, 1)
    put("zip", "zip64", plain[:at] + end64 + locator + struct.pack("<IHHHHIIH", 0x06054b50, 0, 0, 0xffff, 0xffff,
                                                                    0xffffffff, 0xffffffff, 0))


def write_words():
    for i, text in enumerate(["te_delayed:amax_history_len=16:amax_compute_algo=most_recent", "dsv3:block=1x64", "e4m3b5fnuz",
                              "mxfp8:scale=floor:block=16", "te_current:format=e5m2:amax_epsilon=1e-3", "e8m23", ":=:"]):
        put("recipe", f"r{i}", text)
    for i, text in enumerate(["token:share=0.01:ratio=1e4", "0-100+10,250,7-", "128x576", "[1, 2, 3]", "2GiB", "bf16", "F8_E4M3"]):
        put("words", f"w{i}", text)
    for i, text in enumerate(["trace\nimport\na.safetensors\n-o\nb.h5\n--map\n(?<layer>.+)/(?<operand>x)", "formats\ne4m3\n--codes",
                              "models", "recipes\n--help", "cast\na.npy\n-f\ne4m3\n-o\no.h5", "replay\nt.h5\n--threads\n-1",
                              "trace\nsynth\n-o\ns.h5\n--rows\n8\n--cols\n8\n--outliers\ntoken:ratio=9", "trace\nverify\ns.h5",
                              "gemm\na.npy\nb.npy\n--accumulator\ncustom:terms=4\n-o\nc.npy", "export\ns.h5\n--format\ncsv",
                              "trace\nexport\ns.h5\n-o\na.safetensors", "info"]):
        put("argv", f"a{i}", text)


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def write_journals():
    """Laid out as src/sweep/journal.hpp says."""
    head = b"fp8sjnl1" + b"0" * 64
    head += struct.pack("<I", crc32c(head))

    def record(item, payload):
        start = b"FP8R" + struct.pack("<IQ", len(payload), item)
        return start + struct.pack("<I", crc32c(start + payload)) + payload

    records = [record(i, bytes(range(10 * i + 1))) for i in range(4)]
    put("journal", "good", head + b"".join(records))
    put("journal", "torn", head + records[3] + records[2][:-3])
    put("journal", "damaged", head + records[1] + b"garbage" + records[2])
    put("journal", "empty", head)
    put("journal", "other_plan", head.replace(b"0", b"1"))


def write_toml():
    sweeps = ["""schema = 1
trace = "t.h5"
select = { layers = 'L0\\d', tensors = ["activation", "x"], steps = "0-100+10" }
[grid]
recipe = ["te_delayed", "dsv3"]
amax_history_len = ["1-1024*4"]
""", """[synthetic]
rows = 8
cols = 8
[grid]
recipe = ["te_current"]
margin = [0, 1]
[[include]]
recipe = "te_delayed"
amax_history_len = [1, 16]
[[exclude]]
recipe = "/te.*/"
margin = 1
""", "a = [1, [2, 3]]\nb = 1979-05-27T07:32:00Z\nc = nan\nd = 0x7fffffffffffffff\n", "[grid]\nrecipe = []\n", "x = \"\\u0000\""]
    for i, text in enumerate(sweeps):
        put("sweep", f"s{i}", text)
    recipes = ["base = \"te_delayed\"\n[scale]\nmargin = 1\n", "name = \"mine\"\n[[override]]\noperand = \"w\"\n",
               "[history]\nlength = -1\n", "[[option]]\nname = \"a\"\n", "[scale]\nblock = \"1x128\"\nformat = 7\n"]
    for i, text in enumerate(recipes):
        put("recipe_file", f"r{i}", text)


write_journals()
write_toml()
write_safetensors()
write_npy()
write_zip()
write_words()
