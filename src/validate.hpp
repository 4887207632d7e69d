#pragma once

#include <array>

#include "src/product_fit.hpp"
#include "src/options.hpp"

namespace fp8scope {

/// How a dump differs from a model.
struct Verdict {
  std::size_t differ = 0;
  std::array<std::uint64_t, 8> ulps{};  ///< 1, 2, 3-4, 5-8, 9-64, 65-1024, more, not finite
};

/// Compares and prints the first words that differ.
Verdict compare_and_print(const RecordedProduct& dump, const ProductModel& model, bool nan_bits);

/// Prints how far the words are apart.
void print_ulps(const Verdict& verdict);

/// Prints which models and schedules would give no mismatch, and what that says about the kernel.
void print_fits(const std::vector<const RecordedProduct*>& dumps, const ProductModel& expected, bool nan_bits);

/// --model, --promote and --order as asked for, with these defaults.
/// Throws UsageError, or what parse_model() throws.
Schedule schedule_of(const Options& options, std::size_t promote, std::string_view order);

/// A product of a shared library against the emulator: the exit code.
int validate_kernel(const Options& options);

/// A quantiser of a shared library against a recipe: the exit code.
int validate_quantizer(const Options& options);

}  // namespace fp8scope
