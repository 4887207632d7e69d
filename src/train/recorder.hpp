#pragma once

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "src/hdf5.hpp"
#include "src/train/linear.hpp"

namespace fp8scope::train {

/// What to record.
struct RecordOptions {
  std::string path;
  std::vector<std::int64_t> steps;   ///< numbers of steps whose tensors are kept, ascending
  std::vector<std::string> layers;   ///< beginnings of names, "L00.", "L03.down"; empty: all
  std::int64_t rows = 0;             ///< first rows of x and dy that are kept; 0: all
};

/// Keeps the operands of linear layers at some steps, and their largest magnitudes at every step, for a
/// trace file of schema fp8trace. Only the first micro-batch of the first rank is looked at.
class Recorder final : public Observer {
 public:
  explicit Recorder(RecordOptions options) : options_(std::move(options)) {}

  void begin_step(std::int64_t step);
  void see(const Executor& execute, const LinearShape& layer, const char* operand, const Matrix& values) override;
  /// Writes the trace. Throws IoError; UsageError if no layer matched or not all steps came.
  void write(const std::vector<h5::Attribute>& attributes) const;

 private:
  struct Kept {
    const char* operand;
    int layer_index;
    std::string layer;
    std::int64_t rows, cols, rows_total;
    std::vector<std::vector<std::uint16_t>> steps;  ///< bfloat16 bits
  };
  std::size_t slot(const std::string& name);
  void keep(const LinearShape& layer, const char* operand, const Matrix& values);

  RecordOptions options_;
  std::vector<std::int64_t> history_steps_;
  std::vector<std::string> slots_;
  std::map<std::string, std::size_t> slot_of_;
  std::vector<std::vector<float>> amax_;  ///< [steps][slots]
  std::vector<Kept> kept_;
  std::map<std::string, std::size_t> kept_of_;
  bool recording_ = false;
};

}  // namespace fp8scope::train
