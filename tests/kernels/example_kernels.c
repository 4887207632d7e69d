/* Kernels for `fp8scope validate --kernel`: one that computes as Hopper and DeepGEMM do, and others with
 * one fault each. Plain C, of its own arithmetic: nothing of the emulator is linked. */
#include <math.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/kernel_abi.h"

enum { STEP = 32, FRACTION = 13 };

struct number {
  int64_t significand; /* signed */
  int exponent;        /* value = significand * 2^(exponent - fraction) */
  int fraction, special; /* special: 1 infinite, 2 NaN */
};

static struct number decode(uint8_t code, uint32_t format) {
  const int fraction = format == FP8SCOPE_E4M3 ? 3 : 2, bias = format == FP8SCOPE_E4M3 ? 7 : 15;
  const int field = (code & 0x7f) >> fraction, mantissa = code & ((1 << fraction) - 1);
  struct number x = {0, 0, fraction, 0};
  if (format == FP8SCOPE_E4M3 && (code & 0x7f) == 0x7f) x.special = 2;
  if (format == FP8SCOPE_E5M2 && field == 31) x.special = mantissa == 0 ? 1 : 2;
  x.significand = (field > 0 ? 1 << fraction : 0) + mantissa;
  if (code & 0x80) x.significand = -x.significand;
  x.exponent = (field > 0 ? field : 1) - bias;
  return x;
}

/* One step of Hopper's unit: C and 32 products cut to 13 fraction bits below the largest exponent. */
static float step(const struct number* a, const struct number* b, int count, float c) {
  int largest = -133, c_exponent = 0, nan = isnan(c), up = 0, down = 0;
  if (isinf(c)) c > 0 ? ++up : ++down;
  if (c != 0 && !nan && !isinf(c)) frexpf(c, &c_exponent), largest = c_exponent - 1;
  for (int i = 0; i < count; ++i) {
    if (a[i].special == 2 || b[i].special == 2) nan = 1;
    else if (a[i].special || b[i].special) {
      if (a[i].significand == 0 || b[i].significand == 0) nan = 1;
      else (a[i].significand < 0) == (b[i].significand < 0) ? ++up : ++down;
    } else if (a[i].significand != 0 && b[i].significand != 0 && a[i].exponent + b[i].exponent > largest)
      largest = a[i].exponent + b[i].exponent;
  }
  if (nan || (up && down)) return nanf("");
  if (up || down) return up ? INFINITY : -INFINITY;
  double sum = trunc(ldexp(c, FRACTION - largest));
  for (int i = 0; i < count; ++i)
    sum += trunc(ldexp((double)(a[i].significand * b[i].significand),
                       a[i].exponent + b[i].exponent - a[i].fraction - b[i].fraction + FRACTION - largest));
  float result = (float)ldexp(sum, largest - FRACTION); /* 20 bits: exact */
  uint32_t word;
  memcpy(&word, &result, 4);
  word &= 0xfffffc00u;
  memcpy(&result, &word, 4);
  return result;
}

static float scale(const struct fp8scope_matrix* m, int64_t row, int64_t k) {
  return m->scale_inv[row / m->block_rows * ((m->cols + m->block_cols - 1) / m->block_cols) + k / m->block_cols];
}

static void store(const struct fp8scope_gemm* g, int64_t i, float x) {
  uint32_t word;
  memcpy(&word, &x, 4);
  if (g->d_format == FP8SCOPE_BF16) {
    const uint32_t rounded = (word + 0x7fffu + (word >> 16 & 1)) >> 16;
    ((uint16_t*)g->d)[i] = (uint16_t)(isnan(x) ? 0x7fff : rounded);
  } else {
    memcpy((uint32_t*)g->d + i, &x, 4);
  }
}

/* Promotes after `first` steps, then after every `every` steps; scales as DeepGEMM applies them. */
static int gemm(const struct fp8scope_gemm* g, int first, int every, int scales_first) {
  const int64_t k = g->a.cols;
  struct number a[STEP], b[STEP];
  for (int64_t r = 0; r < g->a.rows; ++r)
    for (int64_t n = 0; n < g->b.rows; ++n) {
      float sum = 0, unit = 0;
      int64_t begin = 0;
      const int tensor = g->a.block_cols >= k && g->b.block_cols >= k && g->a.block_rows >= g->a.rows;
      for (int64_t i = 0, steps = 0; i < k; i += STEP) {
        const int count = (int)(k - i < STEP ? k - i : STEP);
        for (int j = 0; j < count; ++j) {
          a[j] = decode(g->a.codes[r * k + i + j], g->a.format);
          b[j] = decode(g->b.codes[n * k + i + j], g->b.format);
        }
        unit = step(a, b, count, unit);
        ++steps;
        if (i + STEP < k && (steps < first || (steps - first) % every != 0)) continue;
        const float sa = tensor ? 1 : scale(&g->a, r, begin), sb = tensor ? 1 : scale(&g->b, n, begin);
        sum = scales_first ? fmaf(unit * sa, sb, sum) : fmaf(sa * sb, unit, sum);
        unit = 0, begin = i + STEP;
      }
      store(g, r * g->b.rows + n, tensor ? sum * (g->a.scale_inv[0] * g->b.scale_inv[0]) : sum);
    }
  return FP8SCOPE_OK;
}

int gemm_hopper(const struct fp8scope_gemm* g) { return gemm(g, 4, 4, 0); }

/* `if (k % 4 == 0)` asked before k is counted: promotes after steps 1, 5, 9, ... */
int gemm_off_by_one(const struct fp8scope_gemm* g) { return gemm(g, 1, 4, 0); }
int gemm_interval_off_by_one(const struct fp8scope_gemm* g) { return gemm(g, 5, 5, 0); }
int gemm_early(const struct fp8scope_gemm* g) { return gemm(g, 3, 4, 0); }
int gemm_other_order(const struct fp8scope_gemm* g) { return gemm(g, 4, 4, 1); }

int gemm_never_writes(const struct fp8scope_gemm* g) { return g->version == FP8SCOPE_ABI_VERSION ? FP8SCOPE_OK : 1; }
int gemm_unstable(const struct fp8scope_gemm* g) {
  static int calls = 0;
  gemm(g, 4, 4, 0);
  if (calls++ % 2 == 1) ((uint32_t*)g->d)[0] ^= 1u;
  return FP8SCOPE_OK;
}
int gemm_writes_past_the_end(const struct fp8scope_gemm* g) {
  for (int64_t i = 0; i <= g->a.rows * g->b.rows; ++i) ((volatile uint32_t*)g->d)[i] = 0;
  return FP8SCOPE_OK;
}
int gemm_changes_its_input(const struct fp8scope_gemm* g) {
  *(volatile uint8_t*)g->a.codes = 1;
  return FP8SCOPE_OK;
}
int gemm_aborts(const struct fp8scope_gemm* g) {
  (void)g;
  abort();
}
int gemm_exits(const struct fp8scope_gemm* g) {
  (void)g;
  exit(9);
}
int gemm_hangs(const struct fp8scope_gemm* g) {
  (void)g;
  for (;;) pause();
}
int gemm_fails(const struct fp8scope_gemm* g) {
  (void)g;
  return 42;
}
int gemm_no_device(const struct fp8scope_gemm* g) {
  (void)g;
  return FP8SCOPE_NO_DEVICE;
}
int gemm_unsupported(const struct fp8scope_gemm* g) {
  (void)g;
  return FP8SCOPE_UNSUPPORTED;
}
