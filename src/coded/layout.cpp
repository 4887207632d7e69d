#include "src/coded/layout.hpp"

#include <fmt/format.h>

#include "sim/scale_layout.hpp"
#include "src/errors.hpp"

namespace fp8scope {
namespace {

void need(const CodedTensor& t, bool fits, std::string_view layout, const char* what) {
  if (!fits) throw DataError(fmt::format("{}: layout {} is of {}", t.where, layout, what));
}

std::vector<std::uint8_t> scale_bytes(const CodedTensor& t) { return {t.stored.begin(), t.stored.end()}; }

LaidOut deepgemm(const CodedTensor& t) {
  need(t, t.scale_codes == e8m0, "deepgemm_ue8m0", "E8M0 scales; --scales-to-e8m0 makes them");
  const BlockGrid grid = t.grid();
  return {{grid.down(), (grid.across() + 3) / 4}, pack_ue8m0(scale_bytes(t), grid.down(), grid.across())};
}

LaidOut cublas_1d(const CodedTensor& t) {
  need(t, t.block.rows == 1 && t.block.cols > 0, "cublas_1x128", "tiles of one row");
  const BlockGrid grid = t.grid();
  return {{grid.across(), (grid.down() + 3) / 4 * 4}, cublas_1x128_scales(t.factors, grid.down(), grid.across())};
}

LaidOut cublas_2d(const CodedTensor& t) {
  need(t, t.block.rows > 1 && t.block.cols > 1, "cublas_128x128", "square blocks");
  const BlockGrid grid = t.grid();
  return {{grid.down(), (grid.across() + 3) / 4 * 4}, cublas_128x128_scales(t.factors, grid.down(), grid.across())};
}

LaidOut swizzled(const CodedTensor& t) {
  need(t, t.scale_codes && t.block.rows == 1 && t.block.cols > 0, "mx_swizzled", "E8M0 or E4M3 scales of tiles of one row");
  const BlockGrid grid = t.grid();
  std::vector<std::uint8_t> bytes = swizzled_scales(scale_bytes(t), grid.down(), grid.across());
  return {{static_cast<std::int64_t>(bytes.size())}, std::move(bytes)};
}

LaidOut fp4_pairs(const CodedTensor& t) {
  need(t, t.format.bits() == 4 && t.cols % 2 == 0, "fp4_pairs", "codes of four bits in rows of even length");
  return {{t.rows, t.cols / 2}, pack_fp4(t.codes)};
}

LaidOut e5m6_words(const CodedTensor& t) {
  need(t, t.format == parse_format("e5m6") && t.cols % 8 == 0, "e5m6_words", "E5M6 codes in rows of a multiple of 8");
  return {{t.rows, t.cols * 3 / 2}, pack_e5m6(t.codes)};
}

constexpr NamedLayout table[] = {
    {"deepgemm_ue8m0", false, "four E8M0 bytes to a word, the lowest column in the lowest byte", deepgemm},
    {"cublas_1x128", false, "binary32, turned, rows padded to a multiple of 4", cublas_1d},
    {"cublas_128x128", false, "binary32, columns padded to a multiple of 4", cublas_2d},
    {"mx_swizzled", false, "bytes in groups of 128 rows and 4 columns, as tensor cores read MX and NVFP4 scales", swizzled},
    {"fp4_pairs", true, "two codes of four bits to a byte, the even column low", fp4_pairs},
    {"e5m6_words", true, "eight E5M6 codes to 12 bytes, as TileKernels", e5m6_words},
};

}  // namespace

std::span<const NamedLayout> layouts() { return table; }

}  // namespace fp8scope
