#include "src/cast_policy.hpp"

#include "sim/names.hpp"

namespace fp8scope {
namespace {

/// A choice of CastRule as --policy names it: KEY=VALUE.
template <class Rule>
struct NamedPolicy {
  std::string_view name;
  Rule rule;
};
constexpr NamedPolicy<Overflow> overflows[] = {{"saturate", Overflow::saturate}, {"special", Overflow::special}};
constexpr NamedPolicy<InfRule> inf_rules[] = {{"max", InfRule::max}, {"special", InfRule::special}};
constexpr NamedPolicy<NanRule> nan_rules[] = {{"all_ones", NanRule::all_ones},
                                              {"all_ones_signed", NanRule::all_ones_signed},
                                              {"quiet_signed", NanRule::quiet_signed},
                                              {"max", NanRule::max},
                                              {"lowest", NanRule::lowest}};
constexpr NamedPolicy<NoNanRule> no_nan_rules[] = {{"max", NoNanRule::max}, {"sign_bit_flip", NoNanRule::sign_bit_flip}};
constexpr NamedPolicy<NegativeScale> negative_scales[] = {{"magnitude", NegativeScale::magnitude},
                                                          {"nan", NegativeScale::nan},
                                                          {"lowest", NegativeScale::lowest}};
constexpr NamedPolicy<ZeroScale> zero_scales[] = {{"lowest", ZeroScale::lowest}, {"nan", ZeroScale::nan}};

struct PolicyKey {
  std::string_view name;
  void (*set)(CastRule& rule, std::string_view value);
};
constexpr PolicyKey policy_keys[] = {
    {"inf", [](CastRule& r, std::string_view v) { r.inf = by_name(inf_rules, v, "--policy inf").rule; }},
    {"nan", [](CastRule& r, std::string_view v) { r.nan = by_name(nan_rules, v, "--policy nan").rule; }},
    {"no_nan", [](CastRule& r, std::string_view v) { r.no_nan = by_name(no_nan_rules, v, "--policy no_nan").rule; }},
    {"negative_scale", [](CastRule& r, std::string_view v) {
       r.negative_scale = by_name(negative_scales, v, "--policy negative_scale").rule;
     }},
    {"zero_scale", [](CastRule& r, std::string_view v) {
       r.zero_scale = by_name(zero_scales, v, "--policy zero_scale").rule;
     }},
};

}  // namespace

Overflow overflow_by_name(std::string_view name) { return by_name(overflows, name, "--overflow").rule; }

void set_policies(CastRule& rule, const std::vector<std::string>& words) {
  for (const std::string& word : words) {
    const std::size_t at = word.find('=');
    // Of the recipe, and no library's choice about NaN, infinity and scales: the sign of zeros, and a clamp.
    const CastRule before = rule;
    const bool clamps = before.nan == NanRule::max || before.nan == NanRule::lowest;
    const auto keep = [&](CastRule policy) {
      policy.zero = before.zero;
      if (clamps) policy.nan = before.nan;
      return policy;
    };
    if (word == "nvidia") rule = keep({.rounding = before.rounding, .overflow = before.overflow});
    else if (word == "ml_dtypes") rule = keep(ml_dtypes_rule(before.rounding, before.overflow));
    else by_name(policy_keys, word.substr(0, at), "--policy").set(rule, at == word.npos ? "" : word.substr(at + 1));
  }
}

}  // namespace fp8scope
