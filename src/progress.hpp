#pragma once

#include <unistd.h>

#include <cstdint>
#include <cstdio>

namespace fp8scope {

/// A progress bar on standard error, if that is a terminal.
class Progress {
 public:
  Progress(const char* what, std::uint64_t total, bool wanted)
      : what_(what), total_(total), shown_(wanted && isatty(STDERR_FILENO)) {}
  ~Progress() {
    if (shown_) std::fputs("\r\033[K", stderr);
  }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void add(std::uint64_t amount) {
    done_ += amount;
    const auto percent = total_ > 0 ? static_cast<int>(done_ * 100 / total_) : 100;
    if (!shown_ || percent == percent_) return;
    percent_ = percent;
    std::fprintf(stderr, "\r%s %3d %% [%-25.*s]", what_, percent, percent / 4,
                 "#########################");
    std::fflush(stderr);
  }

 private:
  const char* what_;
  std::uint64_t total_, done_ = 0;
  int percent_ = -1;
  bool shown_;
};

}  // namespace fp8scope
