#pragma once

#include <map>
#include <string>
#include <vector>

#include "src/train/operand.hpp"

namespace fp8scope::train {

/// Bytes that left a rank, by what they were, as sent and as they would be in BF16.
struct Traffic {
  struct Count {
    double bytes = 0.0, bf16_bytes = 0.0;
    double signal = 0.0, noise = 0.0;  ///< sums of squares of what was sent, and of its error
  };
  std::map<std::string, Count> counts;
};

/// Bytes of a row of `cols` numbers: "fp32", "bf16", or "fp8" with a binary32 scale every 128.
double row_bytes(const std::string& format, std::int64_t cols);

/// Rows that are sent in a format: cast and cast back. fp8: E4M3 1x128, power-of-two scales.
class RowExchange {
 public:
  RowExchange(std::string what, std::string format);

  /// Casts every row (as a library casts before it knows where a row goes), counts the rows that
  /// leave their rank.
  ///
  /// leaving  rows among x that go to another rank; -1: not counted, nothing but the cast
  void send(const Executor& execute, const Matrix& x, std::int64_t leaving, Matrix& received);

  /// What was sent since the traffic was last taken.
  const std::string& what() const { return what_; }
  Traffic::Count& count() { return count_; }

 private:
  std::string what_, format_;
  OperandCast cast_;
  Traffic::Count count_;
};

/// Sum over ranks of their gradients, divided by the ranks, by a ring: every rank's part is cast before
/// it is sent, sums are binary32 in the order of the ranks, and the result is cast again for the way
/// back. fp8: E4M3, one power-of-two scale per tensor from the largest magnitude of all ranks.
///
/// gradients  [ranks][n]; the mean ends in gradients[0]
/// bounds     where tensors begin, and n
void all_reduce(const Executor& execute, const std::string& format, std::vector<std::vector<float>>& gradients,
                const std::vector<std::size_t>& bounds, Traffic::Count& count);

}  // namespace fp8scope::train
