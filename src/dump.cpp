#include "src/dump.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "sim/convert.hpp"
#include "sim/models.hpp"
#include "src/errors.hpp"

namespace fp8scope {
namespace {

/// Dumps say f16 where the table of formats says fp16.
std::string format_word(const std::string& word) { return word == "f16" ? "fp16" : word; }

std::vector<std::uint32_t> read_words(const h5::Group& group, const std::string& name) {
  const auto values = group.dataset(name).values<std::uint64_t>();
  return {values.begin(), values.end()};
}

std::vector<Operand> unpack(const std::vector<std::uint32_t>& words, const std::string& format) {
  const Format f = parse_format(format);
  const int unread = format == "tf32" ? 13 : 0;  // a TF32 word is a binary32 word; the unit reads its top
  std::vector<Operand> operands;
  operands.reserve(words.size());
  for (const std::uint32_t word : words) operands.push_back(unpack_code(f, word >> unread));
  return operands;
}

Format output_format(const Dump& dump) { return dump.output == "f16" ? fp16 : fp32; }

/// Result of one row.
std::uint32_t recompute_row(const Dump& dump, const DumpModel& m, std::size_t row,
                            std::vector<Operand>& scale_a, std::vector<Operand>& scale_b) {
  const Format out = output_format(dump);
  float sum = dump.c_used ? decode(out, dump.c[row]) : 0.0f;
  scale_a.clear(), scale_b.clear();
  for (std::size_t s = 0; s < dump.scales_per_row; ++s) {
    scale_a.push_back(unpack_scale(m.model.scale_format, dump.scale_a[row * dump.scales_per_row + s]));
    scale_b.push_back(unpack_scale(m.model.scale_format, dump.scale_b[row * dump.scales_per_row + s]));
  }
  const std::span a(&dump.a[row * dump.k], dump.k), b(&dump.b[row * dump.k], dump.k);
  if (m.promote == 0) {
    sum = dot(m.model, {a, scale_a}, {b, scale_b}, sum);
  } else {
    for (std::size_t k = 0; k < dump.k; k += m.promote) {
      const std::size_t count = std::min(m.promote, dump.k - k);
      sum += dot(m.model, {a.subspan(k, count), {}}, {b.subspan(k, count), {}}, 0.0f);
    }
  }
  return dump.output == "f16" ? encode(fp16, sum, {.overflow = Overflow::special}) : float_bits(sum);
}

}  // namespace

std::string DumpModel::text() const {
  return promote == 0 ? name : fmt::format("{} promoted every {}", name, promote);
}

Dump read_dump(const h5::Group& group, const std::string& name) {
  Dump dump;
  dump.name = name, dump.where = group.where();
  dump.a_format = format_word(group.required_text("a_fmt"));
  dump.b_format = format_word(group.required_text("b_fmt"));
  dump.output = group.required_text("d_fmt");
  if (dump.output != "f32" && dump.output != "f16")
    throw DataError(fmt::format("{}: d_fmt is '{}'; expected f32 or f16", dump.where, dump.output));
  dump.a = unpack(read_words(group, "a"), dump.a_format);
  dump.b = unpack(read_words(group, "b"), dump.b_format);
  dump.c = read_words(group, "c");
  dump.d = read_words(group, "d");
  dump.rows = dump.d.size();
  if (dump.rows == 0 || dump.c.size() != dump.rows || dump.a.size() % dump.rows != 0 || dump.a.size() != dump.b.size())
    throw DataError(fmt::format("{}: a, b, c and d do not fit: {}, {}, {} and {} elements", dump.where,
                                dump.a.size(), dump.b.size(), dump.c.size(), dump.rows));
  dump.k = dump.a.size() / dump.rows;
  if (group.has("scale_a") || group.has("scale_b")) {
    dump.scale_a = read_words(group, "scale_a");
    dump.scale_b = read_words(group, "scale_b");
    if (dump.scale_a.size() != dump.scale_b.size() || dump.scale_a.size() % dump.rows != 0)
      throw DataError(fmt::format("{}: scale_a and scale_b do not fit", dump.where));
    dump.scales_per_row = dump.scale_a.size() / dump.rows;
  }
  dump.c_used = group.integer("c_used").value_or(1) != 0;
  return dump;
}

std::vector<std::uint32_t> recompute(const Dump& dump, const DumpModel& model) {
  std::vector<std::uint32_t> words(dump.rows);
  std::vector<Operand> scale_a, scale_b;
  for (std::size_t row = 0; row < dump.rows; ++row)
    words[row] = recompute_row(dump, model, row, scale_a, scale_b);
  return words;
}

bool same_word(const Dump& dump, std::uint32_t a, std::uint32_t b, bool nan_bits) {
  if (a == b) return true;
  const Format f = output_format(dump);
  return !nan_bits && is_nan(decode(f, a)) && is_nan(decode(f, b));
}

std::int64_t ulps_between(const Dump& dump, std::uint32_t a, std::uint32_t b) {
  const Format f = output_format(dump);
  if (!is_finite(decode(f, a)) || !is_finite(decode(f, b))) return -1;
  // In this order neighbouring numbers are neighbouring integers, and both zeros are 0.
  const auto place = [&](std::uint32_t word) {
    const auto magnitude = static_cast<std::int64_t>(word & f.magnitude_mask());
    return (word & f.sign_bit()) != 0 ? -magnitude : magnitude;
  };
  return std::abs(place(a) - place(b));
}

std::string model_named_by(const std::string& group) {
  std::string_view best;
  for (const ModelRow& row : model_rows())
    if (group.starts_with(row.name) && row.name.size() > best.size()) best = row.name;
  for (const ModelAlias& alias : model_aliases())
    if (group.starts_with(alias.name) && alias.name.size() > best.size()) best = alias.name;
  return std::string(best);
}

std::vector<DumpModel> models_that_fit(const Dump& dump, bool nan_bits) {
  std::vector<DumpModel> candidates;
  for (const ModelRow& row : model_rows()) {
    if (row.output != dump.output || !accepts(row, dump.a_format, dump.b_format)) continue;
    const bool scaled = row.model.scale_block > 0;
    if (scaled != (dump.scales_per_row > 0)) continue;
    if (scaled && dump.scales_per_row * row.model.scale_block != dump.k) continue;
    candidates.push_back({std::string(row.name), row.model, 0});
    for (std::size_t n = 32; !scaled && n < dump.k; n *= 2)
      candidates.push_back({std::string(row.name), row.model, n});
  }
  std::vector<DumpModel> fits;
  std::vector<Operand> scale_a, scale_b;
  for (const DumpModel& candidate : candidates) {
    std::size_t row = 0;
    while (row < dump.rows &&
           same_word(dump, dump.d[row], recompute_row(dump, candidate, row, scale_a, scale_b), nan_bits))
      ++row;
    if (row == dump.rows) fits.push_back(candidate);
  }
  return fits;
}

}  // namespace fp8scope
