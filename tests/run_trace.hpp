#pragma once

#include <gtest/gtest.h>

#include "src/command.hpp"

namespace fp8scope {

/// Runs 'fp8scope trace WORDS...' without its output; what it throws passes through.
///
/// notes  receives the standard error; may be null
inline int run_trace_quietly(const Args& words, std::string* notes = nullptr) {
  struct Capture {
    Capture() { testing::internal::CaptureStdout(), testing::internal::CaptureStderr(); }
    ~Capture() {
      testing::internal::GetCapturedStdout();
      const std::string err = testing::internal::GetCapturedStderr();
      if (notes) *notes = err;
    }
    std::string* notes = nullptr;
  } capture;
  capture.notes = notes;
  return run_trace(words);
}

}  // namespace fp8scope
