// The matrix instructions of the GPU at hand, one kernel per instruction: a thread block is a tile.
#include "cuda/matrix_units.hpp"

#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include "cuda/buffer.hpp"
#include "cuda/ptx.cuh"
#include "sim/convert.hpp"

namespace fp8scope::cuda {
namespace {

/// Tiles in device memory: rows of `chain` times 32 bytes; words of C and D, binary16 in the low half.
struct TileJob {
  const std::uint8_t *a, *b;
  const std::uint32_t* c;
  std::uint32_t* d;
  int chain;
  bool use_c;
};

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define FP8SCOPE_HAS_WGMMA 1
#else
#define FP8SCOPE_HAS_WGMMA 0
#endif
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
#define FP8SCOPE_HAS_MMA_FP8 1
#else
#define FP8SCOPE_HAS_MMA_FP8 0
#endif

// An instruction: its columns, whether it writes binary16, and what it is called with.
#if FP8SCOPE_HAS_WGMMA
#define FP8SCOPE_WGMMA_BODY(MACRO, SHAPE, TAIL) \
  static __device__ __forceinline__ void run(Register (&d)[registers], std::uint64_t a, std::uint64_t b, int accumulate) { MACRO(SHAPE, TAIL); }
#else
#define FP8SCOPE_WGMMA_BODY(MACRO, SHAPE, TAIL) \
  static __device__ __forceinline__ void run(Register (&)[registers], std::uint64_t, std::uint64_t, int) {}
#endif
using namespace ptx;
#define FP8SCOPE_WGMMA(NAME, N, MACRO, HALF, SHAPE, TAIL)                                 \
  struct NAME {                                                                           \
    static constexpr int columns = N;                                                     \
    static constexpr bool half = HALF;                                                    \
    static constexpr const char* text = "wgmma.mma_async.sync.aligned." SHAPE;            \
    static constexpr int registers = HALF ? N / 4 : N / 2;                                \
    using Register = std::conditional_t<HALF, std::uint32_t, float>;                      \
    FP8SCOPE_WGMMA_BODY(MACRO, SHAPE, TAIL)                                               \
  }
FP8SCOPE_WGMMA(W44, 8, FP8SCOPE_WGMMA_N8, false, "m64n8k32.f32.e4m3.e4m3", ", 1, 1");
FP8SCOPE_WGMMA(W45, 8, FP8SCOPE_WGMMA_N8, false, "m64n8k32.f32.e4m3.e5m2", ", 1, 1");
FP8SCOPE_WGMMA(W54, 8, FP8SCOPE_WGMMA_N8, false, "m64n8k32.f32.e5m2.e4m3", ", 1, 1");
FP8SCOPE_WGMMA(W55, 8, FP8SCOPE_WGMMA_N8, false, "m64n8k32.f32.e5m2.e5m2", ", 1, 1");
FP8SCOPE_WGMMA(H44, 8, FP8SCOPE_WGMMA_N8_HALF, true, "m64n8k32.f16.e4m3.e4m3", ", 1, 1");
FP8SCOPE_WGMMA(H45, 8, FP8SCOPE_WGMMA_N8_HALF, true, "m64n8k32.f16.e4m3.e5m2", ", 1, 1");
FP8SCOPE_WGMMA(H54, 8, FP8SCOPE_WGMMA_N8_HALF, true, "m64n8k32.f16.e5m2.e4m3", ", 1, 1");
FP8SCOPE_WGMMA(H55, 8, FP8SCOPE_WGMMA_N8_HALF, true, "m64n8k32.f16.e5m2.e5m2", ", 1, 1");
FP8SCOPE_WGMMA(Wide128, 128, FP8SCOPE_WGMMA_N128, false, "m64n128k32.f32.e4m3.e4m3", ", 1, 1");
FP8SCOPE_WGMMA(Wide256, 256, FP8SCOPE_WGMMA_N256, false, "m64n256k32.f32.e4m3.e4m3", ", 1, 1");
FP8SCOPE_WGMMA(F16F32, 8, FP8SCOPE_WGMMA_N8, false, "m64n8k16.f32.f16.f16", ", 1, 1, 0, 0");
FP8SCOPE_WGMMA(F16F16, 8, FP8SCOPE_WGMMA_N8_HALF, true, "m64n8k16.f16.f16.f16", ", 1, 1, 0, 0");
FP8SCOPE_WGMMA(Bf16F32, 8, FP8SCOPE_WGMMA_N8, false, "m64n8k16.f32.bf16.bf16", ", 1, 1, 0, 0");
FP8SCOPE_WGMMA(Tf32F32, 8, FP8SCOPE_WGMMA_N8, false, "m64n8k8.f32.tf32.tf32", ", 1, 1");

/// Words of C into a thread's registers, and of D out of them.
template <class I, class Register>
__device__ __forceinline__ void load_c(const TileJob& job, Register* d, std::size_t tile, int rows, int warp, int lane) {
  const std::uint32_t* c = job.c + tile * static_cast<std::size_t>(rows * I::columns);
#pragma unroll
  for (int r = 0; r < I::registers; ++r) {
    const int i = I::half ? 2 * r : r;
    const int at = accumulator_row(warp, lane, i) * I::columns + accumulator_column(lane, i);
    if constexpr (I::half) d[r] = job.use_c ? (c[at] & 0xffffu) | c[at + 1] << 16 : 0u;
    else d[r] = job.use_c ? __uint_as_float(c[at]) : 0.0f;
  }
}

template <class I, class Register>
__device__ __forceinline__ void store_d(const TileJob& job, const Register* d, std::size_t tile, int rows, int warp, int lane) {
  std::uint32_t* out = job.d + tile * static_cast<std::size_t>(rows * I::columns);
#pragma unroll
  for (int r = 0; r < I::registers; ++r) {
    const int i = I::half ? 2 * r : r;
    const int at = accumulator_row(warp, lane, i) * I::columns + accumulator_column(lane, i);
    if constexpr (I::half) out[at] = d[r] & 0xffffu, out[at + 1] = d[r] >> 16;
    else out[at] = __float_as_uint(d[r]);
  }
}

/// Bytes of one operand into shared memory, one plain tile per instruction.
__device__ __forceinline__ void stage_operand(std::uint8_t* to, const std::uint8_t* from, int rows, int chain) {
  const int bytes = rows * chain * instruction_bytes;
  for (int i = threadIdx.x; i < bytes; i += blockDim.x) {
    const int row = i / (chain * instruction_bytes), k = i % (chain * instruction_bytes);
    to[k / instruction_bytes * rows * instruction_bytes + plain_offset(row, k % instruction_bytes)] = from[i];
  }
}

extern __shared__ __align__(1024) std::uint8_t shared_bytes[];

/// Chain > 0: that many instructions in one group. Chain 0: as many groups of one as the job says.
template <class I, int Chain>
__global__ void __launch_bounds__(128) wgmma_kernel(const TileJob job) {
#if FP8SCOPE_HAS_WGMMA
  constexpr int rows = 64;
  const std::size_t tile = blockIdx.x;
  std::uint8_t* a = shared_bytes;
  std::uint8_t* b = shared_bytes + rows * instruction_bytes * job.chain;
  stage_operand(a, job.a + tile * static_cast<std::size_t>(rows * instruction_bytes * job.chain), rows, job.chain);
  stage_operand(b, job.b + tile * static_cast<std::size_t>(I::columns * instruction_bytes * job.chain), I::columns, job.chain);
  fence_shared();
  __syncthreads();
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  typename I::Register d[I::registers];
  load_c<I>(job, d, tile, rows, warp, lane);
  const auto pin_all = [&] {
#pragma unroll
    for (int i = 0; i < I::registers; ++i) pin(d[i]);
  };
  const auto multiply = [&](int s) {
    I::run(d, matrix_descriptor(shared_address(a + s * rows * instruction_bytes), plain_leading, plain_stride, Swizzle::none),
           matrix_descriptor(shared_address(b + s * I::columns * instruction_bytes), plain_leading, plain_stride, Swizzle::none),
           s > 0 || job.use_c);
  };
  if constexpr (Chain > 0) {
    pin_all();
    wgmma_fence();
#pragma unroll
    for (int s = 0; s < Chain; ++s) multiply(s);
    wgmma_commit();
    wgmma_wait();
    pin_all();
  } else {
#pragma unroll 1
    for (int s = 0; s < job.chain; ++s) {
      pin_all();
      wgmma_fence();
      multiply(s);
      wgmma_commit();
      wgmma_wait();
      pin_all();
    }
  }
  store_d<I>(job, d, tile, rows, warp, lane);
#endif
}

/// The same with A from registers: e4m3 by e4m3.
struct FromRegisters {
  static constexpr int columns = 8, registers = 4;
  static constexpr bool half = false;
  static constexpr const char* text = "wgmma.mma_async.sync.aligned.m64n8k32.f32.e4m3.e4m3";
};

__global__ void __launch_bounds__(128) wgmma_register_kernel(const TileJob job) {
#if FP8SCOPE_HAS_WGMMA
  constexpr int rows = 64, columns = 8;
  const std::size_t tile = blockIdx.x;
  const int row_bytes = instruction_bytes * job.chain;
  stage_operand(shared_bytes, job.b + tile * static_cast<std::size_t>(columns * row_bytes), columns, job.chain);
  fence_shared();
  __syncthreads();
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const std::uint8_t* from = job.a + tile * static_cast<std::size_t>(rows * row_bytes);
  float d[4];
  load_c<FromRegisters>(job, d, tile, rows, warp, lane);
  for (int s = 0; s < job.chain; ++s) {
    std::uint32_t a[4];
#pragma unroll
    for (int j = 0; j < 4; ++j)
      a[j] = *reinterpret_cast<const std::uint32_t*>(from + a_register_row(warp, lane, j) * row_bytes + s * instruction_bytes + a_register_byte(lane, j));
#pragma unroll
    for (int i = 0; i < 4; ++i) pin(d[i]), pin(a[i]);
    const std::uint64_t b = matrix_descriptor(shared_address(shared_bytes + s * columns * instruction_bytes), plain_leading, plain_stride, Swizzle::none);
    const int accumulate = s > 0 || job.use_c;
    wgmma_fence();
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %9, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n8k32.f32.e4m3.e4m3 {%0, %1, %2, %3}, {%4, %5, %6, %7}, %8, p, 1, 1;\n}\n"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate));
    wgmma_commit();
    wgmma_wait();
#pragma unroll
    for (int i = 0; i < 4; ++i) pin(d[i]);
  }
  store_d<FromRegisters>(job, d, tile, rows, warp, lane);
#endif
}

// mma.sync: a warp is a tile of 16 x 8.
#define FP8SCOPE_MMA_F32(SHAPE)                                                                                     \
  asm volatile("mma.sync.aligned." SHAPE " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"         \
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                                     \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))
#define FP8SCOPE_MMA_F16(SHAPE)                                                                       \
  asm volatile("mma.sync.aligned." SHAPE " {%0, %1}, {%2, %3, %4, %5}, {%6, %7}, {%0, %1};"           \
               : "+r"(d[0]), "+r"(d[1])                                                               \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))
#if FP8SCOPE_HAS_MMA_FP8
#define FP8SCOPE_MMA_FP8(MACRO, SHAPE) MACRO(SHAPE)
#else
#define FP8SCOPE_MMA_FP8(MACRO, SHAPE) static_cast<void>(a), static_cast<void>(b)
#endif
#define FP8SCOPE_MMA(NAME, HALF, SHAPE, CALL)                                              \
  struct NAME {                                                                            \
    static constexpr int columns = 8, registers = HALF ? 2 : 4;                            \
    static constexpr bool half = HALF;                                                     \
    static constexpr const char* text = "mma.sync.aligned." SHAPE;                         \
    using Register = std::conditional_t<HALF, std::uint32_t, float>;                       \
    static __device__ __forceinline__ void run(Register (&d)[registers], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) { CALL; } \
  }
#define FP8SCOPE_MMA_NARROW(NAME, HALF, MACRO, SHAPE) FP8SCOPE_MMA(NAME, HALF, SHAPE, FP8SCOPE_MMA_FP8(MACRO, SHAPE))
#define FP8SCOPE_MMA_WIDE(NAME, HALF, MACRO, SHAPE) FP8SCOPE_MMA(NAME, HALF, SHAPE, MACRO(SHAPE))
FP8SCOPE_MMA_NARROW(M44, false, FP8SCOPE_MMA_F32, "m16n8k32.row.col.f32.e4m3.e4m3.f32");
FP8SCOPE_MMA_NARROW(M45, false, FP8SCOPE_MMA_F32, "m16n8k32.row.col.f32.e4m3.e5m2.f32");
FP8SCOPE_MMA_NARROW(M54, false, FP8SCOPE_MMA_F32, "m16n8k32.row.col.f32.e5m2.e4m3.f32");
FP8SCOPE_MMA_NARROW(M55, false, FP8SCOPE_MMA_F32, "m16n8k32.row.col.f32.e5m2.e5m2.f32");
FP8SCOPE_MMA_NARROW(MH44, true, FP8SCOPE_MMA_F16, "m16n8k32.row.col.f16.e4m3.e4m3.f16");
FP8SCOPE_MMA_NARROW(MH45, true, FP8SCOPE_MMA_F16, "m16n8k32.row.col.f16.e4m3.e5m2.f16");
FP8SCOPE_MMA_NARROW(MH54, true, FP8SCOPE_MMA_F16, "m16n8k32.row.col.f16.e5m2.e4m3.f16");
FP8SCOPE_MMA_NARROW(MH55, true, FP8SCOPE_MMA_F16, "m16n8k32.row.col.f16.e5m2.e5m2.f16");
FP8SCOPE_MMA_WIDE(MF16F32, false, FP8SCOPE_MMA_F32, "m16n8k16.row.col.f32.f16.f16.f32");
FP8SCOPE_MMA_WIDE(MF16F16, true, FP8SCOPE_MMA_F16, "m16n8k16.row.col.f16.f16.f16.f16");
FP8SCOPE_MMA_WIDE(MBf16F32, false, FP8SCOPE_MMA_F32, "m16n8k16.row.col.f32.bf16.bf16.f32");
FP8SCOPE_MMA_WIDE(MTf32F32, false, FP8SCOPE_MMA_F32, "m16n8k8.row.col.f32.tf32.tf32.f32");

template <class I>
__global__ void __launch_bounds__(32) mma_kernel(const TileJob job) {
  constexpr int rows = 16;
  const std::size_t tile = blockIdx.x;
  const int lane = static_cast<int>(threadIdx.x), row_bytes = instruction_bytes * job.chain;
  const std::uint8_t* from_a = job.a + tile * static_cast<std::size_t>(rows * row_bytes);
  const std::uint8_t* from_b = job.b + tile * static_cast<std::size_t>(8 * row_bytes);
  typename I::Register d[I::registers];
  load_c<I>(job, d, tile, rows, 0, lane);
  for (int s = 0; s < job.chain; ++s) {
    std::uint32_t a[4], b[2];
#pragma unroll
    for (int j = 0; j < 4; ++j)
      a[j] = *reinterpret_cast<const std::uint32_t*>(from_a + a_register_row(0, lane, j) * row_bytes + s * instruction_bytes + a_register_byte(lane, j));
#pragma unroll
    for (int j = 0; j < 2; ++j)
      b[j] = *reinterpret_cast<const std::uint32_t*>(from_b + b_register_column(lane) * row_bytes + s * instruction_bytes + b_register_byte(lane, j));
    I::run(d, a, b);
  }
  store_d<I>(job, d, tile, rows, 0, lane);
}

using Kernel = void (*)(const TileJob);

/// One instruction as a matrix unit.
class GpuUnit final : public MatrixUnit {
 public:
  GpuUnit(Kernel kernel, int threads, bool b_only_in_shared, int device)
      : kernel_(kernel), threads_(threads), device_(device), b_only_(b_only_in_shared) {}

  /// A kernel for chains of one length, all instructions in one group.
  void add_chain(int chain, Kernel kernel) { chains_.push_back({chain, kernel}); }

  void run(const UnitTiles& t, std::span<std::uint32_t> d) override {
    check(cudaSetDevice(device_), "cudaSetDevice");
    if (!t.reload_c) return run_chain(t, static_cast<int>(t.k / k), d);
    UnitTiles one = t;
    one.k = k, one.reload_c = false;
    for (std::size_t s = 0; s < t.k / k; ++s) {
      const auto cut = [&](const std::vector<std::uint32_t>& from, std::vector<std::uint32_t>& to) {
        to.clear();
        for (std::size_t row = 0; row < from.size() / t.k; ++row)
          to.insert(to.end(), from.begin() + static_cast<std::ptrdiff_t>(row * t.k + s * k), from.begin() + static_cast<std::ptrdiff_t>(row * t.k + (s + 1) * k));
      };
      cut(t.a, one.a), cut(t.b, one.b);
      run_chain(one, 1, d);
      one.c.assign(d.begin(), d.end()), one.discard_c = false;
    }
  }

 private:
  std::vector<std::uint8_t> bytes_of(const std::vector<std::uint32_t>& words) const {
    const std::size_t size = static_cast<std::size_t>(instruction_bytes) / k;
    std::vector<std::uint8_t> bytes;
    bytes.reserve(words.size() * size);
    for (const std::uint32_t w : words)
      for (std::size_t i = 0; i < size; ++i) bytes.push_back(static_cast<std::uint8_t>(w >> 8 * i));
    return bytes;
  }

  void run_chain(const UnitTiles& t, int chain, std::span<std::uint32_t> d) const {
    const std::vector<std::uint8_t> a_bytes = bytes_of(t.a), b_bytes = bytes_of(t.b);
    const Buffer<std::uint8_t> a{std::span<const std::uint8_t>(a_bytes)}, b{std::span<const std::uint8_t>(b_bytes)};
    const Buffer<std::uint32_t> c{std::span<const std::uint32_t>(t.c)};
    Buffer<std::uint32_t> out(t.c.size());
    check(cudaMemset(out.get(), 0xa5, out.size() * 4), "cudaMemset");
    const std::size_t shared = threads_ == 32 ? 0 : static_cast<std::size_t>(chain) * instruction_bytes * ((b_only_ ? 0 : m) + n);
    Kernel kernel = kernel_;
    for (const auto& [length, one_group] : chains_)
      if (length == chain) kernel = one_group;
    if (shared > 48 * 1024)
      check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared)), "shared memory");
    kernel<<<static_cast<unsigned>(t.tiles), static_cast<unsigned>(threads_), shared>>>({a.get(), b.get(), c.get(), out.get(), chain, !t.discard_c});
    check(cudaGetLastError(), name.c_str());
    out.download(d);
  }

  Kernel kernel_;
  std::vector<std::pair<int, Kernel>> chains_;
  int threads_, device_;
  bool b_only_;
};

/// The formats that an instruction's text says: "...f32.e4m3.e4m3" of wgmma, "...f32.e4m3.e4m3.f32" of mma.
std::string format_in(const std::string& text, int which) {
  std::vector<std::string> words;
  for (std::size_t at = 0; at != std::string::npos;) {
    const std::size_t end = text.find('.', at);
    words.push_back(text.substr(at, end == std::string::npos ? end : end - at));
    at = end == std::string::npos ? end : end + 1;
  }
  const std::size_t first = words.size() - (words.front() == "mma" ? 4 : 3);
  const std::string word = words[first + static_cast<std::size_t>(which)];
  return which > 0 && word == "f16" ? "fp16" : word;
}

template <class I>
GpuUnit& add(std::vector<DeviceUnit>& units, Kernel kernel, int rows, int threads, const std::string& name, const std::string& sass,
         const std::string& operands, const std::string& model, int device) {
  auto unit = std::make_unique<GpuUnit>(kernel, threads, operands == "rs", device);
  const std::string text = I::text;
  unit->output = format_in(text, 0), unit->a_format = format_in(text, 1), unit->b_format = format_in(text, 2);
  unit->m = static_cast<std::size_t>(rows), unit->n = I::columns;
  const bool fp8 = unit->a_format == "e4m3" || unit->a_format == "e5m2";
  unit->k = fp8 ? 32 : unit->a_format == "tf32" ? 8 : 16;
  unit->name = name, unit->instruction = text, unit->operands = operands, unit->sass = sass;
  GpuUnit& added = *unit;
  units.push_back({std::move(unit), model});
  return added;
}

template <class I>
void add_wgmma(std::vector<DeviceUnit>& units, int device) {
  const bool fp8 = std::string(I::text).find("k32") != std::string::npos;
  GpuUnit& unit = add<I>(units, wgmma_kernel<I, 0>, 64, 128, "wgmma_n" + std::to_string(I::columns), fp8 ? "QGMMA" : "HGMMA", "ss", "hopper_wgmma", device);
  if constexpr (I::columns == 8 && !I::half) {
    unit.add_chain(2, wgmma_kernel<I, 2>), unit.add_chain(4, wgmma_kernel<I, 4>);
    unit.add_chain(8, wgmma_kernel<I, 8>), unit.add_chain(16, wgmma_kernel<I, 16>);
  } else {
    static_cast<void>(unit);
  }
}

template <class I>
void add_mma(std::vector<DeviceUnit>& units, const DeviceInfo& gpu, int device) {
  const bool fp8 = std::string(I::text).find("k32") != std::string::npos;
  std::string model = "ampere_mma", sass = fp8 ? "QMMA" : "HMMA";
  if (gpu.major == 8 && gpu.minor == 9) model = "ada_mma";
  // ptxas lowers FP8 there to conversions and two FP16 instructions.
  if (gpu.major == 9) model = fp8 ? "sm90_mma_fp8_lowering" : "hopper_mma";
  if (gpu.major == 10) model = fp8 ? "sm100_mma_fp8_lowering" : "blackwell_mma";
  if (gpu.major == 12) model = "rtxblackwell_mma";
  if (model.ends_with("lowering")) sass = "F2FP, HMMA, FADD";
  add<I>(units, mma_kernel<I>, 16, 32, "mma", sass, "registers", model, device);
}

// P12.
struct ConvertResult {
  unsigned long long differ;
  std::uint32_t first;
};

template <bool FromHalf>
__global__ void convert_kernel(std::uint32_t stride, Format f, ConvertResult* result) {
  const std::uint64_t values = FromHalf ? 65536u : std::uint64_t{1} << 32;
  std::uint64_t i = (static_cast<std::uint64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * stride;
  const std::uint64_t step = static_cast<std::uint64_t>(gridDim.x) * blockDim.x * stride;
  const __nv_fp8_interpretation_t kind = f.mantissa_bits == 3 ? __NV_E4M3 : __NV_E5M2;
  unsigned long long differ = 0;
  for (; i < values; i += step) {
    const auto word = static_cast<std::uint32_t>(i);
    std::uint32_t got, want;
    if constexpr (FromHalf) {
      __half_raw half;
      half.x = static_cast<unsigned short>(word);
      got = __nv_cvt_halfraw_to_fp8(half, __NV_SATFINITE, kind);
      want = encode(f, decode(Format{5, 10, 15, Specials::ieee}, word));
    } else {
      got = __nv_cvt_float_to_fp8(__uint_as_float(word), __NV_SATFINITE, kind);
      want = encode(f, __uint_as_float(word));
    }
    if (got == want) continue;
    ++differ;
    atomicMin(&result->first, word);
  }
  if (differ > 0) atomicAdd(&result->differ, differ);
}

template <bool FromHalf>
ConvertCheck check_conversion(const std::string& name, std::uint32_t stride, const Format& f) {
  Buffer<ConvertResult> result(1);
  const ConvertResult none{0, 0xffffffffu};
  result.upload(std::span(&none, 1));
  convert_kernel<FromHalf><<<1024, 256>>>(stride, f, result.get());
  check(cudaGetLastError(), "conversion probe");
  const ConvertResult r = result.to_host()[0];
  const std::uint64_t values = FromHalf ? 65536u / stride : (std::uint64_t{1} << 32) / stride;
  char text[16];
  std::snprintf(text, sizeof(text), "%08x", r.first);
  return {name, values, r.differ, r.differ > 0 ? text : ""};
}

}  // namespace

std::vector<DeviceUnit> matrix_units(int device) {
  use_device(device);
  const DeviceInfo gpu = device_info(device);
  std::vector<DeviceUnit> units;
  if (gpu.major == 9) {
    add_wgmma<W44>(units, device), add_wgmma<W45>(units, device), add_wgmma<W54>(units, device), add_wgmma<W55>(units, device);
    add_wgmma<H44>(units, device), add_wgmma<H45>(units, device), add_wgmma<H54>(units, device), add_wgmma<H55>(units, device);
    add_wgmma<F16F32>(units, device), add_wgmma<F16F16>(units, device), add_wgmma<Bf16F32>(units, device), add_wgmma<Tf32F32>(units, device);
    add_wgmma<Wide128>(units, device), add_wgmma<Wide256>(units, device);
    add<FromRegisters>(units, wgmma_register_kernel, 64, 128, "wgmma_n8_rs", "QGMMA", "rs", "hopper_wgmma", device);
  }
  if (gpu.major * 10 + gpu.minor >= 89) {
    add_mma<M44>(units, gpu, device), add_mma<M45>(units, gpu, device), add_mma<M54>(units, gpu, device), add_mma<M55>(units, gpu, device);
    add_mma<MH44>(units, gpu, device), add_mma<MH45>(units, gpu, device), add_mma<MH54>(units, gpu, device), add_mma<MH55>(units, gpu, device);
  }
  add_mma<MF16F32>(units, gpu, device), add_mma<MF16F16>(units, gpu, device), add_mma<MBf16F32>(units, gpu, device), add_mma<MTf32F32>(units, gpu, device);
  return units;
}

std::vector<ConvertCheck> check_conversions(std::uint32_t stride, int device) {
  use_device(device);
  const Format e4m3_format{4, 3, 7, Specials::fn}, e5m2_format{5, 2, 15, Specials::ieee};
  return {check_conversion<true>("every half to e4m3", 1, e4m3_format), check_conversion<true>("every half to e5m2", 1, e5m2_format),
          check_conversion<false>("floats to e4m3", stride, e4m3_format), check_conversion<false>("floats to e5m2", stride, e5m2_format)};
}

std::string toolkit_version() {
  return "nvcc " + std::to_string(__CUDACC_VER_MAJOR__) + "." + std::to_string(__CUDACC_VER_MINOR__) + "." + std::to_string(__CUDACC_VER_BUILD__);
}

}  // namespace fp8scope::cuda
