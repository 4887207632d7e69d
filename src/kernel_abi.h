/* What `fp8scope validate --kernel LIBRARY.so:FUNCTION` calls. Plain C; copy this file freely.
 *
 * Export one function, build a shared library, and it is judged bit for bit against the emulator. A product of
 * matrices, held against a matrix unit and a promotion schedule:
 *
 *     int my_gemm(const struct fp8scope_gemm* g);
 *
 * A quantiser, held against a recipe (`--recipe dsv3`):
 *
 *     int my_quantizer(const struct fp8scope_quantize* q);
 *
 * All pointers are host memory. A kernel of a GPU copies what it reads and writes itself. Inputs are
 * read-only pages, and the page behind every array is not there: a write or read past the end is a
 * crash, which is caught and reported. The function runs in a process of its own, under a time limit.
 * It is called several times, with different shapes and data, and twice with each: results must repeat.
 */
#ifndef FP8SCOPE_KERNEL_ABI_H
#define FP8SCOPE_KERNEL_ABI_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { FP8SCOPE_ABI_VERSION = 1 };

/* Element formats. The words are codes; of D and x, IEEE words. */
enum {
  FP8SCOPE_E4M3 = 1, /* OCP, largest 448, NaN 7F and FF */
  FP8SCOPE_E5M2 = 2, /* OCP, IEEE-like, with infinities */
  FP8SCOPE_E2M3 = 3, /* the next three without NaN and infinity, in the low bits of a byte */
  FP8SCOPE_E3M2 = 4,
  FP8SCOPE_E2M1 = 5,
  FP8SCOPE_E8M0 = 8, /* scales: 2^(code - 127), NaN FF */
  FP8SCOPE_F32 = 16,
  FP8SCOPE_BF16 = 17,
  FP8SCOPE_F16 = 18
};

/* What the function returns. */
enum {
  FP8SCOPE_OK = 0,
  FP8SCOPE_UNSUPPORTED = 2, /* not this shape, format or scaling: the case is left out, visibly */
  FP8SCOPE_NO_DEVICE = 77   /* nothing to run on: the whole validation is skipped, visibly */
  /* anything else: the kernel failed */
};

/* A matrix of FP8 codes with K along its rows, and its FP32 scales:
 * value[r][k] = decode(codes[r * cols + k]) * scale_inv[(r / block_rows) * ceil(cols / block_cols) + k / block_cols]. */
struct fp8scope_matrix {
  int64_t rows, cols;
  const uint8_t* codes;   /* [rows][cols] */
  const float* scale_inv; /* [ceil(rows / block_rows)][ceil(cols / block_cols)] */
  int64_t block_rows, block_cols; /* at least 1; as large as the matrix where one scale serves all */
  uint32_t format;        /* FP8SCOPE_E4M3 or FP8SCOPE_E5M2 */
  uint32_t reserved;
};

/* D[m][n] = sum over k of A[m][k] * B[n][k]. */
struct fp8scope_gemm {
  uint32_t version;  /* FP8SCOPE_ABI_VERSION */
  uint32_t d_format; /* FP8SCOPE_F32 or FP8SCOPE_BF16 */
  struct fp8scope_matrix a; /* [M][K] */
  struct fp8scope_matrix b; /* [N][K] */
  void* d;           /* [M][N], to be written: every word of it */
};

typedef int (*fp8scope_gemm_function)(const struct fp8scope_gemm*);

/* x[r][c] is near decode(codes[r][c]) * scale_inv of its tile, tiles as in fp8scope_matrix. The rule for scales and
 * rounding is the kernel's own. */
struct fp8scope_quantize {
  uint32_t version;      /* FP8SCOPE_ABI_VERSION */
  uint32_t x_format;     /* FP8SCOPE_F32, FP8SCOPE_BF16 or FP8SCOPE_F16 */
  int64_t rows, cols;
  const void* x;         /* [rows][cols] */
  int64_t block_rows, block_cols; /* of a tile; at least 1; as large as x where one scale serves all */
  uint32_t code_format;  /* FP8SCOPE_E4M3, ..., FP8SCOPE_E2M1 */
  uint32_t scale_format; /* FP8SCOPE_F32, FP8SCOPE_E8M0 or FP8SCOPE_E4M3 */
  uint8_t* codes;        /* [rows][cols], to be written: every one, a byte each */
  void* scale_inv;       /* [ceil(rows / block_rows)][ceil(cols / block_cols)], to be written: float or a byte each */
};

typedef int (*fp8scope_quantize_function)(const struct fp8scope_quantize*);

#ifdef __cplusplus
}
#endif
#endif
