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

struct Option {
  std::string_view name;
  void (*apply)(Model&, std::string_view);
};

constexpr Option options[] = {
    {"terms", [](Model& m, std::string_view v) { m.terms = integer("terms", v, 0, most_terms); }},
    {"f", [](Model& m, std::string_view v) { m.fraction_bits = integer("f", v, 0, most_fraction_bits); }},
    {"floor", [](Model& m, std::string_view v) { m.floor_exponent = integer("floor", v, -400, 127); }},
    {"result", [](Model& m, std::string_view v) { m.result = parse_result(v, m.result); }},
    {"round", [](Model& m, std::string_view v) {
       m.result.nearest = choose<bool>("round", v, {{"truncate", false}, {"nearest", true}});
     }},
    {"cut", [](Model& m, std::string_view v) {
       m.cut = choose<Cut>("cut", v, {{"truncate", Cut::toward_zero}, {"floor", Cut::floor},
                                      {"nearest", Cut::nearest_even}});
     }},
    {"c", [](Model& m, std::string_view v) {
       m.join = choose<Join>("c", v, {{"inside", Join::inside}, {"outside", Join::outside}});
     }},
    {"zero_sign", [](Model& m, std::string_view v) {
       m.underflow_sign = choose<UnderflowSign>(
           "zero_sign", v, {{"kept", UnderflowSign::kept}, {"positive", UnderflowSign::positive}});
     }},
    {"zeros", [](Model& m, std::string_view v) {
       m.zero_factors = choose<ZeroFactors>(
           "zeros", v, {{"floor", ZeroFactors::floor}, {"counted", ZeroFactors::counted}});
     }},
    {"nonfinite_c", [](Model& m, std::string_view v) {
       m.nonfinite_c = choose<NonfiniteC>(
           "nonfinite_c", v, {{"dropped", NonfiniteC::dropped}, {"propagated", NonfiniteC::propagated}});
     }},
    {"window", [](Model& m, std::string_view v) {
       m.window = choose<Window>("window", v, {{"scales", Window::scales}, {"elements", Window::elements}});
     }},
};

}  // namespace

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
  if (model.summation == Summation::aligned && model.terms == 0)
    throw std::invalid_argument("terms=0: a step of an aligned sum has 1 to " + std::to_string(most_terms) +
                                " products");
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
