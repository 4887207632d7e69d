"""What the README's snippet needs of torch, by numpy: so that its text is run where there is no GPU.

_scaled_mm adds as Hopper's wgmma does, in exact integers of its own: 32 products and the sum so far, cut to
13 fraction bits below the largest exponent, then to 14 significant bits. NUMPY_TORCH_PROMOTE=N promotes.
"""
import os

import numpy as np

float8_e4m3fn, bfloat16, float32 = "e4m3", "bf16", "f32"
uint8, int16, int32 = np.uint8, np.int16, np.int32


def _values():
    codes = np.arange(256)
    field, mantissa = codes >> 3 & 15, codes & 7
    value = np.where(field > 0, (8 + mantissa) * 2.0 ** (field - 10.0), mantissa * 2.0**-9)
    value[(codes & 127) == 127] = np.nan
    return np.where(codes >= 128, -value, value)


VALUES = _values()


class Tensor:
    def __init__(self, array, kind):
        self.array, self.kind = array, kind

    def to(self, kind):
        """To E4M3, nearest even, saturating."""
        positive = VALUES[:127]
        x = np.clip(np.abs(self.array.astype(np.float64)), 0, 448)
        high = np.clip(np.searchsorted(positive, x), 1, 126)
        low = high - 1
        middle = (positive[low] + positive[high]) / 2
        code = np.where((x > middle) | ((x == middle) & (high % 2 == 0)), high, low)
        return Tensor((code | np.signbit(self.array) * 128).astype(np.uint8), kind)

    def t(self):
        return Tensor(self.array.T, self.kind)

    def view(self, dtype):
        return Tensor(self.array.view(dtype), self.kind)

    def cpu(self):
        return self

    def numpy(self):
        return self.array


_random = np.random.default_rng(2024)


def randn(*shape, device):
    return Tensor(_random.standard_normal(shape).astype(np.float32), float32)


def ones(*shape, device):
    return Tensor(np.ones(shape, np.float32), float32)


def _exponent(x):
    return np.where(x == 0, -999, np.frexp(x)[1] - 1)


def _step(products, exponents, c):
    """One step: products [m, n, 32] with their raw exponents, c [m, n]."""
    e = np.maximum(exponents.max(axis=2), _exponent(c))
    unit = 2.0 ** (np.where(e == -999, 0, e) - 13)
    total = np.trunc(c / unit) + np.trunc(products / unit[..., None]).sum(axis=2)  # integers below 2^20
    return ((total * unit).astype(np.float32).view(np.uint32) & np.uint32(0xFFFFFC00)).view(np.float32)


def _scaled_mm(a, b, scale_a, scale_b, out_dtype, use_fast_accum):
    x, y = a.array, b.array.T
    field = lambda codes: np.where(codes & 127, np.maximum(codes >> 3 & 15, 1).astype(int) - 7, -999)
    promote = int(os.environ.get("NUMPY_TORCH_PROMOTE", "0"))
    total = np.zeros((len(x), len(y)), np.float32)
    unit = total.copy()
    for k in range(0, x.shape[1], 32):
        if promote and k % promote == 0:
            total, unit = total + unit, np.zeros_like(unit)
        xs, ys = x[:, None, k : k + 32], y[None, :, k : k + 32]
        unit = _step(VALUES[xs] * VALUES[ys], field(xs) + field(ys), unit)
    total = (total + unit) * (scale_a.array * scale_b.array)
    if out_dtype == float32:
        return Tensor(total, float32)
    word = total.view(np.uint32)
    return Tensor(((word + 0x7FFF + (word >> 16 & 1)) >> 16).astype(np.uint16), bfloat16)
