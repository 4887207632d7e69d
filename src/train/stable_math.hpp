#pragma once

#include <cmath>

#include "src/stable_log.hpp"

/// Elementary functions from the four operations of IEEE 754 and the square root: the same bits on every
/// machine, which no libm promises.
namespace fp8scope::train {

/// e^x within some units in the last place, for |x| < 700.
inline double stable_exp(double x) {
  const double n = std::nearbyint(x * 1.4426950408889634);
  const double r = x - n * 0.6931471803691238 - n * 1.9082149292705877e-10;
  double sum = 1.0;
  for (int k = 18; k >= 1; --k) sum = 1.0 + sum * r / k;
  return std::ldexp(sum, static_cast<int>(n));
}

/// Natural logarithm.
inline double stable_log(double x) { return stable_log2(x) * 0.6931471805599453; }

inline double stable_sqrt(double x) { return std::sqrt(x); }

struct Turn {
  double cosine, sine;
};

/// Cosine and sine of an angle, |angle| < 8.
inline Turn stable_turn(double angle) {
  // Taylor's series of a sixteenth of the angle, then four doublings.
  const double x = angle / 16.0, square = x * x;
  double c = 1.0, s = 1.0;
  for (int k = 20; k >= 2; k -= 2) {
    c = 1.0 - square * c / ((k - 1) * k);
    s = 1.0 - square * s / (k * (k + 1));
  }
  Turn turn{c, x * s};
  for (int i = 0; i < 4; ++i)
    turn = {turn.cosine * turn.cosine - turn.sine * turn.sine, 2.0 * turn.sine * turn.cosine};
  return turn;
}

}  // namespace fp8scope::train
