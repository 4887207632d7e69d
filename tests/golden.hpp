#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <optional>
#include <string>

#include "src/hdf5.hpp"

namespace fp8scope {

/// The root of a file of golden vectors, or nothing where they are not at hand.
inline std::optional<h5::Group> open_golden(const std::string& name) {
  const std::string path = std::string(FP8SCOPE_GOLDEN) + "/" + name;
  if (!std::filesystem::exists(path)) return std::nullopt;
  return h5::open_file(path, false);
}

}  // namespace fp8scope

/// Declares `variable`, the root of a golden file, or skips the test and says why.
#define FP8SCOPE_OPEN_GOLDEN(variable, name)                                              \
  const auto variable##_file = ::fp8scope::open_golden(name);                             \
  if (!variable##_file) GTEST_SKIP() << name << " is not in " << FP8SCOPE_GOLDEN;         \
  const ::fp8scope::h5::Group& variable = *variable##_file

/// The same for a test that opens the file by its name.
#define FP8SCOPE_NEED_GOLDEN(name) \
  if (!::fp8scope::open_golden(name)) GTEST_SKIP() << name << " is not in " << FP8SCOPE_GOLDEN
