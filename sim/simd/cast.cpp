#include "sim/simd/cast.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "sim/require.hpp"
#include "sim/simd/kernels.hpp"

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

namespace fp8scope {

namespace {

using simd::Kernels;

// A library built with -ffast-math may have switched flushing on for the whole process.
void require_ieee_arithmetic() {
#if defined(__SSE__)
  constexpr unsigned daz = 0x0040, rounding = 0x6000, ftz = 0x8000;
  if ((_mm_getcsr() & (daz | rounding | ftz)) != 0)
    throw std::runtime_error(
        "the CPU is set to flush subnormals or not to round to nearest (MXCSR); "
        "a library built with -ffast-math may have done so: do not load it");
#endif
}

const Kernels& kernels_of(Isa wanted) {
  require_ieee_arithmetic();
  const Isa used = wanted == Isa::automatic ? isa() : wanted;
  const Kernels* kernels = simd::find_kernels(used);
  if (!kernels)
    throw std::invalid_argument("this processor or this build lacks the instruction set '" +
                                std::string(isa_name(used)) + "'; use auto");
  return *kernels;
}

struct Cast {
  CastPlan plan;
  const Kernels& kernels;  ///< of the whole run: scans may be vectorised where the cast is not
  bool stream;

  Cast(const Format& f, const CastRule& rule, std::span<std::uint8_t> codes, Run run)
      : plan(make_plan(f, rule)), kernels(kernels_of(run.isa)) {
    require(f.bits() <= 8, "a vectorised cast needs a format of at most 8 bits");
    require(!draws_bits(rule.rounding),
            "a vectorised cast has no random bits; encode stochastic rounding by element");
    const bool large = run.stores == Stores::automatic && codes.size() >= 1u << 20;
    const bool aligned = reinterpret_cast<std::uintptr_t>(codes.data()) % 64 == 0;
    stream = aligned && (large || run.stores == Stores::streaming);
  }

  void operator()(std::span<const float> x, std::size_t tile, const float* scale,
                  std::uint8_t* codes, bool tame = false) const {
    const Kernels& k = plan.vectorised ? kernels : simd::scalar_kernels();
    if (!x.empty()) k.cast(plan, x.data(), x.size(), tile, scale, codes, stream, tame);
  }

  /// Whether the vector code may leave out NaN and overflow: no x * scale of any tile rounds beyond the
  /// largest value, and the rule is one that it knows. x has no NaN.
  bool fits(std::span<const float> amax, std::span<const float> scale) const {
    if (!plan.plain) return false;  // the fields below are not set where there is no vector code
    // Rounding is monotone, so |x| <= amax gives |x * scale| <= amax * scale. Half a unit in the
    // last place above the largest value is still rounded to it; the tie is left out.
    const std::uint32_t limit = plan.max_bits + (1u << (plan.shift - 1));
    return kernels.largest_product(amax.data(), scale.data(), amax.size()) < limit;
  }

  ~Cast() {
    if (stream) kernels.flush();
  }
  Cast(const Cast&) = delete;
  Cast& operator=(const Cast&) = delete;

  // The sign of NaN times NaN depends on the order of the operands, so it is not multiplied.
  void fill_nan_tiles(std::size_t tile, std::span<const float> scale,
                      std::span<std::uint8_t> codes) const {
    const auto code = static_cast<std::uint8_t>(
        encode(plan.format, bits_float(0x7fc00000u), plan.rule));
    for (std::size_t t = 0; t < scale.size(); ++t)
      if (is_nan(scale[t])) {
        const std::size_t begin = t * tile;
        std::ranges::fill(codes.subspan(begin, std::min(tile, codes.size() - begin)), code);
      }
  }
};

std::size_t tile_count(std::size_t n, std::int64_t tile) {
  require(tile >= 1, "a tile needs at least one element");
  return (n + static_cast<std::size_t>(tile) - 1) / static_cast<std::size_t>(tile);
}

// Elements whose amax and codes are computed together: they stay in the first-level cache.
constexpr std::size_t group_elements = 2048;

}  // namespace

void encode_span(const Format& f, const CastRule& rule, std::span<const float> x,
                 std::span<std::uint8_t> codes, Run run) {
  encode_scaled(f, rule, x, 1.0f, codes, run);
}

void encode_scaled(const Format& f, const CastRule& rule, std::span<const float> x, float scale,
                   std::span<std::uint8_t> codes, Run run) {
  require(codes.size() == x.size(), "encode: as many codes as elements are needed");
  const Cast cast(f, rule, codes, run);
  const std::size_t tile = std::max<std::size_t>(x.size(), 1);
  cast(x, tile, &scale, codes.data());
  if (!x.empty()) cast.fill_nan_tiles(tile, {&scale, 1}, codes);
}

void encode_tiles(const Format& f, const CastRule& rule, std::span<const float> x,
                  std::int64_t tile, std::span<const float> scale, std::span<std::uint8_t> codes,
                  Run run) {
  require(codes.size() == x.size(), "encode_tiles: as many codes as elements are needed");
  require(scale.size() == tile_count(x.size(), tile), "encode_tiles: one scale per tile is needed");
  const Cast cast(f, rule, codes, run);
  cast(x, static_cast<std::size_t>(tile), scale.data(), codes.data());
  cast.fill_nan_tiles(static_cast<std::size_t>(tile), scale, codes);
}

float amax_span(std::span<const float> x, AmaxRule amax_rule, Isa isa) {
  float amax = 0.0f;
  if (!x.empty()) kernels_of(isa).amax(x.data(), x.size(), x.size(), amax_rule, &amax);
  return amax;
}

void tile_amax(std::span<const float> x, std::int64_t tile, AmaxRule amax_rule,
               std::span<float> amax, Isa isa) {
  require(amax.size() == tile_count(x.size(), tile), "tile_amax: one amax per tile is needed");
  kernels_of(isa).amax(x.data(), x.size(), static_cast<std::size_t>(tile), amax_rule, amax.data());
}

void quantize_tiles(const Format& f, const CastRule& rule, std::span<const float> x,
                    std::int64_t tile, AmaxRule amax_rule, const TileScales& scales,
                    std::span<float> scale, std::span<float> scale_inv,
                    std::span<std::uint8_t> codes, Run run) {
  const std::size_t tiles = tile_count(x.size(), tile), width = static_cast<std::size_t>(tile);
  require(codes.size() == x.size(), "quantize_tiles: as many codes as elements are needed");
  require(scale.size() == tiles && scale_inv.size() == tiles,
          "quantize_tiles: one scale and one scale_inv per tile are needed");
  const Cast cast(f, rule, codes, run);

  const std::size_t group = std::max<std::size_t>(1, group_elements / width);
  std::vector<float> amax(std::min(group, tiles));
  for (std::size_t t = 0; t < tiles; t += group) {
    const std::size_t count = std::min(group, tiles - t), begin = t * width;
    const std::span<const float> part = x.subspan(begin, std::min(count * width, x.size() - begin));
    const bool any_nan = cast.kernels.amax(part.data(), part.size(), width, amax_rule, amax.data());
    scales({amax.data(), count}, scale.subspan(t, count), scale_inv.subspan(t, count));
    const bool tame = !any_nan && cast.fits({amax.data(), count}, scale.subspan(t, count));
    cast(part, width, scale.data() + t, codes.data() + begin, tame);
    if (!tame) cast.fill_nan_tiles(width, scale.subspan(t, count), codes.subspan(begin, part.size()));
  }
}

void decode_span(std::span<const float> table, std::span<const std::uint8_t> codes,
                 std::span<float> out, Isa isa) {
  require(out.size() == codes.size(), "decode: as many values as codes are needed");
  kernels_of(isa).decode(table.data(), codes.data(), codes.size(), out.data());
}

void read4_write1(std::span<const float> x, std::span<std::uint8_t> codes, bool prefetch, Isa isa) {
  require(codes.size() == x.size(), "read4_write1: as many codes as elements are needed");
  require(reinterpret_cast<std::uintptr_t>(codes.data()) % 64 == 0,
          "read4_write1: codes must be 64-byte aligned");
  kernels_of(isa).read4_write1(x.data(), x.size(), codes.data(), prefetch);
}

}  // namespace fp8scope
