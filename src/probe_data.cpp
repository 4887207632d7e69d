#include "src/probe_data.hpp"

#include <algorithm>
#include <array>

#include "sim/convert.hpp"
#include "sim/philox.hpp"

namespace fp8scope {
namespace {

Format format_of(const std::string& name) { return name == "fp32" ? fp32 : name == "tf32" ? tf32 : parse_format(name); }

/// TF32 words are binary32 words.
int unread_bits(const std::string& name) { return name == "tf32" ? 13 : 0; }

constexpr InputClass classes[] = {
    {"random", "every bit random, NaN and infinity included"},
    {"finite", "random among the finite codes"},
    {"normal", "about N(0, 1), scaled to the middle of the format"},
    {"cancelling", "pairs of large terms of opposite signs, and small ones"},
    {"positive", "one sign and large fractions, so that sums carry far, and small terms"},
    {"edge", "zeros, subnormal, smallest and largest codes"},
    {"tiny", "products around the output's smallest numbers"},
};

}  // namespace

std::span<const InputClass> input_classes() { return classes; }

void DotBatch::start(std::uint32_t c_word) {
  c_.push_back(c_word);
  a_.resize(a_.size() + k_, 0), b_.resize(b_.size() + k_, 0);
  if (block_ == 0) return;
  scale_a_.resize(scale_a_.size() + k_ / block_, one_), scale_b_.resize(scale_b_.size() + k_ / block_, one_);
}

void DotBatch::set(std::size_t k, std::uint32_t a_word, std::uint32_t b_word) {
  a_[a_.size() - k_ + k] = a_word, b_[b_.size() - k_ + k] = b_word;
}

void DotBatch::set_scales(std::size_t block, std::uint32_t a_code, std::uint32_t b_code) {
  const std::size_t blocks = k_ / block_;
  scale_a_[scale_a_.size() - blocks + block] = a_code, scale_b_[scale_b_.size() - blocks + block] = b_code;
}

std::vector<std::uint32_t> DotBatch::run(MatrixUnit& unit, bool discard_c, bool reload_c) const {
  const std::size_t per_tile = std::min(unit.m, unit.n), blocks = block_ == 0 ? 0 : k_ / block_;
  UnitTiles t;
  t.tiles = (size() + per_tile - 1) / per_tile, t.m = unit.m, t.n = unit.n, t.k = k_;
  t.discard_c = discard_c, t.reload_c = reload_c;
  t.a.resize(t.tiles * t.m * k_), t.b.resize(t.tiles * t.n * k_), t.c.resize(t.tiles * t.m * t.n);
  t.scale_a.resize(t.tiles * t.m * blocks), t.scale_b.resize(t.tiles * t.n * blocks);
  const auto place = [&](std::size_t i) { return (i / per_tile * t.m + i % per_tile) * t.n + i % per_tile; };
  for (std::size_t i = 0; i < size(); ++i) {
    const std::size_t row = i / per_tile * t.m + i % per_tile, column = i / per_tile * t.n + i % per_tile;
    std::copy_n(&a_[i * k_], k_, &t.a[row * k_]), std::copy_n(&b_[i * k_], k_, &t.b[column * k_]);
    if (blocks > 0) {
      std::copy_n(&scale_a_[i * blocks], blocks, &t.scale_a[row * blocks]);
      std::copy_n(&scale_b_[i * blocks], blocks, &t.scale_b[column * blocks]);
    }
    t.c[place(i)] = c_[i];
  }
  std::vector<std::uint32_t> all(t.c.size()), d(size());
  unit.run(t, all);
  for (std::size_t i = 0; i < size(); ++i) d[i] = all[place(i)];
  return d;
}

RecordedProduct DotBatch::dump(const std::string& name, std::vector<std::uint32_t> d) const {
  RecordedProduct dump;
  dump.name = name, dump.where = name;
  dump.a_format = a_format_, dump.b_format = b_format_, dump.output = output_;
  dump.shape = {size(), 1, 1}, dump.k = k_;
  dump.a = unpack_words(a_, a_format_), dump.b = unpack_words(b_, b_format_);
  dump.c = c_, dump.d = std::move(d);
  dump.scale_a = scale_a_, dump.scale_b = scale_b_;
  dump.scales_per_row = block_ == 0 ? 0 : k_ / block_;
  return dump;
}

std::uint32_t operand_word(const std::string& format, float value) {
  if (format == "fp32") return float_bits(value);
  return encode(format_of(format), value) << unread_bits(format);
}

ExponentRange exponent_range(const std::string& name) {
  const Format f = format_of(name);
  // A power of two below binary32's normal range would be beyond the helpers here, and no probe needs it.
  return {std::max(f.min_exponent() - f.mantissa_bits, -126), std::max(f.min_exponent(), -126), std::min(f.max_exponent(), 126)};
}

InputSource::InputSource(const MatrixUnit& unit, std::string input_class, std::uint64_t seed)
    : a_format_(unit.a_format), b_format_(unit.b_format), output_(unit.output), class_(std::move(input_class)),
      scale_format_(unit.scale_format), seed_(seed) {}

std::uint32_t InputSource::random() { return random_bits(seed_, next_++).value; }

std::uint32_t InputSource::operand(const std::string& name) {
  const Format f = format_of(name);
  const std::uint32_t low = low_mask(f.bits());
  std::uint32_t sign = random() & 1u ? f.sign_bit() : 0u;
  const auto word = [&](std::uint32_t code) { return code << unread_bits(name); };
  const auto power = [&](int exponent, std::uint32_t fraction) {
    const int field = std::clamp(exponent + f.bias, 1, static_cast<int>(f.max_code() >> f.mantissa_bits));
    const std::uint32_t code = static_cast<std::uint32_t>(field) << f.mantissa_bits | (fraction & low_mask(f.mantissa_bits));
    return word(sign | std::min(code, f.max_code()));
  };
  if (class_ == "finite") {
    for (;;)
      if (const std::uint32_t code = random() & low; (code & f.magnitude_mask()) <= f.max_code()) return word(code);
  }
  if (class_ == "normal") {
    float x = -6.0f;
    for (int i = 0; i < 12; ++i) x += static_cast<float>(random() >> 8) * 0x1p-24f;
    return word(encode(f, x));
  }
  if (class_ == "cancelling") {
    const int large = std::min(f.max_exponent(), 20) - 1;
    const bool small = (random() & 3u) == 0;
    const std::uint32_t fraction = (random() & 7u) == 0 ? random() : 0u;
    return power(small ? static_cast<int>(random() % 28u) - 14 : large - static_cast<int>(random() & 1u), fraction);
  }
  if (class_ == "positive") {
    const int large = std::min(f.max_exponent(), 20) - 1;
    sign = 0;
    if ((random() & 3u) != 0) return power(large, ~(random() & random()));
    return power(large - static_cast<int>(random() % 24u), random());
  }
  if (class_ == "edge") {
    const std::array<std::uint32_t, 8> edges{0u, 0u, 1u, low_mask(f.mantissa_bits), 1u << f.mantissa_bits, f.max_code(), f.max_code() - 1u,
                                             static_cast<std::uint32_t>(f.bias) << f.mantissa_bits};
    return word(sign | edges[random() % edges.size()]);
  }
  if (class_ == "tiny") {
    // The product's exponent is about that of the output's last place: half of it each, give or take.
    const int target = output_ == "f16" ? -27 : -151;
    if ((random() & 7u) == 0) return word(sign);
    return power(target / 2 + static_cast<int>(random() % 12u) - 6, random());
  }
  return word(random() & low);
}

std::uint32_t InputSource::c() {
  const std::uint32_t kind = random() % 8u, bits = random();
  const bool half = output_ == "f16";
  if (class_ == "positive" && kind >= 4) return 0u;
  if (class_ == "tiny") return kind < 6 ? 0u : half ? bits & 0x8003u : bits & 0x8000000fu;
  if (kind < 2) return 0u;
  if (kind < 4) return half ? bits & 0xffffu : bits;  // every bit: NaN, infinity, subnormals
  if (kind == 4) {
    const std::array<std::uint32_t, 6> words{0x80000000u, 0x7f800000u, 0xff800000u, 0x7fc00001u, 0x00000001u, 0x7f7fffffu};
    const std::array<std::uint32_t, 6> halves{0x8000u, 0x7c00u, 0xfc00u, 0x7e01u, 0x0001u, 0x7bffu};
    return half ? halves[bits % 6] : words[bits % 6];
  }
  // Of the products' size, give or take 2^20.
  const int exponent = static_cast<int>(bits >> 24 & 31u) - 12;
  const float value = bits_float((bits & 0x807fffffu) | static_cast<std::uint32_t>(exponent + 127) << 23);
  return half ? encode(fp16, value) : float_bits(value);
}

std::uint32_t InputSource::scale() {
  if (scale_format_ == e8m0) {
    const std::uint32_t word = random();
    return class_ == "random" ? word & 0xffu : 127u + word % 17u - 8u;
  }
  return random() & (class_ == "random" ? 0xffu : 0x7du);
}

DotBatch random_batch(const MatrixUnit& unit, const std::string& input_class, std::size_t k, std::size_t count, std::uint64_t seed) {
  InputSource source(unit, input_class, seed);
  DotBatch batch(unit, k);
  for (std::size_t i = 0; i < count; ++i) {
    batch.start(source.c());
    // Short sums too: a NaN or a large term must not hide the rest everywhere.
    const std::size_t used = input_class == "random" && i % 2 == 0 ? 1 + source.random() % 6u : k;
    for (std::size_t j = 0; j < used; ++j) {
      const std::size_t at = used == k ? j : source.random() % k;
      const std::uint32_t a = source.a(), b = source.b();
      batch.set(at, a, b);
    }
    if (unit.scale_block > 0)
      for (std::size_t s = 0; s < k / static_cast<std::size_t>(unit.scale_block); ++s) {
        const std::uint32_t a = source.scale(), b = source.scale();
        batch.set_scales(s, a, b);
      }
  }
  return batch;
}

}  // namespace fp8scope
