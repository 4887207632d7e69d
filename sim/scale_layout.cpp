#include "sim/scale_layout.hpp"

#include "sim/require.hpp"

namespace fp8scope {

std::vector<std::uint32_t> pack_ue8m0(std::span<const std::uint8_t> codes, std::int64_t rows, std::int64_t cols) {
  const std::int64_t words = (cols + 3) / 4;
  std::vector<std::uint32_t> packed(static_cast<std::size_t>(rows * words), 0u);
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < cols; ++c)
      packed[r * words + c / 4] |= std::uint32_t{codes[r * cols + c]} << (8 * (c % 4));
  return packed;
}

std::vector<float> cublas_1x128_scales(std::span<const float> scale_inv, std::int64_t rows, std::int64_t cols) {
  const std::int64_t padded = (rows + 3) / 4 * 4;
  std::vector<float> turned(static_cast<std::size_t>(cols * padded), 0.0f);
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < cols; ++c) turned[c * padded + r] = scale_inv[r * cols + c];
  return turned;
}

std::vector<float> cublas_128x128_scales(std::span<const float> scale_inv, std::int64_t rows, std::int64_t cols) {
  const std::int64_t padded = (cols + 3) / 4 * 4;
  std::vector<float> out(static_cast<std::size_t>(rows * padded), 0.0f);
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < cols; ++c) out[r * padded + c] = scale_inv[r * cols + c];
  return out;
}

std::vector<std::uint8_t> swizzled_scales(std::span<const std::uint8_t> codes, std::int64_t rows, std::int64_t cols) {
  std::vector<std::uint8_t> out(static_cast<std::size_t>((rows + 127) / 128 * ((cols + 3) / 4) * 512), 0);
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < cols; ++c) out[swizzled_mx_offset(r, c, cols * 32)] = codes[r * cols + c];
  return out;
}

std::vector<std::uint8_t> pack_fp4(std::span<const std::uint16_t> codes) {
  std::vector<std::uint8_t> bytes((codes.size() + 1) / 2, 0);
  for (std::size_t i = 0; i < codes.size(); ++i)
    bytes[i / 2] = static_cast<std::uint8_t>(bytes[i / 2] | (codes[i] & 15u) << (i % 2 * 4));
  return bytes;
}

std::vector<std::uint8_t> pack_e5m6(std::span<const std::uint16_t> codes) {
  require(codes.size() % 8 == 0, "pack_e5m6: the number of codes is no multiple of 8");
  std::vector<std::uint8_t> bytes;
  for (std::size_t i = 0; i < codes.size(); i += 8) {
    const std::uint16_t* c = codes.data() + i;
    const auto wide = [&](int k) { return std::uint32_t{c[k]}; };
    const std::uint32_t words[3] = {wide(0) << 20 | wide(1) << 8 | wide(2) >> 4,
                                    wide(2) << 28 | wide(3) << 16 | wide(4) << 4 | wide(5) >> 8,
                                    wide(5) << 24 | wide(6) << 12 | wide(7)};
    for (const std::uint32_t word : words)
      for (int byte = 0; byte < 4; ++byte) bytes.push_back(static_cast<std::uint8_t>(word >> (8 * byte)));
  }
  return bytes;
}

}  // namespace fp8scope
