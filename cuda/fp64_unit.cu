// The FP64 matrix instruction against the chain of fused multiply-adds that the table says it is.
#include <cmath>
#include <vector>

#include "cuda/buffer.hpp"
#include "cuda/matrix_units.hpp"
#include "sim/accumulator.hpp"
#include "sim/philox.hpp"

namespace fp8scope::cuda {
namespace {

constexpr int rows = 8, columns = 8, depth = 4;  // of one instruction
constexpr int chain = 3, k_all = depth * chain;

/// a, b  [tiles, 8, k_all];  c, d  [tiles, 8, 8]
__global__ void __launch_bounds__(32) fp64_kernel(const double* a, const double* b, const double* c, double* d) {
  const int lane = static_cast<int>(threadIdx.x), row = lane / 4, column = lane % 4 * 2;
  const std::size_t tile = blockIdx.x;
  const std::size_t operand = (tile * rows + static_cast<std::size_t>(row)) * k_all + static_cast<std::size_t>(lane % 4);
  const std::size_t at = (tile * rows + static_cast<std::size_t>(row)) * columns + static_cast<std::size_t>(column);
  double d0 = c[at], d1 = c[at + 1];
  for (int s = 0; s < chain; ++s)
    asm volatile("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0, %1}, {%2}, {%3}, {%0, %1};"
                 : "+d"(d0), "+d"(d1)
                 : "d"(a[operand + static_cast<std::size_t>(s * depth)]), "d"(b[operand + static_cast<std::size_t>(s * depth)]));
  d[at] = d0, d[at + 1] = d1;
}

/// Random bits of the mantissa, exponents of a range: of +-2, so that sums round and cancel; of +-1000, so that some
/// are subnormal, some infinite. Every sixteenth is 0.
std::vector<double> random_doubles(std::size_t count, std::uint64_t seed, int range) {
  std::vector<double> x;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t high = random_bits(seed, 2 * i).value, low = random_bits(seed, 2 * i + 1).value;
    const int exponent = static_cast<int>(high % static_cast<std::uint64_t>(2 * range + 1)) - range;
    const double value = std::ldexp(static_cast<double>((high << 32 | low) >> 12) + 0x1p52, exponent - 52);
    x.push_back(low % 16 == 0 ? 0.0 : (low & 0x100u) != 0 ? -value : value);
  }
  return x;
}

ConvertCheck compare_fp64(const std::string& name, std::size_t tiles, int range) {
  const std::vector<double> a = random_doubles(tiles * rows * k_all, 1, range), b = random_doubles(tiles * columns * k_all, 2, range),
                            c = random_doubles(tiles * rows * columns, 3, range);
  const Buffer<double> device_a{std::span<const double>(a)}, device_b{std::span<const double>(b)}, device_c{std::span<const double>(c)};
  Buffer<double> out(c.size());
  fp64_kernel<<<static_cast<unsigned>(tiles), 32>>>(device_a.get(), device_b.get(), device_c.get(), out.get());
  check(cudaGetLastError(), "FP64 probe");
  const std::vector<double> d = out.to_host();
  ConvertCheck result{name, d.size(), 0, ""};
  for (std::size_t i = 0; i < d.size(); ++i) {
    const std::size_t row_a = i / columns, row_b = i / (rows * columns) * columns + i % columns;
    const double want = dot_fp64({&a[row_a * k_all], k_all}, {&b[row_b * k_all], k_all}, c[i]);
    const bool same = bit_cast<std::uint64_t>(want) == bit_cast<std::uint64_t>(d[i]) || (std::isnan(want) && std::isnan(d[i]));
    if (!same && result.differ++ == 0) result.first = std::to_string(i);
  }
  return result;
}

}  // namespace

std::vector<ConvertCheck> check_fp64_unit(int device) {
  use_device(device);
  return {compare_fp64("mma m8n8k4 f64 against fma_fp64, numbers alike", 4096, 2),
          compare_fp64("mma m8n8k4 f64 against fma_fp64, every exponent", 4096, 1000)};
}

}  // namespace fp8scope::cuda
