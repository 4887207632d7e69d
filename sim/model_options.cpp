#include <charconv>
#include <initializer_list>
#include <stdexcept>
#include <vector>

#include "sim/models.hpp"
#include "sim/names.hpp"

namespace fp8scope {
namespace {

constexpr int most_terms = 4096;        ///< with f=40 the sum of a step still fits 63 bits
constexpr int most_fraction_bits = 40;

[[noreturn]] void bad_value(std::string_view key, std::string_view value, const std::string& wanted) {
  throw std::invalid_argument("model option " + std::string(key) + "=" + std::string(value) +
                              ": wanted " + wanted);
}

int integer(std::string_view key, std::string_view text, int low, int high) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < low || value > high)
    bad_value(key, text, "an integer from " + std::to_string(low) + " to " + std::to_string(high));
  return value;
}

template <class T>
struct Choice {
  std::string_view name;
  T value;
};

template <class T>
T choose(std::string_view key, std::string_view text, std::initializer_list<Choice<T>> choices) {
  std::string names;
  for (const auto& c : choices) {
    if (c.name == text) return c.value;
    names += (names.empty() ? "" : ", ") + std::string(c.name);
  }
  bad_value(key, text, names);
}

Result parse_result(std::string_view text, const Result& now) {
  if (text == "f32") return {23, -126, 127, now.nearest};
  if (text == "e8m13") return {13, -126, 127, now.nearest};
  if (text == "f16") return {10, -14, 15, now.nearest};
  return {integer("result", text, 0, 23), -126, 127, now.nearest};
}

constexpr ModelOption options[] = {
    {"terms", "0 .. 4096", "products of one step; 0 is all of K",
     [](Model& m, std::string_view v) { m.terms = integer("terms", v, 0, most_terms); }},
    {"f", "0 .. 40", "fraction bits kept below the largest exponent of a step",
     [](Model& m, std::string_view v) { m.fraction_bits = integer("f", v, 0, most_fraction_bits); }},
    {"result", "0 .. 23, f32, e8m13, f16", "fraction bits of the sum that a step writes",
     [](Model& m, std::string_view v) { m.result = parse_result(v, m.result); }},
    {"round", "truncate, nearest", "how that sum is rounded",
     [](Model& m, std::string_view v) {
       m.result.nearest = choose<bool>("round", v, {{"truncate", false}, {"nearest", true}});
     }},
    {"cut", "truncate, floor, nearest", "how a term is moved to the common quantum",
     [](Model& m, std::string_view v) {
       m.cut = choose<Cut>("cut", v, {{"truncate", Cut::toward_zero}, {"floor", Cut::floor},
                                      {"nearest", Cut::nearest_even}});
     }},
    {"c", "inside, outside", "whether C is one more term of the step, or is added to it afterwards",
     [](Model& m, std::string_view v) {
       m.join = choose<Join>("c", v, {{"inside", Join::inside}, {"outside", Join::outside}});
     }},
    {"floor", "-400 .. 127", "smallest exponent of the alignment (disputed: MMA-Sim, arXiv:2512.07004)",
     [](Model& m, std::string_view v) { m.floor_exponent = integer("floor", v, -400, 127); }},
    {"zero_sign", "kept, positive", "sign of a result that underflows (disputed: MMA-Sim v2, v1)",
     [](Model& m, std::string_view v) {
       m.underflow_sign = choose<UnderflowSign>(
           "zero_sign", v, {{"kept", UnderflowSign::kept}, {"positive", UnderflowSign::positive}});
     }},
    {"zeros", "floor, counted", "exponent of products with a zero factor (disputed: MMA-Sim v2, v1)",
     [](Model& m, std::string_view v) {
       m.zero_factors = choose<ZeroFactors>(
           "zeros", v, {{"floor", ZeroFactors::floor}, {"counted", ZeroFactors::counted}});
     }},
    {"nonfinite_c", "dropped, propagated", "NaN and infinity in C of CDNA3 FP8 (disputed: MMA-Sim v2, v1)",
     [](Model& m, std::string_view v) {
       m.nonfinite_c = choose<NonfiniteC>(
           "nonfinite_c", v, {{"dropped", NonfiniteC::dropped}, {"propagated", NonfiniteC::propagated}});
     }},
    {"window", "scales, elements", "alignment of scaled 4-bit formats (disputed: MMA-Sim, tcgen05-model)",
     [](Model& m, std::string_view v) {
       m.window = choose<Window>("window", v, {{"scales", Window::scales}, {"elements", Window::elements}});
     }},
};

/// Throws std::invalid_argument where numbers that are allowed alone do not go together.
void check(const Model& m) {
  const bool cdna3 = m.summation == Summation::cdna3 || m.summation == Summation::cdna3_even_odd;
  if (m.terms == 0 && (cdna3 || m.summation == Summation::aligned || m.summation == Summation::grouped))
    throw std::invalid_argument("model option terms=0: a step of this model has 1 to " +
                                std::to_string(most_terms) + " products");
  if (cdna3 && m.fraction_bits > 31)
    throw std::invalid_argument("model option f=" + std::to_string(m.fraction_bits) +
                                ": CDNA3 keeps at most 31 fraction bits");
  if (m.scale_block != 0 && m.terms % m.scale_block != 0)
    throw std::invalid_argument("model option terms=" + std::to_string(m.terms) + ": wanted a multiple of the " +
                                std::to_string(m.scale_block) + " products that share a scale");
}

}  // namespace

std::span<const ModelOption> model_options() { return options; }

Model parse_model(std::string_view text, std::string_view a, std::string_view b,
                  std::string_view output) {
  const std::size_t colon = std::min(text.find(':'), text.size());
  const std::string_view name = text.substr(0, colon);
  // A custom model may write binary16 by result=f16, so its row serves every output.
  Model model = find_model(name, a, b, name == "custom" ? "f32" : output).model;
  if (name == "custom" && output == "f16") model.result = rne_f16;
  std::string_view rest = text.substr(std::min(colon + 1, text.size()));
  std::vector<std::string_view> seen;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find(':'), rest.size());
    const std::string_view part = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    const std::size_t equals = part.find('=');
    if (equals == std::string_view::npos)
      throw std::invalid_argument("model option '" + std::string(part) + "' is not key=value");
    const std::string_view key = part.substr(0, equals);
    for (const std::string_view other : seen)
      if (other == key)
        throw std::invalid_argument("model option '" + std::string(key) + "' is given twice");
    seen.push_back(key);
    by_name(options, key, "model option").apply(model, part.substr(equals + 1));
  }
  check(model);
  return model;
}

std::string model_text(const Model& model) {
  static constexpr Model plain;
  std::string text = "terms=" + std::to_string(model.terms) + ":f=" + std::to_string(model.fraction_bits) +
                     ":floor=" + std::to_string(model.floor_exponent);
  const bool half = model.result.max_exponent == rne_f16.max_exponent;
  text += ":result=" + (half ? std::string("f16") : std::to_string(model.result.fraction_bits));
  text += model.result.nearest ? ":round=nearest" : ":round=truncate";
  if (model.cut != plain.cut) text += model.cut == Cut::floor ? ":cut=floor" : ":cut=nearest";
  if (model.join != plain.join) text += ":c=outside";
  if (model.underflow_sign != plain.underflow_sign) text += ":zero_sign=positive";
  if (model.zero_factors != plain.zero_factors) text += ":zeros=counted";
  if (model.nonfinite_c != plain.nonfinite_c) text += ":nonfinite_c=propagated";
  if (model.window != plain.window) text += ":window=elements";
  return text;
}

}  // namespace fp8scope
