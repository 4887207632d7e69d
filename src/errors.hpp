#pragma once

#include <stdexcept>
#include <string>

namespace fp8scope {

/// The exit codes of the program. A script may rely on them.
enum class Exit : int {
  ok = 0,
  differs = 1,       ///< a comparison found a difference, a threshold was exceeded
  usage = 2,         ///< a wrong command line or specification file
  bad_data = 3,      ///< an input file that is not what it should be
  io = 4,            ///< the system refused: disk full, permission, no such file
  internal = 5,      ///< a fault of this program
  skipped = 77,      ///< what was asked for needs something this machine lacks, a GPU for instance
  interrupted = 130, ///< stopped by a signal
};

/// The text without control characters: names out of foreign files may hold line feeds and escape
/// sequences for the terminal.
inline std::string one_line(std::string text) {
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == '\x7f') c = ' ';
  return text;
}

/// An error with the exit code it leads to. The message is one line: what, where, what to do.
class Error : public std::runtime_error {
 public:
  Error(Exit code, const std::string& message)
      : std::runtime_error(one_line(message)), code_(code) {}
  Exit code() const { return code_; }

 private:
  Exit code_;
};

struct UsageError : Error {
  explicit UsageError(const std::string& message) : Error(Exit::usage, message) {}
};
struct DataError : Error {
  explicit DataError(const std::string& message) : Error(Exit::bad_data, message) {}
};
struct IoError : Error {
  explicit IoError(const std::string& message) : Error(Exit::io, message) {}
};
struct SkippedError : Error {
  explicit SkippedError(const std::string& message) : Error(Exit::skipped, message) {}
};
struct InterruptedError : Error {
  explicit InterruptedError(const std::string& message) : Error(Exit::interrupted, message) {}
};

}  // namespace fp8scope
