#include "src/import/bytes.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "src/errors.hpp"

namespace fp8scope {

namespace {

class FileBytes : public ByteSource {
 public:
  FileBytes(int descriptor, std::uint64_t size, std::string where)
      : ByteSource(std::move(where), size), descriptor_(descriptor) {}
  ~FileBytes() override { close(descriptor_); }

 private:
  void do_read(std::uint64_t offset, std::size_t count, void* out) const override {
    auto* next = static_cast<char*>(out);
    while (count > 0) {
      const ssize_t got = pread(descriptor_, next, count, static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) throw IoError(fmt::format("{}: cannot read: {}", where(), std::strerror(errno)));
      if (got == 0) throw DataError(where() + ": the file is truncated");
      next += got, offset += static_cast<std::uint64_t>(got), count -= static_cast<std::size_t>(got);
    }
  }

  int descriptor_;
};

class MemoryBytes : public ByteSource {
 public:
  MemoryBytes(std::span<const std::uint8_t> bytes, std::string where)
      : ByteSource(std::move(where), bytes.size()), bytes_(bytes) {}

 private:
  void do_read(std::uint64_t offset, std::size_t count, void* out) const override {
    std::memcpy(out, bytes_.data() + offset, count);
  }

  std::span<const std::uint8_t> bytes_;
};

class SliceBytes : public ByteSource {
 public:
  SliceBytes(std::shared_ptr<const ByteSource> whole, std::uint64_t offset, std::uint64_t size,
             std::string where)
      : ByteSource(std::move(where), size), whole_(std::move(whole)), offset_(offset) {}

 private:
  void do_read(std::uint64_t offset, std::size_t count, void* out) const override {
    whole_->read(offset_ + offset, count, out);
  }

  std::shared_ptr<const ByteSource> whole_;
  std::uint64_t offset_;
};

class NibbleBytes : public ByteSource {
 public:
  explicit NibbleBytes(std::shared_ptr<const ByteSource> packed)
      : ByteSource(packed->where(), 2 * packed->size()), packed_(std::move(packed)) {}

 private:
  void do_read(std::uint64_t offset, std::size_t count, void* out) const override {
    const std::uint64_t first = offset / 2, last = (offset + count + 1) / 2;
    const std::string bytes = packed_->text(first, static_cast<std::size_t>(last - first));
    auto* codes = static_cast<std::uint8_t*>(out);
    for (std::uint64_t i = offset; i < offset + count; ++i) {
      const auto byte = static_cast<std::uint8_t>(bytes[static_cast<std::size_t>(i / 2 - first)]);
      *codes++ = static_cast<std::uint8_t>(i % 2 == 0 ? byte & 15u : byte >> 4);
    }
  }

  std::shared_ptr<const ByteSource> packed_;
};

/// Bytes of the UTF-8 sequence that `text` begins with; 0 if it is none.
std::size_t sequence_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
  std::uint32_t point = first & (0x7fu >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    point = point << 6 | (byte(i) & 0x3fu);
  }
  const bool overlong = point < (length == 4 ? 0x10000u : length == 3 ? 0x800u : 0x80u);
  return overlong || point > 0x10ffff || (point >= 0xd800 && point < 0xe000) ? 0 : length;
}

}  // namespace

void ByteSource::read(std::uint64_t offset, std::size_t count, void* out) const {
  if (offset > size_ || count > size_ - offset)
    throw DataError(fmt::format("{}: the file is truncated: {} bytes, byte {} was wanted", where_,
                                size_, offset + count));
  if (count > 0) do_read(offset, count, out);
}

std::string ByteSource::text(std::uint64_t offset, std::size_t count) const {
  if (offset > size_ || count > size_ - offset) read(offset, count, nullptr);  // throws
  std::string bytes(count, '\0');
  read(offset, count, bytes.data());
  return bytes;
}

std::string_view LittleEndian::take(std::size_t count) {
  const std::string_view front = bytes_.substr(0, count);
  bytes_.remove_prefix(front.size());
  return front;
}

std::uint64_t LittleEndian::next(std::size_t count) {
  std::uint64_t value = 0;
  const std::string_view bytes = take(count);
  for (std::size_t i = bytes.size(); i-- > 0;)
    value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

std::shared_ptr<const ByteSource> open_bytes(const std::string& path) {
  const std::string where = fmt::format("'{}'", path);
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) throw IoError(fmt::format("{}: cannot open: {}", where, std::strerror(errno)));
  struct stat status {};
  if (fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
    close(descriptor);
    throw IoError(where + ": cannot open: not a regular file");
  }
  return std::make_shared<FileBytes>(descriptor, static_cast<std::uint64_t>(status.st_size), where);
}

std::shared_ptr<const ByteSource> bytes_in_memory(std::span<const std::uint8_t> bytes, std::string where) {
  return std::make_shared<MemoryBytes>(bytes, std::move(where));
}

std::shared_ptr<const ByteSource> slice_bytes(std::shared_ptr<const ByteSource> whole, std::uint64_t offset,
                                         std::uint64_t size, std::string where) {
  if (offset > whole->size() || size > whole->size() - offset)
    throw DataError(fmt::format("{}: needs bytes {} to {} of {}; the file is truncated", where,
                                offset, offset + size, whole->size()));
  return std::make_shared<SliceBytes>(std::move(whole), offset, size, std::move(where));
}

std::shared_ptr<const ByteSource> unpack_nibbles(std::shared_ptr<const ByteSource> packed) {
  return std::make_shared<NibbleBytes>(std::move(packed));
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t length = sequence_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string printable(std::string_view name) {
  constexpr std::size_t longest = 80;
  std::string result;
  while (!name.empty()) {
    if (result.size() >= longest) return result + "...";
    const std::size_t length = sequence_length(name);
    const auto first = static_cast<unsigned char>(name.front());
    if (length == 0 || first < 0x20 || first == 0x7f)
      result += fmt::format("\\x{:02x}", first);
    else
      result += name.substr(0, length);
    name.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return result;
}

}  // namespace fp8scope
