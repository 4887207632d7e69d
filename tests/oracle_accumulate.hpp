#pragma once

#include <mpfr.h>

#include <cmath>
#include <limits>
#include <vector>

#include "sim/accumulator.hpp"

/// The rules of matrix units again, on values instead of significands and exponents: doubles, ldexp,
/// trunc and floor, and MPFR's correctly rounded sum. Shares only the numbers of Model with dot().
namespace fp8scope::oracle {

/// An operand: its value, and the exponent that a unit's alignment sees.
struct Number {
  double value;
  int exponent;
  double smallest_normal;
};

inline Number number(const Format& f, double value) {
  const int lowest = f.specials == Specials::scale ? -127 : 1 - f.bias;
  const bool ordinary = std::isfinite(value) && value != 0;
  return {value, ordinary ? std::max(std::ilogb(value), lowest) : lowest, std::ldexp(1.0, lowest)};
}

inline double cut_to(Cut cut, double x) {
  if (cut == Cut::floor) return std::floor(x);
  return cut == Cut::toward_zero ? std::trunc(x) : std::nearbyint(x);
}

/// A value that a double holds exactly, in the format of `r`.
inline double rounded(const Result& r, double v) {
  if (v == 0 || !std::isfinite(v)) return v;
  const int unit = std::max(std::ilogb(v), r.min_exponent) - r.fraction_bits;
  const double scaled = std::ldexp(v, -unit);
  const double d = std::ldexp(r.nearest ? std::nearbyint(scaled) : std::trunc(scaled), unit);
  const bool over = std::fabs(d) >= std::ldexp(1.0, r.max_exponent + 1);
  return over ? std::copysign(std::numeric_limits<double>::infinity(), v) : d;
}

/// The exact sum, rounded once.
inline double rounded_exact_sum(const Result& r, const std::vector<double>& terms) {
  std::vector<__mpfr_struct> values(terms.size());
  std::vector<mpfr_ptr> pointers;
  for (std::size_t i = 0; i < terms.size(); ++i) {
    mpfr_init2(&values[i], 53);
    mpfr_set_d(&values[i], terms[i], MPFR_RNDN);
    pointers.push_back(&values[i]);
  }
  mpfr_t sum, exact;
  mpfr_init2(sum, 60);
  mpfr_init2(exact, 1400);  // from 2^512 down to 2^-860: the sum of any doubles used here
  mpfr_sum(exact, pointers.data(), pointers.size(), MPFR_RNDN);
  double result = 0;
  if (!mpfr_zero_p(exact)) {
    const int top = static_cast<int>(mpfr_get_exp(exact)) - 1;
    const int unit = std::max(top, r.min_exponent) - r.fraction_bits;
    mpfr_div_2si(exact, exact, unit, MPFR_RNDN);
    if (r.nearest) mpfr_roundeven(exact, exact);
    else mpfr_trunc(exact, exact);
    result = std::ldexp(mpfr_get_d(exact, MPFR_RNDN), unit);
    if (std::fabs(result) >= std::ldexp(1.0, r.max_exponent + 1))
      result = std::copysign(std::numeric_limits<double>::infinity(), result);
  }
  for (auto& v : values) mpfr_clear(&v);
  mpfr_clears(sum, exact, static_cast<mpfr_ptr>(nullptr));
  return result;
}

/// Infinities and NaNs of a step, added as IEEE 754 does; 0 if there are none.
inline double nonfinite_sum(const std::vector<Number>& a, const std::vector<Number>& b, double c) {
  double sum = std::isfinite(c) ? 0 : c;
  for (std::size_t k = 0; k < a.size(); ++k)
    if (!std::isfinite(a[k].value) || !std::isfinite(b[k].value)) sum += a[k].value * b[k].value;
  return sum;
}

struct Step {
  const Model& m;
  std::vector<Number> a, b, sa, sb;  ///< sa, sb: a scale for every k
  double c;

  double product(std::size_t k) const { return a[k].value * b[k].value; }
  int exponent(std::size_t k) const { return a[k].exponent + b[k].exponent; }

  int c_exponent() const {
    return c == 0 ? m.result.min_exponent : std::max(std::ilogb(c), m.result.min_exponent);
  }

  double nonfinite() const {
    double sum = nonfinite_sum(a, b, c);
    for (const auto* scales : {&sa, &sb})
      for (const Number& s : *scales) sum += std::isnan(s.value) ? s.value : 0;
    return sum;
  }

  double aligned(double addend) const {
    int top = m.floor_exponent;
    if (addend != 0) top = std::max(top, std::max(std::ilogb(addend), m.result.min_exponent));
    const auto shift = [&](std::size_t k) { return sa.empty() ? 0 : sa[k].exponent + sb[k].exponent; };
    for (std::size_t k = 0; k < a.size(); ++k)
      if (product(k) != 0) top = std::max(top, exponent(k) + shift(k));
    const int quantum = top - m.fraction_bits;
    double sum = cut_to(m.cut, std::ldexp(addend, -quantum));
    for (std::size_t k = 0; k < a.size(); ++k)
      sum += cut_to(m.cut, std::ldexp(product(k), shift(k) - quantum));
    return finish(sum, quantum);
  }

  double finish(double sum, int quantum) const {
    if (sum == 0) return 0.0;
    const double d = rounded(m.result, std::ldexp(sum, quantum));
    return d == 0 && m.underflow_sign == UnderflowSign::positive ? 0.0 : d;
  }

  double grouped() const {
    int top = std::max(m.floor_exponent, c == 0 ? m.floor_exponent : c_exponent());
    std::vector<double> sums;
    for (std::size_t k = 0; k < a.size(); k += 16) {
      double sum = 0;
      bool some = false;
      for (std::size_t i = k; i < std::min(k + 16, a.size()); ++i) {
        sum += product(i);
        some = some || product(i) != 0;
      }
      const double scale = sa[k].value * sb[k].value;
      if (some && scale != 0) top = std::max(top, sa[k].exponent + sb[k].exponent);
      sums.push_back(sum * scale);
    }
    const int quantum = top - m.fraction_bits;
    double sum = std::trunc(std::ldexp(c, -quantum));
    for (const double s : sums) sum += std::trunc(std::ldexp(s, -quantum));
    return finish(sum, quantum);
  }

  double cdna3() const {
    const std::size_t stride = m.summation == Summation::cdna3_even_odd ? 2 : 1;
    int tops[2] = {-999, -999};
    double sums[2] = {0, 0};
    for (std::size_t k = 0; k < a.size(); ++k)
      if (product(k) != 0) tops[k % stride] = std::max(tops[k % stride], exponent(k));
    for (std::size_t k = 0; k < a.size(); ++k)
      if (product(k) != 0) sums[k % stride] += std::trunc(std::ldexp(product(k), 24 - tops[k % stride]));
    const int top = std::max(tops[0], tops[1]);
    double sum = 0;
    for (std::size_t i = 0; i < stride; ++i)
      if (tops[i] != -999) sum += std::floor(std::ldexp(sums[i], tops[i] - top));
    const int all = std::max(top, c_exponent());
    const double t = top == -999 ? 0 : std::floor(std::ldexp(sum, top - 24 - (all - 32)));
    double kept = std::floor(std::ldexp(c, 24 - all));
    if (stride == 2 && c_exponent() < all - 25) kept = 0;
    const double v = std::ldexp(t + kept * 256, all - 32);
    if (v == 0) return 0.0;
    const int unit = std::max(std::ilogb(v), -126) - 31;
    return rounded(m.result, std::ldexp(std::floor(std::ldexp(v, -unit)), unit));
  }

  double flushed() const {
    const auto flush = [](double x) {
      const float f = static_cast<float>(x);
      return std::fabs(f) < 0x1p-126f ? std::copysign(0.0, f) : static_cast<double>(f);
    };
    const auto input = [](const Number& x) { return std::fabs(x.value) < x.smallest_normal ? 0.0 : x.value; };
    std::vector<double> p;
    for (std::size_t k = 0; k < a.size(); ++k) p.push_back(flush(input(a[k]) * input(b[k])));
    if (p.empty()) return c;
    // Sums of two binary32 numbers are exact enough in binary64 to be rounded again without harm.
    double s = p[0];
    if (p.size() > 1) s = flush(s + p[1]);
    if (p.size() == 3) s = flush(s + p[2]);
    if (p.size() == 4) s = flush(s + flush(p[2] + p[3]));
    return flush(c + s);
  }

  double run() const {
    if (m.summation == Summation::flushed) return flushed();
    Step copy = *this;
    if (m.summation == Summation::cdna3 || m.summation == Summation::cdna3_even_odd) {
      for (std::size_t k = 0; k < a.size(); ++k)
        if (std::isfinite(a[k].value) && std::isfinite(b[k].value) && std::fabs(product(k)) >= 0x1p128)
          copy.a[k].value = std::copysign(std::numeric_limits<double>::infinity(), a[k].value);
      int top = -999;
      for (std::size_t k = 0; k < a.size(); ++k)
        if (std::isfinite(product(k)) && product(k) != 0) top = std::max(top, exponent(k));
      const bool drops = m.summation == Summation::cdna3_even_odd && m.nonfinite_c == NonfiniteC::dropped;
      if (drops && !std::isfinite(c) && top > 24) copy.c = 0;
    }
    if (const double special = copy.nonfinite(); special != 0) return special;
    switch (m.summation) {
      case Summation::aligned: return aligned(c);
      case Summation::grouped: return grouped();
      case Summation::exact: {
        std::vector<double> terms{c};
        for (std::size_t k = 0; k < a.size(); ++k) terms.push_back(product(k));
        return rounded_exact_sum(m.result, terms);
      }
      default: return copy.cdna3();
    }
  }
};

inline double lowered(const Step& step) {
  Step half[2] = {{step.m, {}, {}, {}, {}, 0}, {step.m, {}, {}, {}, {}, 0}};
  for (std::size_t k = 0; k < step.a.size(); ++k) {
    Step& h = half[k % 4 >= 2 ? 1 : 0];
    h.a.push_back(step.a[k]);
    h.b.push_back(step.b[k]);
  }
  const auto one = [](const Step& h) {
    const double special = h.nonfinite();
    return special != 0 ? special : h.aligned(h.c);
  };
  const double p = one(half[0]);
  if (step.m.result.max_exponent == 15) {
    half[1].c = p;
    return rounded(rne_f16, one(half[1]) + step.c);
  }
  // Binary64 sums of two binary32 numbers, rounded to binary32, are the binary32 sums.
  const float second = static_cast<float>(p + one(half[1]));
  return static_cast<float>(step.c + static_cast<double>(second));
}

/// dot() by the rules above. Sums in ordinary arithmetic are not among them.
inline float dot(const Model& m, const std::vector<Number>& a, const std::vector<Number>& b,
                 const std::vector<Number>& scale_a, const std::vector<Number>& scale_b, float c) {
  double d = m.summation == Summation::flushed && std::fabs(c) < 0x1p-126f ? 0.0 : c;
  const std::size_t terms = m.terms == 0 ? std::max<std::size_t>(a.size(), 1) : m.terms;
  for (std::size_t k = 0; k == 0 || k < a.size(); k += terms) {
    Step step{m, {}, {}, {}, {}, d};
    for (std::size_t i = k; i < std::min(k + terms, a.size()); ++i) {
      step.a.push_back(a[i]);
      step.b.push_back(b[i]);
      if (m.scale_block == 0) continue;
      step.sa.push_back(scale_a[i / static_cast<std::size_t>(m.scale_block)]);
      step.sb.push_back(scale_b[i / static_cast<std::size_t>(m.scale_block)]);
    }
    d = m.summation == Summation::lowered ? lowered(step) : step.run();
  }
  return std::isnan(d) ? bits_float(0x7fffffffu) : static_cast<float>(d);
}

}  // namespace fp8scope::oracle
