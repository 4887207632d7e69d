#include "sim/matrix_unit.hpp"

#include <algorithm>

#include "sim/convert.hpp"

namespace fp8scope {

float output_value(const std::string& output, std::uint32_t word) {
  return output == "f16" ? decode(fp16, word) : bits_float(word);
}

std::uint32_t output_word(const std::string& output, float value) {
  return output == "f16" ? encode(fp16, value, {.overflow = Overflow::special}) : float_bits(value);
}

Operand unit_operand(const std::string& name, std::uint32_t word) {
  if (name == "fp32") return unpack_code(fp32, word);
  // The unit reads the top of a TF32 word.
  return name == "tf32" ? unpack_code(tf32, word >> 13) : unpack_code(parse_format(name), word);
}

EmulatedUnit::EmulatedUnit(const std::string& model, const std::string& a, const std::string& b, const std::string& out)
    : model_(parse_model(model, a, b, out)) {
  name = model, a_format = a, b_format = b, output = out;
  scale_block = model_.scale_block, scale_format = model_.scale_format;
  k = static_cast<std::size_t>(std::max(32, model_.scale_block == 0 ? model_.terms : std::max(model_.terms, model_.scale_block)));
  instruction = "none: model " + model_text(model_);
  operands = "model", emulated = true;
}

void EmulatedUnit::run(const UnitTiles& t, std::span<std::uint32_t> d) {
  const auto unpack = [&](const std::vector<std::uint32_t>& words, const std::string& format, std::size_t row, std::size_t count) {
    std::vector<Operand> x(count);
    for (std::size_t i = 0; i < count; ++i) x[i] = unit_operand(format, words[row * count + i]);
    return x;
  };
  const auto scales = [&](const std::vector<std::uint32_t>& words, std::size_t row) {
    const std::size_t count = scale_block == 0 ? 0 : t.k / static_cast<std::size_t>(scale_block);
    std::vector<Operand> x(count);
    for (std::size_t i = 0; i < count; ++i) x[i] = unpack_scale(scale_format, words[row * count + i]);
    return x;
  };
  for (std::size_t tile = 0; tile < t.tiles; ++tile)
    for (std::size_t r = 0; r < t.m; ++r) {
      const auto a = unpack(t.a, a_format, tile * t.m + r, t.k), sa = scales(t.scale_a, tile * t.m + r);
      for (std::size_t j = 0; j < t.n; ++j) {
        const auto b = unpack(t.b, b_format, tile * t.n + j, t.k), sb = scales(t.scale_b, tile * t.n + j);
        const std::size_t i = (tile * t.m + r) * t.n + j;
        const float c = t.discard_c ? 0.0f : output_value(output, t.c[i]);
        d[i] = output_word(output, dot(model_, {a, sa}, {b, sb}, c));
      }
    }
}

}  // namespace fp8scope
