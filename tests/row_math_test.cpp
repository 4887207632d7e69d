#include "sim/simd/row_math.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "sim/simd/isa.hpp"

namespace fp8scope {
namespace {

using simd::row_math;

std::vector<float> numbers(std::size_t n, unsigned seed, float sigma = 1.0f) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, sigma);
  std::vector<float> x(n);
  for (float& v : x) v = normal(random);
  return x;
}

/// Results of every function on one row, one after the other.
std::vector<float> all_functions(std::size_t n) {
  const auto& f = row_math();
  auto x = numbers(n, 1);
  if (n > 100) x[7] = NAN, x[8] = INFINITY;
  const auto y = numbers(n, 2, 3.0f), z = numbers(n, 3), gain = numbers(n, 4);
  std::vector<float> out, a(n), b(n);
  const auto keep = [&](const std::vector<float>& v) { out.insert(out.end(), v.begin(), v.end()); };
  f.round_bf16(x.data(), n, a.data()), keep(a);
  if (n > 100) x[7] = x[8] = 1.0f;
  const float scales[] = {100.0f, 3e-7f, 1e9f, 0.0f};
  f.cast_values(simd::value_plan(e4m3, {}), y.data(), n, (n + 3) / 4, scales, a.data()), keep(a);
  f.cast_values(simd::value_plan(parse_format("e5m6"), {}), y.data(), n, (n + 3) / 4, scales, a.data()), keep(a);
  a = y, f.add(x.data(), n, a.data()), keep(a);
  f.scale(x.data(), n, 0.3f, a.data()), keep(a);
  f.add_scaled(x.data(), n, 0.3f, a.data()), keep(a);
  out.push_back(f.dot(x.data(), y.data(), n));
  const float r = f.rms_norm(x.data(), gain.data(), n, a.data());
  out.push_back(r), keep(a);
  f.rms_norm_backward(x.data(), gain.data(), y.data(), r, n, a.data()), keep(a);
  f.gain_gradient(x.data(), y.data(), r, n, a.data()), keep(a);
  f.silu_mul(y.data(), x.data(), n, a.data()), keep(a);
  f.silu_mul_backward(y.data(), x.data(), z.data(), n, a.data(), b.data()), keep(a), keep(b);
  float largest, sum;
  a = y, f.softmax(a.data(), n, 0.25f, &largest, &sum), keep(a), out.push_back(largest), out.push_back(sum);
  b = z, f.softmax_backward(a.data(), n, 0.25f, b.data()), keep(b);
  a = y, f.rotate(a.data(), n / 2, x.data(), z.data(), -1.0f), keep(a);
  a = y, b = z;
  std::vector<float> m(n), v(n, 0.5f);
  f.adamw(a.data(), b.data(), m.data(), v.data(), n, {1e-3f, 0.1f, 0.9f, 0.95f, 10.0f, 20.0f, 0.7f}), keep(a), keep(m), keep(v);
  return out;
}

TEST(RowMath, GivesTheSameBitsWithEveryInstructionSet) {
  for (const std::size_t n : {1u, 15u, 16u, 33u, 128u, 385u}) {
    set_isa(Isa::scalar);
    const auto reference = all_functions(n);
    for (const Isa wanted : supported_isas()) {
      set_isa(wanted);
      const auto got = all_functions(n);
      ASSERT_EQ(got.size(), reference.size());
      for (std::size_t i = 0; i < got.size(); ++i)
        ASSERT_EQ(float_bits(got[i]), float_bits(reference[i])) << isa_name(wanted) << ", n " << n << ", number " << i;
    }
  }
  set_isa(Isa::automatic);
}

TEST(RowMath, CastsAsEncodeAndDecodeDo) {
  const auto x = numbers(4096, 5, 50.0f);
  std::vector<float> y(x.size());
  const float special[] = {0.0f, -0.0f, INFINITY, -INFINITY, NAN, 1e-40f, 448.0f, 464.0f, 1e30f, 65024.0f};
  for (const char* name : {"e4m3", "e5m2", "e5m6", "e3m4", "fp16"}) {
    const Format f = parse_format(name);
    ASSERT_TRUE(simd::has_value_plan(f, {})) << name;
    for (const float scale : {1.0f, 1e-3f, 7.7f}) {
      auto in = x;
      std::copy(std::begin(special), std::end(special), in.begin());
      row_math().cast_values(simd::value_plan(f, {}), in.data(), in.size(), in.size(), &scale, y.data());
      for (std::size_t i = 0; i < in.size(); ++i)
        ASSERT_EQ(float_bits(y[i]), float_bits(decode(f, encode(f, in[i] * scale)))) << name << " " << in[i];
    }
  }
  EXPECT_FALSE(simd::has_value_plan(parse_format("e4m3fnuz"), {}));
}

TEST(RowMath, SoftmaxAndSiluAreAccurate) {
  auto p = numbers(100, 6, 5.0f);
  const auto x = p;
  float largest, sum;
  row_math().softmax(p.data(), p.size(), 0.5f, &largest, &sum);
  double total = 0;
  for (const float v : x) total += std::exp(0.5 * v);
  for (std::size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(p[i] / (std::exp(0.5 * x[i]) / total), 1.0, 2e-6);
  const auto g = numbers(1000, 7, 8.0f), u = numbers(1000, 8);
  std::vector<float> y(1000);
  row_math().silu_mul(g.data(), u.data(), g.size(), y.data());
  for (std::size_t i = 0; i < g.size(); ++i) {
    const double exact = g[i] / (1 + std::exp(-static_cast<double>(g[i]))) * u[i];
    EXPECT_NEAR(y[i], exact, 1e-6 * std::fabs(exact) + 1e-12);
  }
}

TEST(RowMath, TransposesEveryShape) {
  const std::pair<std::size_t, std::size_t> shapes[] = {{1, 1}, {16, 16}, {33, 47}, {5, 64}};
  for (const auto& [rows, cols] : shapes) {
    const auto x = numbers(rows * cols, 9);
    std::vector<float> y(x.size());
    row_math().transpose(x.data(), rows, cols, cols, y.data(), rows);
    for (std::size_t r = 0; r < rows; ++r)
      for (std::size_t c = 0; c < cols; ++c) ASSERT_EQ(y[c * rows + r], x[r * cols + c]);
  }
}

}  // namespace
}  // namespace fp8scope
