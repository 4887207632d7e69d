"""SmolLM2-135M in numpy: GGUF weights, byte-level BPE tokenizer, bit-stable forward pass.

Arithmetic is float64; every value that a BF16 run of the model would keep in memory (weights,
linear and norm outputs, RoPE tables, residual stream, attention output, SwiGLU product) is rounded
to bfloat16, ties to even. BLAS builds and thread counts differ by about 1e-16 relative, bfloat16
rounding boundaries lie 4e-3 apart, so the stored values do not depend on the BLAS build in practice.
"""
import re

import numpy as np

SITES = ("qkv", "o", "gateup", "down")  # the four distinct linear inputs of one decoder layer


def bf16_bits(x):
    """Round float64 [...] to bfloat16, nearest even, in ONE step; returns the bits, uint16 [...]."""
    u = np.ascontiguousarray(x, dtype=np.float64).view(np.uint64)
    # 52 - 7 = 45 mantissa bits go; adding half (minus one when the kept part is even) rounds to
    # even, and a carry out of the mantissa moves the exponent up, which is what is wanted.
    u = (u + (np.uint64((1 << 44) - 1) + ((u >> np.uint64(45)) & np.uint64(1)))) >> np.uint64(45)
    sign = (u >> np.uint64(18)) << np.uint64(15)
    magnitude = (u & np.uint64((1 << 18) - 1)).astype(np.int64) - ((1023 - 127) << 7)
    if magnitude.size and int(magnitude.max()) >= 0x7F80:
        raise ValueError("a value is infinite, NaN or beyond the bfloat16 range")
    # Below 2^-126 bfloat16 would be subnormal: no value of this model gets near, flush to zero.
    magnitude[magnitude < 0x80] = 0
    return (sign | magnitude.astype(np.uint64)).astype(np.uint16)


def bf16_value(bits):
    """bfloat16 bits, uint16 [...], to the float32 of the same value (exact)."""
    return (np.asarray(bits).astype(np.uint32) << np.uint32(16)).view(np.float32)


def rounded(x):
    """float64 [...] rounded to bfloat16 values, still held as float64."""
    return bf16_value(bf16_bits(x)).astype(np.float64)


def byte_alphabet():
    """GPT-2's printable stand-in for each of the 256 bytes: list of 256 one-character strings."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in plain]
    return [chr(b) if b in plain else chr(256 + rest.index(b)) for b in range(256)]


class Tokenizer:
    """Byte-level BPE with the `smollm` pre-tokenizer (digits alone, then GPT-2's split)."""

    # re has no \p{L}: [^\W\d_] is the same set but for a few letter-like numbers outside ASCII.
    SPLIT = re.compile(r"'(?:s|t|re|ve|m|ll|d)| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+")

    def __init__(self, tokens, merges):
        """tokens: list of vocab strings, index = id; merges: list of "left right", best first."""
        self.tokens = tokens
        self.ids = {t: i for i, t in enumerate(tokens)}
        self.rank = {tuple(m.split(" ")): i for i, m in enumerate(merges)}
        self.to_char = byte_alphabet()
        self.to_byte = {c: b for b, c in enumerate(self.to_char)}
        self.cache = {}

    def _bpe(self, word):
        """Merge the adjacent pair of best rank until none is left; returns a list of ids."""
        parts = list(word)
        while len(parts) > 1:
            best = min(zip(parts, parts[1:]), key=lambda p: self.rank.get(p, 1 << 30))
            if best not in self.rank:
                break
            merged, i = [], 0
            while i < len(parts):
                if tuple(parts[i:i + 2]) == best:
                    merged.append(parts[i] + parts[i + 1])
                    i += 2
                else:
                    merged.append(parts[i])
                    i += 1
            parts = merged
        return [self.ids[p] for p in parts]

    def encode(self, text):
        """str to list of token ids (no BOS: the model's metadata asks for none)."""
        out = []
        for piece in re.split(r"(\d)", text):
            for match in self.SPLIT.finditer(piece):
                word = "".join(self.to_char[b] for b in match.group().encode("utf-8"))
                if word not in self.cache:
                    self.cache[word] = self._bpe(word)
                out += self.cache[word]
        return out

    def decode(self, ids):
        """Token ids back to str."""
        chars = "".join(self.tokens[i] for i in ids)
        return bytes(self.to_byte[c] for c in chars).decode("utf-8")


class Model:
    """The weights of one GGUF file (read lazily, a layer at a time) and the forward pass."""

    def __init__(self, path):
        import gguf  # only captures need it, `--check` does not
        reader = gguf.GGUFReader(path)
        self._dequantize = gguf.quants.dequantize
        self._tensors = {t.name: t for t in reader.tensors}
        meta = {k: f.contents() for k, f in reader.fields.items() if k.split(".")[0] in
                ("general", "llama", "tokenizer")}
        if meta.get("general.architecture") != "llama" or meta["tokenizer.ggml.pre"] != "smollm":
            raise ValueError("the GGUF file is not a SmolLM2 (llama) model")
        self.name = meta["general.name"]
        self.layers = meta["llama.block_count"]
        self.hidden = meta["llama.embedding_length"]
        self.ffn = meta["llama.feed_forward_length"]
        self.heads = meta["llama.attention.head_count"]
        self.kv_heads = meta["llama.attention.head_count_kv"]
        self.head_dim = self.hidden // self.heads
        self.theta = meta["llama.rope.freq_base"]
        self.eps = meta["llama.attention.layer_norm_rms_epsilon"]
        self.tokenizer = Tokenizer(meta["tokenizer.ggml.tokens"], meta["tokenizer.ggml.merges"])
        self.vocab = len(self.tokenizer.tokens)
        self.params = sum(int(np.prod(t.shape)) for t in reader.tensors)
        self.head_name = "output.weight" if "output.weight" in self._tensors else "token_embd.weight"

    def weight(self, name):
        """Dequantised tensor `name`, bfloat16 values as float64, [out, in] (norms: [hidden])."""
        t = self._tensors[name]
        return rounded(self._dequantize(t.data, t.tensor_type))

    def _unpermuted(self, w, heads):
        """q/k rows in the original order. The GGUF conversion interleaves the two RoPE halves
        of every head (row 2i is i, row 2i+1 is i + d/2); [out, in] in and out."""
        half = self.head_dim // 2
        return w.reshape(heads, half, 2, -1).swapaxes(1, 2).reshape(w.shape)

    def layer_weights(self, layer):
        """Dict of one layer's weights: q k v o gate up down [out, in], attn_norm ffn_norm [hidden]."""
        names = dict(q="attn_q", k="attn_k", v="attn_v", o="attn_output", gate="ffn_gate",
                     up="ffn_up", down="ffn_down", attn_norm="attn_norm", ffn_norm="ffn_norm")
        w = {k: self.weight(f"blk.{layer}.{n}.weight") for k, n in names.items()}
        w["q"] = self._unpermuted(w["q"], self.heads)
        w["k"] = self._unpermuted(w["k"], self.kv_heads)
        return w

    def norm(self, h, gain):
        """RMSNorm over the last axis: [..., hidden], bfloat16 values."""
        return rounded(h / np.sqrt(np.mean(h * h, axis=-1, keepdims=True) + self.eps) * gain)

    def rope(self, x):
        """Rotate [batch, heads, seq, head_dim] by position; tables in bfloat16 as in a BF16 run."""
        half = self.head_dim // 2
        freq = self.theta ** (-np.arange(half, dtype=np.float64) / half)
        angle = np.arange(x.shape[2], dtype=np.float64)[:, None] * freq
        cos, sin = rounded(np.cos(angle)), rounded(np.sin(angle))
        a, b = x[..., :half], x[..., half:]
        return rounded(np.concatenate((a * cos - b * sin, b * cos + a * sin), axis=-1))

    def attention(self, q, k, v):
        """Causal grouped-query attention. q [B, S, heads*d], k and v [B, S, kv_heads*d] ->
        [B, S, heads*d]; probabilities stay in float64, as fused kernels keep them wide."""
        batch, seq, _ = q.shape
        split = lambda t, n: t.reshape(batch, seq, n, self.head_dim).transpose(0, 2, 1, 3)
        group = self.heads // self.kv_heads
        q = self.rope(split(q, self.heads))
        k = np.repeat(self.rope(split(k, self.kv_heads)), group, axis=1)
        v = np.repeat(split(v, self.kv_heads), group, axis=1)
        score = q @ k.swapaxes(2, 3) / np.sqrt(self.head_dim)
        score = np.where(np.tri(seq, dtype=bool), score, -np.inf)
        p = np.exp(score - score.max(axis=-1, keepdims=True))
        p /= p.sum(axis=-1, keepdims=True)
        return rounded((p @ v).transpose(0, 2, 1, 3).reshape(batch, seq, -1))

    def layer(self, h, w):
        """One decoder layer. h [B, S, hidden] residual stream -> (new h, {site: linear input
        [B, S, in_features]}); sites as in SITES, all bfloat16 values in float64."""
        linear = lambda x, name: rounded(x @ w[name].T)
        x = {"qkv": self.norm(h, w["attn_norm"])}
        x["o"] = self.attention(*(linear(x["qkv"], n) for n in "qkv"))
        h = rounded(h + linear(x["o"], "o"))
        x["gateup"] = self.norm(h, w["ffn_norm"])
        gate, up = linear(x["gateup"], "gate"), linear(x["gateup"], "up")
        x["down"] = rounded(rounded(gate / (1.0 + np.exp(-gate))) * up)
        return rounded(h + linear(x["down"], "down")), x

    def losses(self, h, targets):
        """Mean next-token cross-entropy in nats. h [B, S, hidden], targets [B, S] -> [B].
        Logits stay in float64: nothing downstream records them and the loss gets sharper."""
        h = self.norm(h, self.weight("output_norm.weight"))
        head = self.weight(self.head_name)
        out = []
        for row, target in zip(h, targets):  # one sequence at a time: logits are [S, vocab]
            logits = row @ head.T
            top = logits.max(axis=-1)
            lse = top + np.log(np.exp(logits - top[:, None]).sum(axis=-1))
            out.append(np.mean(lse - logits[np.arange(len(target)), target]))
        return np.array(out)
