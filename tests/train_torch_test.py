#!/usr/bin/env python3
"""Loss and gradients of the trainer against PyTorch's autograd, in binary64. Exit code 77: no PyTorch.

train_torch_test.py TRAIN_DUMP: the program that writes weights, a batch, the loss and its gradients.
"""
import pathlib
import subprocess
import sys
import tempfile

try:
    import h5py
    import torch
    import torch.nn.functional as F
except ImportError as error:
    print(f"skipped: {error}; on Debian: apt-get install python3-torch python3-h5py")
    sys.exit(77)

TOLERANCE = 2e-5  # relative, of a tensor's gradient: binary32 against binary64


def norm(x, gain):
    return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-5) * gain


def rotate(x):
    """Rotary positions on [batch, heads, context, size]: element i turns with element i + size/2."""
    context, size = x.shape[-2:]
    half = size // 2
    angle = torch.outer(torch.arange(context, dtype=x.dtype), 10000.0 ** (-2 * torch.arange(half, dtype=x.dtype) / size))
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], -1)


def swiglu(p, name, x):
    gate, up = (x @ p[name + ".gateup.w"].T).chunk(2, -1)
    return (F.silu(gate) * up) @ p[name + ".down.w"].T


def experts(p, name, x, bias, top_k):
    score = torch.softmax(x @ p[name + ".gate.w"].T, -1)
    chosen = torch.topk(score + bias, top_k, -1).indices
    weight = torch.zeros_like(score).scatter(-1, chosen, score.gather(-1, chosen))
    weight = weight / weight.sum(-1, keepdim=True)
    return sum(weight[..., e : e + 1] * swiglu(p, f"{name}.e{e}", x) for e in range(score.shape[-1]))


def loss(p, a, inputs, targets, bias):
    hidden, heads = int(a["hidden"]), int(a["heads"])
    h = p["embedding"][inputs]
    batch, context = inputs.shape
    mask = torch.full((context, context), float("-inf"), dtype=h.dtype).triu(1)
    for layer in range(int(a["layers"])):
        name = f"L{layer:02}"
        x = norm(h, p[name + ".norm1"])
        q, k, v = ((x @ p[name + ".qkv.w"].T).view(batch, context, 3, heads, hidden // heads)).permute(2, 0, 3, 1, 4)
        scores = rotate(q) @ rotate(k).transpose(-1, -2) / (hidden // heads) ** 0.5 + mask
        out = (torch.softmax(scores, -1) @ v).transpose(1, 2).reshape(batch, context, hidden)
        h = h + out @ p[name + ".o.w"].T
        x = norm(h, p[name + ".norm2"])
        h = h + (experts(p, name, x, bias[name], int(a["top_k"])) if a["experts"] else swiglu(p, name, x))
    logits = norm(h, p["norm"]) @ p["head.w"].T
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1))


def check(dump, model):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "dump.h5"
        subprocess.run([dump, model, folder + "/text", path], check=True)
        with h5py.File(path) as f:
            a = dict(f.attrs)
            p = {k: torch.tensor(v[()], dtype=torch.float64, requires_grad=True) for k, v in f["parameters"].items()}
            bias = {k: torch.tensor(v[()], dtype=torch.float64) for k, v in f["bias"].items()}
            gradients = {k: torch.tensor(v[()], dtype=torch.float64) for k, v in f["gradients"].items()}
            inputs, targets = torch.tensor(f["inputs"][()]), torch.tensor(f["targets"][()])
    value = loss(p, a, inputs, targets, bias)
    value.backward()
    failures = []
    if abs(value.item() / a["loss"] - 1) > 1e-6:
        failures.append(f"loss {a['loss']:.9f}, PyTorch {value.item():.9f}")
    worst = 0.0
    for name, own in gradients.items():
        error = ((own - p[name].grad.reshape(own.shape)).norm() / p[name].grad.norm()).item()
        worst = max(worst, error)
        if not error < TOLERANCE:
            failures.append(f"{name}: relative error {error:.2e}")
    print(f"{model}: {len(gradients)} tensors, loss {value.item():.6f}, largest relative error of a gradient {worst:.1e}")
    return failures


if __name__ == "__main__":
    bad = [line for model in ("tiny", "tiny_moe") for line in check(sys.argv[1], model)]
    print("\n".join(bad))
    sys.exit(1 if bad else 0)
