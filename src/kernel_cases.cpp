#include "src/kernel_cases.hpp"

#include "sim/convert.hpp"
#include "sim/philox.hpp"

namespace fp8scope {
namespace {

/// Random words of one array of one kind of data.
class Random {
 public:
  explicit Random(std::uint64_t seed) : seed_(seed) {}
  std::uint32_t word() { return random_bits(seed_, next_++).value; }
  /// In [0, 1).
  float uniform() { return static_cast<float>(word() >> 8) * 0x1p-24f; }
  /// About N(0, 1): the sum of twelve uniform numbers, so that no library's logarithm takes part.
  float normal() {
    float sum = -6.0f;
    for (int i = 0; i < 12; ++i) sum += uniform();
    return sum;
  }

 private:
  std::uint64_t seed_, next_ = 0;
};

std::uint8_t code_of(const Format& f, float x) { return static_cast<std::uint8_t>(encode(f, x)); }

/// A finite code out of all.
std::uint8_t finite_code(const Format& f, Random& random) {
  for (;;) {
    const std::uint32_t code = random.word() & (f.codes() - 1u);
    if (is_finite(decode(f, code))) return static_cast<std::uint8_t>(code);
  }
}

std::uint8_t edge_code(const Format& f, Random& random) {
  const std::uint32_t edges[] = {0u, 1u, low_mask(f.mantissa_bits), 1u << f.mantissa_bits, f.max_code(), f.max_code() - 1u};
  const std::uint32_t word = random.word();
  return static_cast<std::uint8_t>(edges[word % 6] | (word & 0x100u ? f.sign_bit() : 0u));
}

struct DataKind {
  const char* name;
  /// Code of element [row, k] of A (`left`) or B.
  std::uint8_t (*code)(const Format& f, Random& random, std::int64_t row, std::int64_t k, bool left);
};

constexpr DataKind kinds[] = {
    {"random", [](const Format& f, Random& r, std::int64_t, std::int64_t, bool) { return finite_code(f, r); }},
    {"normal", [](const Format& f, Random& r, std::int64_t, std::int64_t, bool) { return code_of(f, 16.0f * r.normal()); }},
    {"positive", [](const Format& f, Random& r, std::int64_t, std::int64_t, bool) { return code_of(f, 64.0f * r.uniform()); }},
    {"cancelling",
     [](const Format& f, Random& r, std::int64_t, std::int64_t k, bool left) {
       // Neighbours of A have the same size and opposite signs, those of B are nearly alike.
       const float x = left ? (k % 2 == 0 ? 96.0f : -96.0f) : 8.0f + r.uniform();
       return code_of(f, x);
     }},
    {"edge", [](const Format& f, Random& r, std::int64_t, std::int64_t, bool) { return edge_code(f, r); }},
    {"nonfinite",
     [](const Format& f, Random& r, std::int64_t row, std::int64_t k, bool left) {
       const std::uint8_t code = code_of(f, 16.0f * r.normal());
       if (!left || row % 16 != 3 || k % 97 != 5 || !f.has_nan()) return code;
       return static_cast<std::uint8_t>(f.has_inf() && row % 32 == 3 ? f.inf_code() : f.nan_code());
     }},
};

std::vector<std::uint8_t> codes(const DataKind& kind, const std::string& format, std::int64_t rows, std::int64_t k,
                                std::uint64_t seed, bool left) {
  const Format f = parse_format(format);
  Random random(seed);
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(rows * k));
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t i = 0; i < k; ++i) codes[static_cast<std::size_t>(r * k + i)] = kind.code(f, random, r, i, left);
  return codes;
}

std::vector<float> scales(std::int64_t rows, std::int64_t k, const BlockShape& block, std::uint64_t seed) {
  const BlockGrid grid(rows, k, block);
  Random random(seed);
  std::vector<float> s(static_cast<std::size_t>(grid.blocks()));
  for (float& x : s) x = (0.5f + random.uniform()) * 0x1p-6f;
  return s;
}

}  // namespace

std::vector<KernelCase> kernel_cases(const KernelCaseRequest& request) {
  std::vector<KernelCase> cases;
  std::uint64_t seed = 1;
  const std::int64_t m = request.shape[0], n = request.shape[1], k = request.shape[2];
  for (const DataKind& kind : kinds) {
    KernelCase c{kind.name, request.format_a, request.format_b, request.output, m, n, k, {}, {}, request.block_a, request.block_b, {}, {}};
    c.a = codes(kind, request.format_a, m, k, seed++, true);
    c.b = codes(kind, request.format_b, n, k, seed++, false);
    c.scale_a = scales(m, k, request.block_a, seed++);
    c.scale_b = scales(n, k, request.block_b, seed++);
    cases.push_back(std::move(c));
  }
  return cases;
}

}  // namespace fp8scope
