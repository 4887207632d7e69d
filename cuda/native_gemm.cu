// The product on Hopper's own FP8 unit: a warpgroup fetches by TMA, two multiply by wgmma and promote.
//
// A tile of D is 128 x 128. Of every 128 of K, the producer brings 128 rows of A and of B, each 128 bytes, and
// A's 128 scales into one of four stages; each consumer multiplies its 64 rows by four wgmma of 32 and adds
// the sums, times scales, to registers. Thread blocks stay and take tile after tile; no split of K, so a
// row's result does not depend on M.
#include <algorithm>
#include <stdexcept>

#include "cuda/buffer.hpp"
#include "cuda/gemm.hpp"
#include "cuda/native_gemm.hpp"
#include "cuda/ptx.cuh"
#include "cuda/timing.hpp"

namespace fp8scope::cuda {
namespace {

using namespace ptx;

constexpr int tile = native_tile, stages = 4;

struct __align__(1024) Shared {
  std::uint8_t a[stages][tile * tile], b[stages][tile * tile];
  float scale_a[stages][tile];
  std::uint64_t full[stages], empty[stages];
};

/// How sums leave the unit.
enum class Leave { never, plain, product, first_a, first_b };

struct NativeJob {
  const float* scale_a;  ///< [k / 128, m]: A's scales as they are fetched
  const float* scale_b;  ///< [n / 128, k / 128]
  float* d;              ///< [m, n]
  int m, n, k;
};

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define FP8SCOPE_NATIVE_WGMMA(SHAPE) FP8SCOPE_WGMMA_N128("m64n128k32.f32." SHAPE, ", 1, 1")
#else
#define FP8SCOPE_NATIVE_WGMMA(SHAPE) static_cast<void>(d)
#endif
template <bool A5, bool B5>
__device__ __forceinline__ void multiply(float (&d)[64], std::uint64_t a, std::uint64_t b, int accumulate) {
  if constexpr (!A5 && !B5) FP8SCOPE_NATIVE_WGMMA("e4m3.e4m3");
  if constexpr (!A5 && B5) FP8SCOPE_NATIVE_WGMMA("e4m3.e5m2");
  if constexpr (A5 && !B5) FP8SCOPE_NATIVE_WGMMA("e5m2.e4m3");
  if constexpr (A5 && B5) FP8SCOPE_NATIVE_WGMMA("e5m2.e5m2");
  static_cast<void>(a), static_cast<void>(b), static_cast<void>(accumulate);
}

/// A place in the ring of stages.
struct Ring {
  int stage = 0;
  std::uint32_t phase = 0;
  __device__ __forceinline__ void next() {
    if (++stage == stages) stage = 0, phase ^= 1u;
  }
};

template <bool Scaled>
__device__ __forceinline__ void produce(Shared& s, const CUtensorMap& map_a, const CUtensorMap& map_b, const NativeJob& job, int tiles, int across) {
  Ring ring;
  for (int t = static_cast<int>(blockIdx.x); t < tiles; t += static_cast<int>(gridDim.x)) {
    const int row = t / across * tile, column = t % across * tile;
    for (int k = 0; k < job.k; k += tile) {
      // The first time round nobody has to have emptied a stage: the phase before the first is over.
      barrier_wait(&s.empty[ring.stage], ring.phase ^ 1u);
      barrier_expect(&s.full[ring.stage], 2 * tile * tile + (Scaled ? tile * 4 : 0));
      tma_load(s.a[ring.stage], &map_a, &s.full[ring.stage], k, row);
      tma_load(s.b[ring.stage], &map_b, &s.full[ring.stage], k, column);
      if constexpr (Scaled)
        bulk_load(s.scale_a[ring.stage], job.scale_a + static_cast<std::size_t>(k / tile) * static_cast<std::size_t>(job.m) + row, tile * 4, &s.full[ring.stage]);
      ring.next();
    }
  }
}

template <Leave How>
__device__ __forceinline__ float promoted(float sum, float p, float sa, float sb, float product) {
  if constexpr (How == Leave::product) return __fmaf_rn(product, p, sum);
  if constexpr (How == Leave::first_a) return __fmaf_rn(__fmul_rn(p, sa), sb, sum);
  if constexpr (How == Leave::first_b) return __fmaf_rn(__fmul_rn(p, sb), sa, sum);
  return __fadd_rn(sum, p);
}

template <Leave How, bool A5, bool B5>
__device__ __forceinline__ void consume(Shared& s, const NativeJob& job, int tiles, int across) {
  constexpr bool scaled = How == Leave::product || How == Leave::first_a || How == Leave::first_b;
  const int group = static_cast<int>(threadIdx.x) / 128, warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int row_in_tile = group * 64 + accumulator_row(warp, lane, 0);
  Ring ring;
  for (int t = static_cast<int>(blockIdx.x); t < tiles; t += static_cast<int>(gridDim.x)) {
    const int row = t / across * tile, column = t % across * tile;
    float unit[64], sum[64];
#pragma unroll
    for (int i = 0; i < 64; ++i) sum[i] = unit[i] = 0.0f;
    for (int k = 0; k < job.k; k += tile) {
      const float sb = scaled ? __ldg(job.scale_b + static_cast<std::size_t>(column / tile) * static_cast<std::size_t>(job.k / tile) + k / tile) : 1.0f;
      barrier_wait(&s.full[ring.stage], ring.phase);
      const float sa0 = scaled ? s.scale_a[ring.stage][row_in_tile] : 1.0f, sa1 = scaled ? s.scale_a[ring.stage][row_in_tile + 8] : 1.0f;
      const std::uint64_t a = matrix_descriptor(shared_address(s.a[ring.stage] + group * 64 * tile), 16, swizzled_stride, Swizzle::bytes128);
      const std::uint64_t b = matrix_descriptor(shared_address(s.b[ring.stage]), 16, swizzled_stride, Swizzle::bytes128);
#pragma unroll
      for (int i = 0; i < 64; ++i) pin(unit[i]);
      wgmma_fence();
      // 32 bytes further along a swizzled row are 2 units of the descriptor's address.
#pragma unroll
      for (int q = 0; q < 4; ++q) multiply<A5, B5>(unit, a + 2u * q, b + 2u * q, How == Leave::never ? (k > 0 || q > 0) : q > 0);
      wgmma_commit();
#pragma unroll
      for (int i = 0; i < 64; ++i) pin(unit[i]);
      wgmma_wait();
#pragma unroll
      for (int i = 0; i < 64; ++i) pin(unit[i]);
      __syncwarp();
      if (lane == 0) barrier_arrive(&s.empty[ring.stage]);
      if constexpr (How != Leave::never) {
        const float product0 = __fmul_rn(sa0, sb), product1 = __fmul_rn(sa1, sb);
#pragma unroll
        for (int i = 0; i < 64; ++i)
          sum[i] = promoted<How>(sum[i], unit[i], i & 2 ? sa1 : sa0, sb, i & 2 ? product1 : product0);
      }
      ring.next();
    }
#pragma unroll
    for (int i = 0; i < 64; i += 2) {
      const int r = row + group * 64 + accumulator_row(warp, lane, i), c = column + accumulator_column(lane, i);
      const float2 pair = How == Leave::never ? make_float2(unit[i], unit[i + 1]) : make_float2(sum[i], sum[i + 1]);
      *reinterpret_cast<float2*>(job.d + static_cast<std::size_t>(r) * static_cast<std::size_t>(job.n) + c) = pair;
    }
  }
}

template <Leave How, bool A5, bool B5>
__global__ void __launch_bounds__(384, 1) native_kernel(const __grid_constant__ CUtensorMap map_a, const __grid_constant__ CUtensorMap map_b, const NativeJob job) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  extern __shared__ __align__(1024) std::uint8_t bytes[];
  Shared& s = *reinterpret_cast<Shared*>(bytes);
  if (threadIdx.x == 0) {
    if (shared_address(bytes) % 1024 != 0) __trap();  // the swizzle counts from there
    for (int i = 0; i < stages; ++i) barrier_init(&s.full[i], 1), barrier_init(&s.empty[i], 8);  // 8 consumer warps
    barrier_fence_init();
  }
  __syncthreads();
  const int across = job.n / tile, tiles = job.m / tile * across;
  if (threadIdx.x >= 256) {
    fewer_registers<40>();
    if (threadIdx.x / 32 == 8 && elect_one())
      produce<How == Leave::product || How == Leave::first_a || How == Leave::first_b>(s, map_a, map_b, job, tiles, across);
  } else {
    more_registers<232>();
    consume<How, A5, B5>(s, job, tiles, across);
  }
#endif
}

using NativeKernel = void (*)(const CUtensorMap, const CUtensorMap, const NativeJob);

template <bool A5, bool B5>
NativeKernel kernel_of(Leave how) {
  switch (how) {
    case Leave::never: return native_kernel<Leave::never, A5, B5>;
    case Leave::plain: return native_kernel<Leave::plain, A5, B5>;
    case Leave::product: return native_kernel<Leave::product, A5, B5>;
    case Leave::first_a: return native_kernel<Leave::first_a, A5, B5>;
    default: return native_kernel<Leave::first_b, A5, B5>;
  }
}

NativeKernel kernel_of(Leave how, const Format& a, const Format& b) {
  if (a == e5m2) return b == e5m2 ? kernel_of<true, true>(how) : kernel_of<true, false>(how);
  return b == e5m2 ? kernel_of<false, true>(how) : kernel_of<false, false>(how);
}

Leave leave_of(const ScaledGemmOptions& options, bool scaled) {
  if (options.promote == 0) return Leave::never;
  if (!scaled) return Leave::plain;
  switch (options.order) {
    case ScaleOrder::product: return Leave::product;
    case ScaleOrder::first_a: return Leave::first_a;
    case ScaleOrder::first_b: return Leave::first_b;
    default: return Leave::plain;
  }
}

/// Rows of 128 bytes of a matrix [rows, k], swizzled as wgmma reads them.
CUtensorMap tensor_map(const std::uint8_t* codes, std::int64_t rows, std::int64_t k) {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found{};
  // The driver's function without linking the driver: the program starts on machines without one.
#if CUDART_VERSION >= 12050
  check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &found), "cuTensorMapEncodeTiled");
#else
  check(cudaGetDriverEntryPoint("cuTensorMapEncodeTiled", &function, cudaEnableDefault, &found), "cuTensorMapEncodeTiled");
#endif
  if (found != cudaDriverEntryPointSuccess) throw DeviceError("CUDA: the driver has no cuTensorMapEncodeTiled");
  CUtensorMap map{};
  const cuuint64_t extents[2] = {static_cast<cuuint64_t>(k), static_cast<cuuint64_t>(rows)}, strides[1] = {static_cast<cuuint64_t>(k)};
  const cuuint32_t box[2] = {tile, tile}, steps[2] = {1, 1};
  const CUresult result = reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(function)(
      &map, CU_TENSOR_MAP_DATA_TYPE_UINT8, 2, const_cast<std::uint8_t*>(codes), extents, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
      CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result != CUDA_SUCCESS) throw DeviceError("CUDA: cuTensorMapEncodeTiled refused with " + std::to_string(result));
  return map;
}

__global__ void finish_kernel(float* d, std::int64_t size, ProductEnd end) {
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < size; i += static_cast<std::int64_t>(gridDim.x) * blockDim.x)
    d[i] = finish_element(end, d[i], nullptr);
}

/// A product with its operands on the device.
class NativeProduct {
 public:
  NativeProduct(const ScaledMatrix& a, const ScaledMatrix& b, const ScaledGemmOptions& options, int device)
      : NativeProduct(a.rows, b.rows, a.k, device) {
    const NativeScales scales(a, b);
    a_.upload(narrow(a)), b_.upload(narrow(b));
    scale_a_ = Buffer<float>(std::span<const float>(scales.a)), scale_b_ = Buffer<float>(std::span<const float>(scales.b));
    job_.scale_a = scale_a_.get(), job_.scale_b = scale_b_.get();
    kernel_ = kernel_of(leave_of(options, scales.scaled), a.format, b.format);
    end_ = {!scales.scaled, options.bf16_output, scales.scaled ? 1.0f : a.scale_inv[0] * b.scale_inv[0]};
  }

  /// Codes that are all zero, for timing.
  NativeProduct(std::int64_t m, std::int64_t n, std::int64_t k, int device)
      : a_(static_cast<std::size_t>(m * k)), b_(static_cast<std::size_t>(n * k)), scale_a_(static_cast<std::size_t>(m * k / tile)),
        scale_b_(static_cast<std::size_t>(n * k / tile / tile)), d_(static_cast<std::size_t>(m * n)),
        job_{scale_a_.get(), scale_b_.get(), d_.get(), static_cast<int>(m), static_cast<int>(n), static_cast<int>(k)},
        map_a_(tensor_map(a_.get(), m, k)), map_b_(tensor_map(b_.get(), n, k)) {
    multiprocessors_ = device_info(device).multiprocessors;
  }

  void choose(const ScaledGemmOptions& options) { kernel_ = kernel_of(leave_of(options, options.order != ScaleOrder::plain), e4m3, e4m3); }

  /// Random codes of normal size: zeros would draw less power and run faster than anything real.
  void fill(std::span<const std::uint8_t> a, std::span<const std::uint8_t> b) {
    a_.upload(a), b_.upload(b);
    const std::vector<float> ones(std::max(scale_a_.size(), scale_b_.size()), 1.0f);
    scale_a_.upload(std::span(ones).first(scale_a_.size())), scale_b_.upload(std::span(ones).first(scale_b_.size()));
  }

  void launch() const {
    check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel_), cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(sizeof(Shared))), "shared memory");
    const int tiles = job_.m / tile * (job_.n / tile);
    kernel_<<<static_cast<unsigned>(std::min(tiles, multiprocessors_)), 384, sizeof(Shared)>>>(map_a_, map_b_, job_);
    check(cudaGetLastError(), "native_gemm");
  }

  void finish(std::span<float> d) const {
    const std::int64_t size = static_cast<std::int64_t>(job_.m) * job_.n;
    finish_kernel<<<1024, 256>>>(d_.get(), size, end_);
    check(cudaGetLastError(), "native_gemm");
    d_.download(d.first(static_cast<std::size_t>(size)));
  }

 private:
  static std::vector<std::uint8_t> narrow_codes(const ScaledMatrix& m) {
    const auto size = static_cast<std::size_t>(m.rows * m.k);
    return {m.codes.begin(), m.codes.begin() + static_cast<std::ptrdiff_t>(size)};
  }
  std::span<const std::uint8_t> narrow(const ScaledMatrix& m) {
    codes_ = narrow_codes(m);
    return codes_;
  }

  std::vector<std::uint8_t> codes_;
  Buffer<std::uint8_t> a_, b_;
  Buffer<float> scale_a_, scale_b_, d_;
  NativeJob job_;
  CUtensorMap map_a_, map_b_;
  NativeKernel kernel_ = nullptr;
  ProductEnd end_{};
  int multiprocessors_ = 1;
};

void require_hopper(int device) {
  use_device(device);
  const DeviceInfo info = device_info(device);
  if (info.major != 9) throw DeviceError("the native FP8 product runs on Hopper (sm_90); this is " + info.name + " (" + info.architecture() + ")");
}

}  // namespace

void native_gemm(const ScaledMatrix& a, const ScaledMatrix& b, const ScaledGemmOptions& options, std::span<float> d, int device) {
  check_scaled_gemm(a, b, options);
  if (const std::string refusal = native_gemm_refusal(a, b, options); !refusal.empty()) throw std::invalid_argument("gemm: " + refusal);
  require_hopper(device);
  const NativeProduct product(a, b, options, device);
  product.launch();
  product.finish(d);
}

KernelTimes time_native_gemm(std::int64_t m, std::int64_t n, std::int64_t k, const ScaledGemmOptions& options, int rounds, int device) {
  require_hopper(device);
  NativeProduct product(m, n, k, device);
  product.choose(options);
  product.fill(random_normal_codes(m * k, 1), random_normal_codes(n * k, 2));
  return {kernel_seconds(rounds, [&] { product.launch(); })};
}

}  // namespace fp8scope::cuda
