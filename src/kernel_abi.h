/* What `fp8scope validate --kernel LIBRARY.so:FUNCTION` calls. Plain C; copy this file freely.
 *
 * Export one function, build a shared library, and it is judged bit for bit against the emulator:
 *
 *     int my_gemm(const struct fp8scope_gemm* g);
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

/* Element formats. The words are codes; of D, IEEE words. */
enum {
  FP8SCOPE_E4M3 = 1, /* OCP, largest 448, NaN 7F and FF */
  FP8SCOPE_E5M2 = 2, /* OCP, IEEE-like, with infinities */
  FP8SCOPE_F32 = 16,
  FP8SCOPE_BF16 = 17
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

#ifdef __cplusplus
}
#endif
#endif
