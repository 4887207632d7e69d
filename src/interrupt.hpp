#pragma once

#include <string>

namespace fp8scope {

/// While this object lives, SIGINT, SIGTERM and SIGHUP remove a file before they end the program, with
/// exit code 128 + signal and a line on standard error. A handler that somebody else has installed, or
/// an ignored signal, is left as it is.
class RemovedOnSignal {
 public:
  /// At most 16 files at a time are watched, and names below 4096 bytes; others stay behind.
  explicit RemovedOnSignal(const std::string& path);
  ~RemovedOnSignal();
  RemovedOnSignal(const RemovedOnSignal&) = delete;
  RemovedOnSignal& operator=(const RemovedOnSignal&) = delete;

 private:
  int slot_ = -1;
};

}  // namespace fp8scope
