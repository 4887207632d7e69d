#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "src/hdf5.hpp"
#include "src/import/bytes.hpp"

namespace fp8scope {

/// What the elements of a foreign tensor are: a stored type, and the format of codes.
struct Element {
  h5::Type type = h5::Type::other;
  std::string encoding;  ///< torch name of the format that 8- or 16-bit codes have; "" otherwise
  std::string name;      ///< as the file or the user calls it, for messages

  /// Whether it is a floating-point number and all that is known to read it.
  bool known() const;
};

/// "bf16", "float32", "e4m3", "float8_e5m2", "F8_E4M3", ... Throws UsageError.
Element parse_element(std::string_view name);

/// One tensor of a foreign file, row-major and little-endian.
struct SourceTensor {
  std::string file;
  std::string name;  ///< in the file; "" where a file is one tensor
  Element element;
  std::vector<std::int64_t> shape;
  std::shared_ptr<const ByteSource> data;  ///< the elements and nothing else

  /// "'FILE': tensor 'NAME'", the beginning of every message about it.
  std::string where() const;
  /// Whether another tensor, of scales, has the name of this one with an ending.
  std::string full_name() const;
};

/// How to read files that do not say what they hold.
struct SourceOptions {
  std::string dtype;                ///< of raw files, and of 8- and 16-bit elements without meaning
  std::vector<std::int64_t> shape;  ///< of raw files
  std::uint64_t offset = 0;         ///< where the elements of a raw file begin
  /// Largest ratio of inflated to deflated bytes of a member of more than 64 MiB.
  std::uint64_t most_inflation = 200;
};

/// All tensors of a file, which its name's ending says how to read: .safetensors, .npz, .npy, and
/// anything else as raw elements of options.shape and options.dtype.
///
/// Throws UsageError, IoError, DataError.
std::vector<SourceTensor> open_source(const std::string& path, const SourceOptions& options);

/// The same of files in memory, for tests.
std::vector<SourceTensor> safetensors_source(std::shared_ptr<const ByteSource> file,
                                             const SourceOptions& options);
std::vector<SourceTensor> npz_source(std::shared_ptr<const ByteSource> file, const SourceOptions& options);
std::vector<SourceTensor> npy_source(std::shared_ptr<const ByteSource> file, const SourceOptions& options);

}  // namespace fp8scope
