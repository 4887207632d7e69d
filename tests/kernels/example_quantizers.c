/* Quantisers for `fp8scope validate --kernel LIB:FUNCTION --recipe vllm_group`: one that is right, and others with one
 * fault each. Plain C, of its own arithmetic: nothing of the emulator is linked.
 *   cc -O2 -shared -fPIC -ffp-contract=off -I. -o libmine.so tests/kernels/example_quantizers.c -lm
 *   fp8scope validate --kernel ./libmine.so:quantize_reciprocal --recipe vllm_group */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "src/kernel_abi.h"

static float bits_float(uint32_t word) {
  float x;
  memcpy(&x, &word, 4);
  return x;
}

static float load_half(uint16_t h) {
  const int field = h >> 10 & 31, mantissa = h & 1023;
  const float sign = h & 0x8000 ? -1.0f : 1.0f;
  if (field == 31) return mantissa ? nanf("") : sign * INFINITY;
  return sign * ldexpf((float)(field ? 1024 + mantissa : mantissa), (field ? field : 1) - 25);
}

static float load(const struct fp8scope_quantize* q, int64_t i) {
  if (q->x_format == FP8SCOPE_F32) return ((const float*)q->x)[i];
  const uint16_t word = ((const uint16_t*)q->x)[i];
  return q->x_format == FP8SCOPE_BF16 ? bits_float((uint32_t)word << 16) : load_half(word);
}

/* E4M3 to nearest even, saturating; `truncate` is a fault. */
static uint8_t encode(float x, int truncate) {
  const uint8_t sign = signbit(x) ? 0x80 : 0;
  if (isnan(x)) return 0x7f | sign;
  const float magnitude = fabsf(x);
  if (magnitude >= 448) return 0x7e | sign;
  int exponent = 0;
  frexpf(magnitude, &exponent);
  const int unit = (exponent - 1 > -6 && magnitude > 0 ? exponent - 1 : -6) - 3;
  const float steps = ldexpf(magnitude, -unit);
  const int n = (int)(truncate ? floorf(steps) : nearbyintf(steps)); /* 16 steps are 8 of the next exponent */
  const int code = n + ((unit + 9) << 3); /* the hidden one adds one exponent to the field */
  return (uint8_t)(code > 0x7e ? 0x7e : code) | sign;
}

struct way {
  float max, floor;
  int reciprocal, truncate, skips; /* faults: x * fl(1 / s); toward zero; the amax leaves out the last column of a tile */
};

static int quantize(const struct fp8scope_quantize* q, struct way w) {
  if (q->version != FP8SCOPE_ABI_VERSION || q->code_format != FP8SCOPE_E4M3 || q->scale_format != FP8SCOPE_F32) return FP8SCOPE_UNSUPPORTED;
  const int64_t across = (q->cols + q->block_cols - 1) / q->block_cols;
  for (int64_t r0 = 0; r0 < q->rows; r0 += q->block_rows)
    for (int64_t c0 = 0; c0 < q->cols; c0 += q->block_cols) {
      const int64_t r1 = r0 + q->block_rows < q->rows ? r0 + q->block_rows : q->rows, c1 = c0 + q->block_cols < q->cols ? c0 + q->block_cols : q->cols;
      float amax = w.floor;
      for (int64_t r = r0; r < r1; ++r)
        for (int64_t c = c0; c < (w.skips ? c1 - 1 : c1); ++c) {
          const float magnitude = fabsf(load(q, r * q->cols + c));
          if (magnitude > amax) amax = magnitude; /* skips NaN; fmaxf() of a C library keeps a signalling one */
        }
      const float s = amax / w.max, inverse = 1 / s;
      ((float*)q->scale_inv)[r0 / q->block_rows * across + c0 / q->block_cols] = s;
      for (int64_t r = r0; r < r1; ++r)
        for (int64_t c = c0; c < c1; ++c) {
          const int64_t i = r * q->cols + c;
          const float v = w.reciprocal ? load(q, i) * inverse : load(q, i) / s;
          q->codes[i] = encode(v > -448 ? v : -448, w.truncate); /* as fmaxf(v, -448): a NaN becomes -448 */
        }
    }
  return FP8SCOPE_OK;
}

/* MX tiles, scale 2^(floor(log2 amax) - 8 + up) as E8M0: `up` is one step for a fault. A NaN or infinity
 * spoils its tile. */
static int quantize_mx(const struct fp8scope_quantize* q, int up) {
  if (q->code_format != FP8SCOPE_E4M3 || q->scale_format != FP8SCOPE_E8M0 || q->block_rows != 1) return FP8SCOPE_UNSUPPORTED;
  const int64_t across = (q->cols + q->block_cols - 1) / q->block_cols;
  for (int64_t r = 0; r < q->rows; ++r)
    for (int64_t c0 = 0; c0 < q->cols; c0 += q->block_cols) {
      const int64_t c1 = c0 + q->block_cols < q->cols ? c0 + q->block_cols : q->cols;
      float amax = 0;
      int spoilt = 0;
      for (int64_t c = c0; c < c1; ++c) {
        const float magnitude = fabsf(load(q, r * q->cols + c));
        if (!isfinite(magnitude)) spoilt = 1;
        else if (magnitude > amax) amax = magnitude;
      }
      int exponent = 0;
      frexpf(amax, &exponent); /* the exponent of numbers in [1/2, 1) */
      int code = amax > 0 ? exponent - 1 - 8 + up + 127 : 0;
      code = spoilt ? 255 : code < 0 ? 0 : code;
      ((uint8_t*)q->scale_inv)[r * across + c0 / q->block_cols] = (uint8_t)code;
      for (int64_t c = c0; c < c1; ++c)
        q->codes[r * q->cols + c] = spoilt ? 0x7f : encode((float)ldexp(load(q, r * q->cols + c), 127 - code), 0);
    }
  return FP8SCOPE_OK;
}
int quantize_mx_floor(const struct fp8scope_quantize* q) { return quantize_mx(q, 0); }
int quantize_mx_one_step_up(const struct fp8scope_quantize* q) { return quantize_mx(q, 1); }

#define VLLM .max = 448, .floor = 1e-10f
int quantize_vllm(const struct fp8scope_quantize* q) { return quantize(q, (struct way){VLLM}); }
int quantize_reciprocal(const struct fp8scope_quantize* q) { return quantize(q, (struct way){VLLM, .reciprocal = 1}); }
int quantize_240(const struct fp8scope_quantize* q) { return quantize(q, (struct way){.max = 240, .floor = 1e-10f}); }
int quantize_truncates(const struct fp8scope_quantize* q) { return quantize(q, (struct way){VLLM, .truncate = 1}); }
int quantize_skips_an_element(const struct fp8scope_quantize* q) { return quantize(q, (struct way){VLLM, .skips = 1}); }
int quantize_whole_tiles_only(const struct fp8scope_quantize* q) {
  return q->cols % q->block_cols != 0 ? FP8SCOPE_UNSUPPORTED : quantize(q, (struct way){VLLM});
}
int quantize_forgets_scales(const struct fp8scope_quantize* q) {
  for (int64_t i = 0; i < q->rows * q->cols; ++i) q->codes[i] = 0;
  return FP8SCOPE_OK;
}
int quantize_writes_past_the_end(const struct fp8scope_quantize* q) {
  ((volatile uint8_t*)q->codes)[q->rows * q->cols] = 0;
  return FP8SCOPE_OK;
}
