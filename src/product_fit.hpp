#pragma once

#include <string>
#include <vector>

#include "src/recorded_product.hpp"

namespace fp8scope {

/// What came of comparing a dump with every model and schedule.
struct ProductFits {
  std::vector<ProductModel> fits;     ///< reproduce every word
  std::vector<ProductModel> closest;  ///< if none does: those with the fewest mismatches of a sample
  std::size_t sample = 0, sample_differ = 0;  ///< words of that sample, and how many the closest miss
};

/// Every model of the table that multiplies the dumps' formats, alone and with every promotion
/// interval, every first interval and every order of scales, by which all dumps come out. Those like
/// `expected` stand first. Several dumps are several products of one kernel.
ProductFits models_that_fit(const std::vector<const RecordedProduct*>& dumps, const ProductModel& expected, bool nan_bits);

/// What is wrong with a kernel that was to compute as `expected` and computes as `found`, in words:
/// "the promotion interval is off by one step of 32 products: 160, not 128". "" if nothing.
std::string difference_text(const ProductModel& expected, const ProductModel& found);

}  // namespace fp8scope
