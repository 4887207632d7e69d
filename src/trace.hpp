#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sim/format.hpp"
#include "src/array.hpp"
#include "src/hdf5.hpp"
#include "src/sha256.hpp"

namespace fp8scope {

/// A matrix product that reads a tensor, and the axis of [step, row, col] that it sums over. A
/// 1x128 tile lies along that axis.
struct GemmUse {
  std::string gemm;  ///< "fprop", "dgrad", "wgrad"
  int axis;          ///< 1: rows, 2: columns
  friend bool operator==(const GemmUse&, const GemmUse&) = default;
};

/// One recorded operand of one layer: the attributes of its dataset.
struct TensorInfo {
  std::string layer;    ///< group name, "L02.down"
  std::string operand;  ///< "x", "w", "dy"
  int layer_index = 0;
  std::string kind = "linear";
  std::string name_in_framework;
  std::string dtype;  ///< "bfloat16", "float16", "float32", or the torch name of raw codes
  Format format;      ///< of the stored values
  std::int64_t steps = 0, rows = 0, cols = 0;
  bool constant = false;  ///< one version stands for every step
  std::vector<GemmUse> gemms;
  std::string row_sampling = "all";  ///< "all", "first", "stride", "random"
  std::int64_t rows_total = 0;       ///< rows there were when it was recorded
  std::int64_t panel_rows = 1;       ///< rows of a chunk: panels that are multiples of it read best
  std::string sha256;                ///< of the stored bytes; "" if the file does not say
  std::string long_name;

  /// "L02.down/x", the name of its slot in the history.
  std::string name() const { return layer + "/" + operand; }
  std::int64_t size() const { return steps * rows * cols; }
};

/// Largest finite magnitude of every operand at every step, recorded steps or not.
struct AmaxHistory {
  std::vector<std::int64_t> step;  ///< [T]
  std::vector<std::string> slot;   ///< [K], "L02.down/x"
  std::vector<float> amax;         ///< [T, K]

  float at(std::size_t t, std::size_t k) const { return amax[t * slot.size() + k]; }
  /// Index of a slot or of a step number; -1 if there is none.
  std::int64_t find_slot(std::string_view name) const;
  std::int64_t find_step(std::int64_t number) const;
};

/// A recorded trace, schema fp8trace 1.x, for reading. Tensors are read by panels of rows, so they
/// may be far larger than memory. One thread at a time.
class Trace {
 public:
  /// Throws IoError if the file cannot be opened, DataError if it is not a trace or breaks its
  /// schema.
  explicit Trace(const std::string& path);

  const std::string& path() const { return path_; }
  /// Root attributes, and those of /model with "model." before their names.
  const std::vector<h5::Attribute>& attributes() const { return attributes_; }
  /// Numbers of the recorded steps, ascending.  [S]
  const std::vector<std::int64_t>& steps() const { return steps_; }
  const std::vector<TensorInfo>& tensors() const { return tensors_; }
  const AmaxHistory& history() const { return history_; }

  /// Rows [first, first + count) of a tensor at recorded step number steps()[step].
  ///
  /// tensor  index into tensors()
  /// out     [count, cols], binary32, exact
  void read_rows(std::size_t tensor, std::size_t step, std::int64_t first, std::int64_t count,
                 float* out) const;
  /// The same rows as stored.  out [count * cols] elements
  void read_stored(std::size_t tensor, std::size_t step, std::int64_t first, std::int64_t count,
                   void* out) const;
  const ElementDecoder& decoder(std::size_t tensor) const { return decoders_[tensor]; }

 private:
  void read_history(const h5::Group& root);
  void read_layer(const h5::Group& group);

  std::string path_;
  std::vector<h5::Attribute> attributes_;
  std::vector<std::int64_t> steps_;
  std::vector<TensorInfo> tensors_;
  std::vector<ElementDecoder> decoders_;
  std::vector<h5::Dataset> datasets_;
  AmaxHistory history_;
  mutable std::vector<std::byte> buffer_;
};

/// One thing that `trace verify` looked at.
struct TraceCheck {
  std::string what;  ///< "L02.down/x"
  bool good;
  std::string message;  ///< what was compared, and how it failed
};

/// Reads every tensor once: its sha256 against the attribute, its amax against the history (equal
/// where all rows are recorded, at most that otherwise).
std::vector<TraceCheck> verify(const Trace& trace);

/// Writes a trace; it appears whole or not at all.
///
///   TraceWriter w(path, steps, history, attributes);
///   const int t = w.add(info);
///   for each step, for each panel: w.write_rows(t, step, first, count, stored);
///   w.commit();
class TraceWriter {
 public:
  /// history     may be empty, and is then not written
  /// attributes  title, source, framework, created, licence, ...; names "model.X" go to /model
  /// deflate     level of compression; 0 reads three times faster and takes 2.7 times the space
  TraceWriter(const std::string& path, const std::vector<std::int64_t>& steps,
              const AmaxHistory& history, const std::vector<h5::Attribute>& attributes,
              int deflate = 1);

  /// Declares a tensor: layer, operand, dtype, rows, cols, constant, gemms and the rest are taken
  /// from `info`; steps, sha256 and panel_rows follow. dtype is "bfloat16", "float16", "float32",
  /// or the torch name of a format of at most 8 bits, stored as raw codes. Throws
  /// std::invalid_argument if the dtype is none of these.
  int add(const TensorInfo& info);

  /// Panels come in order: step by step (only step 0 of a constant tensor), rows ascending.
  ///
  /// stored  [count, cols], elements of the dtype (uint16_t bits, float, uint8_t codes)
  /// Throws std::invalid_argument out of order, IoError.
  void write_rows(int tensor, std::size_t step, std::int64_t first, std::int64_t count,
                  const void* stored);

  /// For writers that know the history only when they have seen the tensors: to be called once,
  /// before commit(), with none given to the constructor.
  void set_history(const AmaxHistory& history);

  /// A column of numbers outside of /tensors, such as the places of outliers.
  ///
  /// group  "outliers/L02.down/x"; missing groups are created
  void add_column(const std::string& group, const std::string& name,
                  const std::vector<std::int64_t>& values, const std::string& long_name);

  /// Throws IoError; std::invalid_argument if rows of a tensor are missing.
  void commit();

 private:
  struct Open {
    TensorInfo info;
    h5::Dataset dataset;
    std::int64_t written = 0;  ///< rows over all steps
    Sha256 hash;
  };
  const h5::Dataset& scale(const std::string& stem, std::int64_t size);

  h5::NewFile file_;
  std::int64_t step_count_;
  int deflate_;
  std::unique_ptr<h5::Dataset> step_scale_;
  std::vector<std::pair<std::string, std::unique_ptr<h5::Dataset>>> scales_;
  std::vector<Open> open_;
};

}  // namespace fp8scope
