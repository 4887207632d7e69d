#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <array>

#include "src/errors.hpp"
#include "src/import/zip.hpp"

namespace fp8scope {

namespace {

std::string member_name(const ByteSource& archive, const ZipMember& member) {
  return fmt::format("{}: member '{}'", archive.where(), printable(member.name));
}

/// Follows reads from the beginning to the end and compares the checksum there.
class Checksum {
 public:
  explicit Checksum(const ZipMember& member) : want_(member.crc), size_(member.size) {}

  void add(std::uint64_t offset, std::size_t count, const void* bytes, const std::string& where) {
    if (offset != next_) return;
    const auto* data = static_cast<const Bytef*>(bytes);
    for (std::size_t done = 0; done < count;) {
      const std::size_t part = std::min<std::size_t>(count - done, std::size_t{1} << 30);
      crc_ = crc32(crc_, data + done, static_cast<uInt>(part));
      done += part;
    }
    next_ += count;
    if (next_ == size_ && static_cast<std::uint32_t>(crc_) != want_)
      throw DataError(fmt::format("{}: its checksum is {:08x}, the archive says {:08x}; copy it again",
                                  where, crc_, want_));
  }

 private:
  std::uint32_t want_;
  std::uint64_t size_, next_ = 0;
  uLong crc_ = crc32(0, nullptr, 0);
};

class StoredMember : public ByteSource {
 public:
  StoredMember(std::shared_ptr<const ByteSource> archive, const ZipMember& member)
      : ByteSource(member_name(*archive, member), member.size), archive_(std::move(archive)),
        offset_(member.offset), checksum_(member) {}

 private:
  void do_read(std::uint64_t offset, std::size_t count, void* out) const override {
    archive_->read(offset_ + offset, count, out);
    checksum_.add(offset, count, out, where());
  }

  std::shared_ptr<const ByteSource> archive_;
  std::uint64_t offset_;
  mutable Checksum checksum_;
};

/// Inflates as it is read; never holds more than two small buffers.
class DeflatedMember : public ByteSource {
 public:
  DeflatedMember(std::shared_ptr<const ByteSource> archive, const ZipMember& member)
      : ByteSource(member_name(*archive, member), member.size), archive_(std::move(archive)),
        member_(member), checksum_(member) {
    if (inflateInit2(&stream_, -MAX_WBITS) != Z_OK) throw std::bad_alloc();
  }
  ~DeflatedMember() override { inflateEnd(&stream_); }

 private:
  void do_read(std::uint64_t offset, std::size_t count, void* out) const override {
    if (offset < position_) restart();
    std::array<char, 16384> skipped;
    while (position_ < offset)
      produce(static_cast<std::size_t>(std::min<std::uint64_t>(skipped.size(), offset - position_)),
              skipped.data());
    produce(count, static_cast<char*>(out));
    if (position_ == size()) require_end();
  }

  void restart() const {
    inflateReset(&stream_);
    stream_.avail_in = 0, taken_ = 0, position_ = 0;
  }

  [[noreturn]] void fail(const char* what) const {
    throw DataError(fmt::format("{}: {}; the archive is damaged, copy it again", where(), what));
  }

  void refill() const {
    const auto count = static_cast<std::size_t>(
        std::min<std::uint64_t>(input_.size(), member_.compressed - taken_));
    archive_->read(member_.offset + taken_, count, input_.data());
    taken_ += count;
    stream_.next_in = input_.data(), stream_.avail_in = static_cast<uInt>(count);
  }

  /// The next `count` bytes.
  void produce(std::size_t count, char* out) const {
    for (std::size_t done = 0; done < count;) {
      const std::size_t part = std::min<std::size_t>(count - done, std::size_t{1} << 30);
      stream_.next_out = reinterpret_cast<Bytef*>(out + done);
      stream_.avail_out = static_cast<uInt>(part);
      while (stream_.avail_out > 0) {
        if (stream_.avail_in == 0) refill();
        const int result = inflate(&stream_, Z_NO_FLUSH);
        if (result == Z_STREAM_END && stream_.avail_out > 0) fail("holds less than it declares");
        if (result == Z_BUF_ERROR && stream_.avail_in == 0) fail("breaks off");
        if (result != Z_OK && result != Z_STREAM_END) fail("does not inflate");
      }
      checksum_.add(position_, part, out + done, where());
      position_ += part, done += part;
    }
  }

  /// After the last byte the stream must be at its end, and so must its compressed bytes.
  void require_end() const {
    Bytef more = 0;
    stream_.next_out = &more, stream_.avail_out = 1;
    int result = Z_OK;
    while (result == Z_OK && stream_.avail_out > 0) {
      if (stream_.avail_in == 0) refill();
      result = inflate(&stream_, Z_NO_FLUSH);
    }
    if (stream_.avail_out == 0) fail("holds more than it declares");
    if (result != Z_STREAM_END || stream_.avail_in > 0 || taken_ != member_.compressed)
      fail("does not end where it should");
  }

  std::shared_ptr<const ByteSource> archive_;
  ZipMember member_;
  mutable Checksum checksum_;
  mutable z_stream stream_{};
  mutable std::array<Bytef, 65536> input_;
  mutable std::uint64_t taken_ = 0;     ///< compressed bytes read
  mutable std::uint64_t position_ = 0;  ///< bytes produced
};

}  // namespace

std::shared_ptr<const ByteSource> open_member(std::shared_ptr<const ByteSource> archive,
                                         const ZipMember& member) {
  if (member.deflated) return std::make_shared<DeflatedMember>(std::move(archive), member);
  return std::make_shared<StoredMember>(std::move(archive), member);
}

}  // namespace fp8scope
