#include "src/format_facts.hpp"

#include <fmt/format.h>

#include <stdexcept>

#include "sim/convert.hpp"

namespace fp8scope {

namespace {

constexpr int most_bits = 20;  // a million lines

std::string hex(const Format& f, std::uint32_t code) {
  return fmt::format("0x{:0{}x}", code, (f.bits() + 3) / 4);
}

/// "7*2^6 (448), code 0x7e".
std::string limit(const Format& f, std::uint32_t code) {
  const float x = decode(f, code);
  return fmt::format("{} ({}), code {}", exact_text(x), x, hex(f, code));
}

/// The fields of a code, "0 1111 110".
std::string fields(const Format& f, std::uint32_t code) {
  std::string text = fmt::format("{:0{}b}", code, f.bits());
  const auto mantissa = static_cast<std::size_t>(f.mantissa_bits);
  if (mantissa > 0) text.insert(text.size() - mantissa, " ");
  return f.is_signed() ? text.insert(1, " ") : text;
}

std::string_view kind(const Format& f, std::uint32_t code) {
  const float x = decode(f, code);
  if (is_nan(x)) return "nan";
  if (!is_finite(x)) return "inf";
  if (x == 0.0f) return "zero";
  const bool normal = !f.is_signed() || (code & f.magnitude_mask()) >> f.mantissa_bits > 0;
  return normal ? "normal" : "subnormal";
}

std::uint64_t nan_count(const Format& f) {
  switch (f.specials) {
    case Specials::ieee: return 2 * std::uint64_t{low_mask(f.mantissa_bits)};
    case Specials::fn: return 2;
    case Specials::finite: return 0;
    default: return 1;
  }
}

std::string nan_text(const Format& f) {
  if (!f.has_nan()) return "none";
  const std::string last = hex(f, f.nan_code());
  if (nan_count(f) == 1) return last;
  if (nan_count(f) == 2) return fmt::format("{} and {}", last, hex(f, f.nan_code() | f.sign_bit()));
  return fmt::format("{} to {}, and with the sign bit", hex(f, f.inf_code() + 1), last);
}

std::string count_text(const Format& f) {
  const std::uint64_t codes = std::uint64_t{1} << f.bits();
  const std::uint64_t infinities = f.has_inf() ? 2 : 0;
  return fmt::format("{}: {} finite, {} infinite, {} NaN", codes, codes - infinities - nan_count(f),
                     infinities, nan_count(f));
}

/// From which magnitude on a number is beyond the finite values.
std::string overflow_text(const Format& f) {
  // A double, because half a step above the largest value may be no binary32 number.
  const double edge = f.max_value() + 0.5 * pow2(f.max_exponent() - f.mantissa_bits);
  if (f.specials == Specials::finite) return "always the largest value";
  // With one digit of precision every significand is odd, and ties go away from zero; E8M0 has no
  // significand at all, so the parity of its code decides.
  const bool tie_stays = f.max_code() % 2 == 0 && (f.mantissa_bits > 0 || !f.is_signed());
  return fmt::format("{} {} {} to nearest-even, unless saturating",
                     f.has_inf() ? "infinity" : "NaN", tie_stays ? "above" : "from", edge);
}

std::string_view cost_of_specials(Specials specials) {
  switch (specials) {
    case Specials::ieee: return "the top exponent holds infinity and NaNs";
    case Specials::fn: return "no infinity; only the all-ones magnitude is NaN";
    case Specials::fnuz: return "no infinity, no -0: its code is the one NaN, so a NaN has no sign";
    case Specials::finite: return "no infinity, no NaN: a NaN becomes a number";
    default: return "powers of two only: no sign, no zero, no infinity";
  }
}

}  // namespace

std::string exact_text(float x) {
  if (is_nan(x)) return "nan";
  const std::uint32_t magnitude = float_bits(x) & magnitude_bits;
  std::string text = float_bits(x) == magnitude ? "" : "-";
  if (magnitude == inf_bits) return text + "inf";
  if (magnitude == 0) return text + "0";
  auto [significand, exponent] = unpack(magnitude);
  exponent -= 23;
  for (; significand % 2 == 0; significand /= 2) ++exponent;
  if (exponent == 0) return text + std::to_string(significand);
  if (significand > 1) text += fmt::format("{}*", significand);
  return text + fmt::format("2^{}", exponent);
}

Table format_list() {
  Table table("formats", "number formats and their limits");
  auto& name = table.add<std::string>("format", "1", "name");
  auto& torch = table.add<std::string>("torch", "1", "name of the dtype in PyTorch and ml_dtypes");
  auto& bits = table.add<std::int64_t>("bits", "bit", "width of a code");
  auto& bias = table.add<std::int64_t>("bias", "1", "exponent bias");
  auto& specials = table.add<std::string>("specials", "1", "what the other codes are spent on");
  auto& max = table.add<std::string>("max", "1", "largest finite value");
  auto& normal = table.add<std::string>("min_normal", "1", "smallest positive normal value");
  auto& least = table.add<std::string>("min", "1", "smallest positive value");
  auto& source = table.add<std::string>("source", "1", "where it is defined");
  for (const NamedFormat& row : formats) {
    const Format& f = row.format;
    name.emplace_back(row.name);
    torch.emplace_back(row.torch_name.empty() ? "-" : row.torch_name);
    bits.push_back(f.bits());
    bias.push_back(f.bias);
    specials.emplace_back(specials_name(f.specials));
    max.push_back(fmt::format("{:.6g}", f.max_value()));
    normal.push_back(exact_text(pow2(f.min_exponent())));
    least.push_back(exact_text(decode(f, f.is_signed() ? 1u : 0u)));
    source.emplace_back(row.source);
  }
  return table;
}

Table describe(const Format& f) {
  Table table("facts", "what follows from the four numbers of a format");
  auto& property = table.add<std::string>("property", "1", "what is described");
  auto& value = table.add<std::string>("value", "1", "what it is");
  const auto add = [&](const char* label, std::string text) {
    property.emplace_back(label);
    value.push_back(std::move(text));
  };
  add("format", format_name(f));
  add("bits", fmt::format("{}: {} sign, {} exponent, {} mantissa", f.bits(), f.is_signed() ? 1 : 0,
                          f.exponent_bits, f.mantissa_bits));
  add("bias", std::to_string(f.bias));
  add("specials", fmt::format("{}: {}", specials_name(f.specials), cost_of_specials(f.specials)));
  add("max", limit(f, f.max_code()));
  add("min normal", limit(f, f.is_signed() ? 1u << f.mantissa_bits : 0u));
  const bool subnormals = f.is_signed() && f.mantissa_bits > 0;
  add("max subnormal", subnormals ? limit(f, low_mask(f.mantissa_bits)) : "none");
  add("min subnormal", subnormals ? limit(f, 1u) : "none");
  add("exponents", fmt::format("{} to {}", f.min_exponent(), f.max_exponent()));
  add("roundoff", fmt::format("2^{}", -f.mantissa_bits - 1));
  add("codes", count_text(f));
  add("NaN", nan_text(f));
  add("infinity", f.has_inf() ? fmt::format("{} and {}", hex(f, f.inf_code()),
                                            hex(f, f.inf_code() | f.sign_bit()))
                              : "none");
  add("-0", f.has_negative_zero() ? hex(f, f.sign_bit()) : "none");
  add("overflow", overflow_text(f));
  for (const NamedFormat& row : formats)
    if (row.format == f) {
      add("torch", row.torch_name.empty() ? "none" : std::string(row.torch_name));
      add("source", std::string(row.source));
    }
  return table;
}

Table code_list(const Format& f) {
  if (f.bits() > most_bits)
    throw std::invalid_argument(
        fmt::format("format '{}' has 2^{} codes; codes are listed up to {} bits; take a narrower one",
                    format_name(f), f.bits(), most_bits));
  Table table("codes", "every code of a format");
  auto& code_column = table.add<std::string>("code", "1", "code in hexadecimal");
  auto& bits = table.add<std::string>("bits", "1", "sign, exponent and mantissa field");
  auto& kinds = table.add<std::string>("kind", "1", "zero, subnormal, normal, inf or nan");
  auto& value = table.add<std::string>("value", "1", "value, in digits that read back as it");
  auto& exact = table.add<std::string>("exact", "1", "odd integer times a power of two");
  for (std::uint32_t code = 0; code < f.codes(); ++code) {
    const float x = decode(f, code);
    code_column.push_back(hex(f, code));
    bits.push_back(fields(f, code));
    kinds.emplace_back(kind(f, code));
    value.push_back(is_nan(x) ? "nan" : fmt::format("{}", x));
    exact.push_back(exact_text(x));
  }
  return table;
}

}  // namespace fp8scope
