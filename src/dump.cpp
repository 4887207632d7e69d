#include "src/dump.hpp"

#include <fmt/format.h>

#include "sim/convert.hpp"
#include "src/errors.hpp"

namespace fp8scope {
namespace {

/// Dumps say f16 and f32 where the table of formats says fp16 and parse_model() fp32.
std::string format_word(const std::string& word) { return word == "f16" ? "fp16" : word == "f32" ? "fp32" : word; }

void read_scales(const h5::Group& group, Dump& dump) {
  const h5::Dataset a = group.dataset("scale_a"), b = group.dataset("scale_b");
  std::size_t size = 0, other = 0;
  if (a.type() == h5::Type::f32) {
    dump.factor_a = a.values<float>(), dump.factor_b = b.values<float>();
    size = dump.factor_a.size(), other = dump.factor_b.size();
  } else {
    dump.scale_a = read_words(group, "scale_a"), dump.scale_b = read_words(group, "scale_b");
    size = dump.scale_a.size(), other = dump.scale_b.size();
  }
  if (size != other || size == 0 || size % dump.rows != 0)
    throw DataError(fmt::format("{}: scale_a and scale_b do not fit: {} and {} elements for {} rows", dump.where,
                                size, other, dump.rows));
  const std::size_t per_row = size / dump.rows;
  if (dump.factor_a.empty()) {
    dump.scales_per_row = per_row;
    return;
  }
  if (dump.k % per_row != 0)
    throw DataError(fmt::format("{}: {} scales a row do not divide k = {}", dump.where, per_row, dump.k));
  dump.factors_per_row = per_row, dump.factor_block = dump.k / per_row;
}

}  // namespace

Format RecordedWords::output_format() const { return output == "f16" ? fp16 : output == "bf16" ? bf16 : fp32; }

std::uint32_t RecordedWords::output_word(float x) const {
  return output == "f32" ? float_bits(x) : encode(output_format(), x, {.overflow = Overflow::special});
}

std::vector<std::uint32_t> read_words(const h5::Group& group, const std::string& name) {
  const auto values = group.dataset(name).values<std::uint64_t>();
  return {values.begin(), values.end()};
}

OperandWords read_recorded(const h5::Group& group, const std::string& name, RecordedWords& to) {
  to.name = name, to.where = group.where();
  to.a_format = format_word(group.required_text("a_fmt"));
  to.b_format = format_word(group.required_text("b_fmt"));
  to.output = group.required_text("d_fmt");
  if (to.output != "f32" && to.output != "f16" && to.output != "bf16")
    throw DataError(fmt::format("{}: d_fmt is '{}'; expected f32, f16 or bf16", to.where, to.output));
  OperandWords words{read_words(group, "a"), read_words(group, "b")};
  to.a = unpack_words(words.a, to.a_format), to.b = unpack_words(words.b, to.b_format);
  to.d = read_words(group, "d");
  to.c_used = group.integer("c_used").value_or(1) != 0;
  return words;
}

std::vector<Operand> unpack_words(const std::vector<std::uint32_t>& words, const std::string& format) {
  const Format f = format == "fp32" ? fp32 : parse_format(format);
  const int unread = format == "tf32" ? 13 : 0;  // a TF32 word is a binary32 word; the unit reads its top
  std::vector<Operand> operands;
  operands.reserve(words.size());
  for (const std::uint32_t word : words) operands.push_back(unpack_code(f, word >> unread));
  return operands;
}

Dump read_dump(const h5::Group& group, const std::string& name) {
  Dump dump;
  OperandWords words = read_recorded(group, name, dump);
  dump.a_words = std::move(words.a), dump.b_words = std::move(words.b);
  dump.c = read_words(group, "c");
  dump.rows = dump.d.size();
  const std::size_t a = dump.a_words.size(), b = dump.b_words.size();
  if (dump.rows == 0 || dump.c.size() != dump.rows || a % dump.rows != 0 || a != b)
    throw DataError(fmt::format("{}: a, b, c and d do not fit: {}, {}, {} and {} elements", dump.where, a, b,
                                dump.c.size(), dump.rows));
  dump.k = a / dump.rows;
  if (group.has("scale_a") || group.has("scale_b")) read_scales(group, dump);
  return dump;
}

bool same_word(const RecordedWords& dump, std::uint32_t a, std::uint32_t b, bool nan_bits) {
  if (a == b) return true;
  const Format f = dump.output_format();
  return !nan_bits && is_nan(decode(f, a)) && is_nan(decode(f, b));
}

std::int64_t ulps_between(const RecordedWords& dump, std::uint32_t a, std::uint32_t b) {
  const Format f = dump.output_format();
  if (!is_finite(decode(f, a)) || !is_finite(decode(f, b))) return -1;
  // In this order neighbouring numbers are neighbouring integers, and both zeros are 0.
  const auto place = [&](std::uint32_t word) {
    const auto magnitude = static_cast<std::int64_t>(word & f.magnitude_mask());
    return (word & f.sign_bit()) != 0 ? -magnitude : magnitude;
  };
  return std::abs(place(a) - place(b));
}

}  // namespace fp8scope
