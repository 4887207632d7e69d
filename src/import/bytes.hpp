#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace fp8scope {

/// Bytes of a file or a part of one, which can be read at any place. What parsers of untrusted files
/// read from: no read leaves the range, whatever a header says.
class ByteSource {
 public:
  /// where  the beginning of every message: "'FILE'" or "'FILE': member 'NAME'"
  ByteSource(std::string where, std::uint64_t size) : where_(std::move(where)), size_(size) {}
  virtual ~ByteSource() = default;
  ByteSource(const ByteSource&) = delete;
  ByteSource& operator=(const ByteSource&) = delete;

  const std::string& where() const { return where_; }
  std::uint64_t size() const { return size_; }
  /// Bytes [offset, offset + count). Throws DataError beyond the end, IoError.
  void read(std::uint64_t offset, std::size_t count, void* out) const;
  /// The same as a string, for headers.
  std::string text(std::uint64_t offset, std::size_t count) const;

 private:
  virtual void do_read(std::uint64_t offset, std::size_t count, void* out) const = 0;

  std::string where_;
  std::uint64_t size_;
};

/// Little-endian integers in the order they are read.
class LittleEndian {
 public:
  explicit LittleEndian(std::string_view bytes) : bytes_(bytes) {}
  std::uint16_t u16() { return static_cast<std::uint16_t>(next(2)); }
  std::uint32_t u32() { return static_cast<std::uint32_t>(next(4)); }
  std::uint64_t u64() { return next(8); }
  /// Requires that many bytes left, as the integers do.
  std::string_view take(std::size_t count);
  std::size_t left() const { return bytes_.size(); }

 private:
  std::uint64_t next(std::size_t count);
  std::string_view bytes_;
};

/// A regular file, read with pread and never mapped.
/// Throws IoError if it cannot be opened or is not a regular file.
std::shared_ptr<const ByteSource> open_bytes(const std::string& path);

/// Bytes in memory, for tests. `bytes` must outlive it.
std::shared_ptr<const ByteSource> bytes_in_memory(std::span<const std::uint8_t> bytes, std::string where);

/// Bytes [offset, offset + size) of another range. Throws DataError if it is not inside.
std::shared_ptr<const ByteSource> slice_bytes(std::shared_ptr<const ByteSource> whole, std::uint64_t offset,
                                         std::uint64_t size, std::string where);

/// Codes of four bits, two in a byte with the first in the low half, as a byte each.
std::shared_ptr<const ByteSource> unpack_nibbles(std::shared_ptr<const ByteSource> packed);

/// A name out of a foreign file for a message: control characters and bytes that are no UTF-8 as
/// \xNN, and not longer than 80 characters.
std::string printable(std::string_view name);

bool is_utf8(std::string_view text);

}  // namespace fp8scope
