#include "src/sweep/journal.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "src/errors.hpp"
#include "src/sweep/crc32c.hpp"

namespace fp8scope {
namespace {

static_assert(std::endian::native == std::endian::little, "journals are little-endian");

constexpr std::string_view file_mark = "fp8sjnl1";
constexpr std::string_view record_mark = "FP8R";
constexpr std::uint64_t header_bytes = 8 + 64 + 4;
constexpr std::uint64_t head_bytes = 4 + 4 + 8 + 4;  ///< of a record
constexpr std::uint64_t most_payload = 1u << 28;

template <class T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

template <class T>
T get(const char* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

std::string header_for(const std::string& plan_hash) {
  std::string header(file_mark);
  header += plan_hash;
  put(header, crc32c(header));
  return header;
}

[[noreturn]] void fail(const std::string& path, const char* what, int error) {
  const char* hint = error == ENOSPC || error == EDQUOT ? "; free some space"
                     : error == EFBIG                   ? "; raise the file size limit (ulimit -f)"
                                                        : "";
  throw IoError(fmt::format("'{}': cannot {}: {}{}; nothing that was finished is lost, go on with --resume", path, what,
                            std::strerror(error), hint));
}

/// The CRC of a record: all of it but the CRC itself.
std::uint32_t crc_of(std::string_view head, std::string_view payload) { return crc32c(payload, crc32c(head)); }

}  // namespace

JournalWriter::JournalWriter(const std::string& path, const std::string& plan_hash) : path_(path) {
  std::signal(SIGXFSZ, SIG_IGN);  // an error to report, not a deadly signal
  descriptor_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail(path, "open the journal", errno);
  try {
    struct stat status {};
    if (fstat(descriptor_, &status) != 0) fail(path, "open the journal", errno);
    if (static_cast<std::uint64_t>(status.st_size) < header_bytes) {  // new, or killed while it was begun
      if (ftruncate(descriptor_, 0) != 0) fail(path, "write the journal", errno);
      write(header_for(plan_hash));
      return;
    }
    end_ = Journal(path, plan_hash).scan([](std::uint64_t, std::string_view, std::uint64_t) {}).end;
    if (ftruncate(descriptor_, static_cast<off_t>(end_)) != 0) fail(path, "cut the torn end off the journal", errno);
  } catch (...) {
    close(descriptor_);
    throw;
  }
}

JournalWriter::~JournalWriter() { close(descriptor_); }

void JournalWriter::append(std::uint64_t item, std::string_view payload) {
  if (payload.size() > most_payload)
    throw std::length_error(fmt::format("a record of {} bytes is too large for the journal", payload.size()));
  buffer_.assign(record_mark);
  put(buffer_, static_cast<std::uint32_t>(payload.size()));
  put(buffer_, item);
  put(buffer_, crc_of(buffer_, payload));
  buffer_ += payload;
  write(buffer_);
}

void JournalWriter::write(std::string_view bytes) {
  for (std::size_t done = 0; done < bytes.size();) {
    const ssize_t count = pwrite(descriptor_, bytes.data() + done, bytes.size() - done, static_cast<off_t>(end_ + done));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      const int error = count < 0 ? errno : ENOSPC;
      // Even if this fails the half record is recognised as such.
      [[maybe_unused]] const int ignored = ftruncate(descriptor_, static_cast<off_t>(end_));
      fail(path_, "write the journal", error);
    }
    done += static_cast<std::size_t>(count);
  }
  end_ += bytes.size();
}

void JournalWriter::sync() {
  if (fdatasync(descriptor_) != 0) fail(path_, "write the journal", errno);
}

Journal::Journal(const std::string& path, const std::string& plan_hash) : path_(path) {
  descriptor_ = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor_ < 0) throw IoError(fmt::format("'{}': cannot open: {}", path, std::strerror(errno)));
  char header[header_bytes];
  const std::uint64_t count = read(0, header_bytes, header);
  if (count < header_bytes) return;  // killed while it was begun: no records
  const std::string_view text(header, header_bytes);
  std::string message;
  if (text.substr(0, file_mark.size()) != file_mark || get<std::uint32_t>(header + 72) != crc32c(text.substr(0, 72)))
    message = fmt::format("'{}': is not a journal, or its beginning is damaged; move it away and resume", path);
  else if (text.substr(file_mark.size(), 64) != plan_hash)
    message = fmt::format("'{}': belongs to another plan; choose another -o", path);
  if (message.empty()) return;
  close(descriptor_);
  throw DataError(message);
}

Journal::~Journal() { close(descriptor_); }

/// Bytes read, fewer than `count` only at the end of the file.
std::uint64_t Journal::read(std::uint64_t place, std::uint64_t count, char* out) const {
  std::uint64_t done = 0;
  while (done < count) {
    const ssize_t got = pread(descriptor_, out + done, count - done, static_cast<off_t>(place + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw IoError(fmt::format("'{}': cannot read: {}", path_, std::strerror(errno)));
    if (got == 0) break;
    done += static_cast<std::uint64_t>(got);
  }
  return done;
}

/// Reads the record at `place` into buffer_, payload behind its head, and says whether it is good.
bool Journal::good_record(std::uint64_t place, std::uint64_t size, Record& record) {
  if (place + head_bytes > size) return false;
  buffer_.resize(head_bytes);
  if (read(place, head_bytes, buffer_.data()) < head_bytes) return false;
  if (std::string_view(buffer_).substr(0, record_mark.size()) != record_mark) return false;
  const auto payload = get<std::uint32_t>(buffer_.data() + 4);
  if (payload > most_payload || place + head_bytes + payload > size) return false;
  record = {get<std::uint64_t>(buffer_.data() + 8), head_bytes + payload};
  buffer_.resize(head_bytes + payload);
  if (read(place + head_bytes, payload, buffer_.data() + head_bytes) < payload) return false;
  const std::string_view all(buffer_);
  return get<std::uint32_t>(buffer_.data() + 16) == crc_of(all.substr(0, 16), all.substr(head_bytes));
}

/// The next place from `from` on where a record may begin; `size` if there is none.
std::uint64_t Journal::next_mark(std::uint64_t from, std::uint64_t size) {
  std::string window(1u << 16, '\0');
  for (std::uint64_t place = from; place + head_bytes <= size; place += window.size() - record_mark.size() + 1) {
    const std::uint64_t count = read(place, std::min<std::uint64_t>(window.size(), size - place), window.data());
    const std::size_t found = std::string_view(window).substr(0, count).find(record_mark);
    if (found != std::string_view::npos) return place + found;
  }
  return size;
}

JournalScan Journal::scan(
    const std::function<void(std::uint64_t item, std::string_view payload, std::uint64_t place)>& visit) {
  struct stat status {};
  if (fstat(descriptor_, &status) != 0) throw IoError(fmt::format("'{}': cannot read: {}", path_, std::strerror(errno)));
  const auto size = static_cast<std::uint64_t>(status.st_size);
  JournalScan found;
  found.end = std::min(size, header_bytes);
  for (std::uint64_t place = header_bytes; place < size;) {
    Record record{};
    if (!good_record(place, size, record)) {
      place = next_mark(place + 1, size);
      continue;
    }
    visit(record.item, std::string_view(buffer_).substr(head_bytes), place);
    found.damaged += place - found.end;
    place += record.bytes;
    found.end = place;
    ++found.records;
  }
  found.torn = size - found.end;
  return found;
}

std::string_view Journal::payload(std::uint64_t place) {
  Record record{};
  if (!good_record(place, ~std::uint64_t{0}, record))
    throw DataError(fmt::format("'{}': the record at byte {} cannot be read any more", path_, place));
  return std::string_view(buffer_).substr(head_bytes);
}

}  // namespace fp8scope
