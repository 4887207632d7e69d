#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "sim/narrow.hpp"
#include "sim/philox.hpp"
#include "src/kernel_checks.hpp"

namespace fp8scope {
namespace {

using cuda::Element;

/// The pattern of x in the type, rounded to nearest.
std::uint32_t pattern(Element element, float x) {
  if (element == Element::fp32) return float_bits(x);
  const CastRule rule = ml_dtypes_rule(Rounding::nearest_even, Overflow::special);
  return encode(element == Element::bf16 ? bf16 : fp16, x, rule);
}

float value(Element element, std::uint32_t bits) {
  if (element == Element::fp32) return bits_float(bits);
  return element == Element::bf16 ? bf16_value(bits) : fp16_value(bits);
}

CheckTensor make(const std::string& name, Element element, std::int64_t rows, std::int64_t cols, const auto& bits_at) {
  CheckTensor t{fmt::format("{} {}x{}", name, rows, cols), element, rows, cols, {}, {}};
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < cols; ++c) {
      t.stored.push_back(bits_at(r, c));
      t.x.push_back(value(element, t.stored.back()));
    }
  return t;
}

/// Near N(0, 1) (the sum of four uniform numbers), times a power of two for every 16 columns of a row,
/// with an outlier here and there.
float random_element(std::int64_t r, std::int64_t c, std::int64_t cols) {
  const auto index = static_cast<std::uint64_t>(r * cols + c);
  float sum = 0.0f;
  for (std::uint64_t k = 0; k < 4; ++k)
    sum += static_cast<float>(random_bits(1, 4 * index + k).value >> 8) * 0x1p-24f - 0.5f;
  const std::uint32_t block = random_bits(2, static_cast<std::uint64_t>(r * cols + c / 16)).value;
  const float outlier = random_bits(3, index).value % 997 == 0 ? 200.0f : 1.0f;
  return sum * 1.7f * outlier * pow2(static_cast<int>(block % 13) - 6);
}

void add_random(std::vector<CheckTensor>& all, Element e) {
  for (const auto& [rows, cols] : {std::pair{256, 512}, {131, 203}, {128, 96}, {3, 1500}, {65, 32}, {1, 1}, {300, 16}})
    all.push_back(make("random", e, rows, cols, [&, cols = cols](std::int64_t r, std::int64_t c) {
      return pattern(e, random_element(r, c, cols));
    }));
  for (const float scale : {0x1p-140f, 0x1p-30f, 0x1p110f})
    all.push_back(make(fmt::format("random * 2^{}", std::ilogb(scale)), e, 128, 128, [&](std::int64_t r, std::int64_t c) {
      return pattern(e, random_element(r, c, 128) * scale);
    }));
}

/// A row of every pattern of the top 16 bits: of two-byte types, all there are.
std::uint32_t every(Element e, std::int64_t r, std::int64_t c) {
  const auto top = static_cast<std::uint32_t>(r * 256 + c);
  return e == Element::fp32 ? top << 16 | (random_bits(4, top).value >> 16) : top;
}

void add_edges(std::vector<CheckTensor>& all, Element e) {
  all.push_back(make("all patterns", e, 256, 256, [&](std::int64_t r, std::int64_t c) { return every(e, r, c); }));
  all.push_back(make("finite patterns", e, 256, 256, [&](std::int64_t r, std::int64_t c) {
    const std::uint32_t bits = every(e, r, c);
    return is_finite(value(e, bits)) ? bits : 0u;
  }));
  // Both sides of every rounding edge between codes of E4M3, at the scale that an amax of 448 gives.
  all.push_back(make("rounding edges", e, 128, 256, [&](std::int64_t r, std::int64_t c) {
    const auto code = static_cast<std::uint32_t>((r + c / 2) % 126);
    const float middle = (decode(e4m3, code) + decode(e4m3, code + 1)) / 2.0f;
    if (c == 0) return pattern(e, 448.0f);
    const std::uint32_t bits = pattern(e, middle) + static_cast<std::uint32_t>(c % 3) - 1u;
    return c % 2 == 0 ? bits : bits | (e == Element::fp32 ? 0x80000000u : 0x8000u);
  }));
  all.push_back(make("zeros", e, 64, 160, [&](std::int64_t, std::int64_t c) {
    return c % 2 == 0 ? 0u : e == Element::fp32 ? 0x80000000u : 0x8000u;
  }));
  // One NaN or infinity among numbers, in some blocks only.
  all.push_back(make("sparse NaN and Inf", e, 160, 256, [&](std::int64_t r, std::int64_t c) {
    const std::uint32_t chance = random_bits(5, static_cast<std::uint64_t>(r * 256 + c)).value % 4001;
    const float x = chance == 0 ? bits_float(0x7fc00000u) : chance == 1 ? -bits_float(inf_bits) : random_element(r, c, 256);
    return pattern(e, x);
  }));
}

}  // namespace

std::vector<std::byte> CheckTensor::bytes() const {
  const std::size_t size = element == Element::fp32 ? 4 : 2;
  std::vector<std::byte> out(stored.size() * size);
  for (std::size_t i = 0; i < stored.size(); ++i) std::memcpy(out.data() + i * size, &stored[i], size);
  return out;
}

std::vector<CheckTensor> check_tensors() {
  std::vector<CheckTensor> all;
  for (const cuda::NamedElement& row : cuda::elements) {
    add_random(all, row.element);
    add_edges(all, row.element);
  }
  return all;
}

std::vector<CheckTensor> trace_tensors(const Trace& trace) {
  std::vector<CheckTensor> all;
  for (std::size_t t = 0; t < trace.tensors().size(); ++t) {
    const TensorInfo& info = trace.tensors()[t];
    const auto* row = std::ranges::find(cuda::elements, info.dtype, &cuda::NamedElement::name);
    const Element element = row == std::end(cuda::elements) ? Element::fp32 : row->element;
    CheckTensor tensor{info.name(), element, info.rows, info.cols, {}, {}};
    tensor.x.resize(static_cast<std::size_t>(info.rows * info.cols));
    trace.read_rows(t, static_cast<std::size_t>(info.steps - 1), 0, info.rows, tensor.x.data());
    for (const float x : tensor.x) tensor.stored.push_back(pattern(element, x));
    all.push_back(std::move(tensor));
  }
  return all;
}

}  // namespace fp8scope
