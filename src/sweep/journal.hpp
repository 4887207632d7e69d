#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace fp8scope {

/// What a process of a sweep has finished, a record for each item of the plan, in a file that only
/// grows. A record that append() returned from survives the death of the process; sync() makes it
/// survive that of the machine.
///
///   header  "fp8sjnl1", SHA-256 of the plan as 64 hexadecimal digits, CRC-32C of both
///   record  "FP8R", u32 bytes of the payload, u64 item, u32 CRC-32C of the three and the payload, payload
///
/// All numbers little-endian. Whatever lies between two good records is skipped, so a torn or damaged
/// record costs itself and nothing else.
class JournalWriter {
 public:
  /// Goes on behind the last good record of the file, or begins it. Throws IoError; DataError if the
  /// file belongs to another plan.
  JournalWriter(const std::string& path, const std::string& plan_hash);
  ~JournalWriter();
  JournalWriter(const JournalWriter&) = delete;
  JournalWriter& operator=(const JournalWriter&) = delete;

  /// One write. Throws IoError (disk full, file size limit); the file then ends in the record before.
  void append(std::uint64_t item, std::string_view payload);
  /// Throws IoError.
  void sync();
  /// Bytes of the file.
  std::uint64_t size() const { return end_; }

 private:
  void write(std::string_view bytes);

  std::string path_, buffer_;
  int descriptor_ = -1;
  std::uint64_t end_ = 0;
};

/// What a scan of a journal found.
struct JournalScan {
  std::uint64_t records = 0;
  std::uint64_t end = 0;      ///< behind the last good record
  std::uint64_t damaged = 0;  ///< bytes between good records that are none
  std::uint64_t torn = 0;     ///< bytes behind the last good record
};

/// A journal for reading; other processes may append to it meanwhile.
class Journal {
 public:
  /// Throws IoError; DataError if it is no journal or belongs to another plan.
  Journal(const std::string& path, const std::string& plan_hash);
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  /// Calls visit(item, payload, place) for every good record in order.
  JournalScan scan(const std::function<void(std::uint64_t item, std::string_view payload, std::uint64_t place)>& visit);
  /// The payload of the record at `place`. Throws DataError if it is not good any more.
  std::string_view payload(std::uint64_t place);
  const std::string& path() const { return path_; }

 private:
  struct Record {
    std::uint64_t item, bytes;  ///< of the whole record
  };
  bool good_record(std::uint64_t place, std::uint64_t size, Record& record);
  std::uint64_t next_mark(std::uint64_t from, std::uint64_t size);
  std::uint64_t read(std::uint64_t place, std::uint64_t count, char* out) const;

  std::string path_, buffer_;
  int descriptor_ = -1;
};

}  // namespace fp8scope
