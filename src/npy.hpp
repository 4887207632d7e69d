#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "src/import/bytes.hpp"

namespace fp8scope {

/// Element types of a .npy file that are understood.
enum class NpyType { f2, f4, f8, u1, u2, v1, v2 };

/// "<f4", "|u1", ...
std::string_view npy_descr(NpyType type);
std::size_t npy_bytes(NpyType type);

/// Reads a .npy file (versions 1, 2, 3; C order; little-endian) by parts. The file is never mapped
/// or read whole. Source: NumPy's numpy.lib.format, "NEP 1".
class NpyReader {
 public:
  /// Throws IoError if the file cannot be opened, DataError if it is no .npy file, is truncated or
  /// longer than its header says, or holds objects, a structure, Fortran order or another type.
  explicit NpyReader(const std::string& path) : NpyReader(open_bytes(path)) {}
  /// A member of an archive, or bytes in memory.
  explicit NpyReader(std::shared_ptr<const ByteSource> bytes);

  NpyType type() const { return type_; }
  const std::vector<std::int64_t>& shape() const { return shape_; }
  std::int64_t size() const { return size_; }
  /// Elements [first, first + count) as they are in the file.
  ///
  /// out  [count * npy_bytes(type())] bytes
  void read(std::int64_t first, std::int64_t count, void* out) const;
  /// Where the elements begin; they end where the file does.
  std::uint64_t offset() const { return offset_; }

 private:
  void read_header();

  std::shared_ptr<const ByteSource> bytes_;
  NpyType type_ = NpyType::f4;
  std::vector<std::int64_t> shape_;
  std::int64_t size_ = 0;
  std::uint64_t offset_ = 0;
};

/// What stands before the elements of a .npy file of version 1.0 in C order.
std::string npy_header(NpyType type, const std::vector<std::int64_t>& shape);

/// Writes a .npy file of version 1.0 in C order; it appears whole or not at all.
///
/// values  [product of shape], elements of `type` as bytes
/// Throws IoError, std::invalid_argument if the bytes do not fit the shape.
void write_npy(const std::string& path, NpyType type, const std::vector<std::int64_t>& shape,
               std::span<const std::byte> values);

}  // namespace fp8scope
