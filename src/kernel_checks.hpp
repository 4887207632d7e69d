#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cuda/engine.hpp"
#include "src/trace.hpp"

namespace fp8scope {

/// A matrix that kernels are tried on, stored as one element type.
struct CheckTensor {
  std::string name;  ///< "random 256x512"
  cuda::Element element;
  std::int64_t rows, cols;
  std::vector<std::uint32_t> stored;  ///< [rows, cols] patterns
  std::vector<float> x;               ///< [rows, cols] their values

  /// The patterns in as many bytes as the type has.
  std::vector<std::byte> bytes() const;
};

/// Random tensors of a wide range of magnitudes, and the edges: every pattern of 16 bits or the
/// neighbourhood of every rounding edge; tiny, huge and not finite numbers; shapes that no block
/// divides. The same on every machine.
std::vector<CheckTensor> check_tensors();

/// One step of every operand of a trace, in the type it was recorded in.
std::vector<CheckTensor> trace_tensors(const Trace& trace);

/// What one comparison of a kernel with the emulator found.
struct CheckResult {
  std::string kernel, cast;
  std::uint64_t words = 0, differ = 0;
  std::string first;  ///< the first that differs
};

using TakeCheck = std::function<void(const CheckResult&)>;

/// A kind of kernel: a row of the table of kernel_checks(). To add one, add a row.
struct KernelCheck {
  std::string_view name;
  void (*run)(cuda::Engine& engine, std::span<const CheckTensor> tensors, const TakeCheck& take);
};

std::span<const KernelCheck> kernel_checks();

/// The conversion instruction and the fast code: every float on a GPU, a part of them on the CPU.
void check_conversions(cuda::Engine& engine, std::span<const CheckTensor> tensors, const TakeCheck& take);
/// Codes, scales and history of every recipe.
void check_recipes(cuda::Engine& engine, std::span<const CheckTensor> tensors, const TakeCheck& take);
/// Formats, roundings, overflow, random bits, block shapes, layouts that no recipe uses.
void check_casts(cuda::Engine& engine, std::span<const CheckTensor> tensors, const TakeCheck& take);
/// dequantize().
void check_values(cuda::Engine& engine, std::span<const CheckTensor> tensors, const TakeCheck& take);
/// Statistics of tensors and of casts.
void check_statistics(cuda::Engine& engine, std::span<const CheckTensor> tensors, const TakeCheck& take);

/// Products of matrices: emulated, and on Hopper by its own unit.
void check_gemms(cuda::Engine& engine, std::span<const CheckTensor> tensors, const TakeCheck& take);
/// The name of a rounding.
std::string_view rounding_word(Rounding rounding);

/// Counts the words that differ between what the emulator gave and what a kernel gave.
class WordCount {
 public:
  WordCount(std::string kernel, std::string cast) { result_.kernel = std::move(kernel), result_.cast = std::move(cast); }
  /// `what` names the words: "codes", "scale_inv".
  template <class T>
  void compare(std::string_view what, const std::vector<T>& want, const std::vector<T>& got);
  const CheckResult& result() const { return result_; }

 private:
  void differs(std::string_view what, std::size_t at, const std::string& want, const std::string& got);
  CheckResult result_;
};

}  // namespace fp8scope
