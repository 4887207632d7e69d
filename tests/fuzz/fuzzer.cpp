// One libFuzzer program for every target: the name of the program says which.
#include <cstdlib>
#include <string_view>

#include "tests/fuzz/targets.hpp"

extern "C" const char* __lsan_default_suppressions() { return "leak:libhdf5"; }

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const fp8scope::fuzz::Target* const target = [] {
    for (const auto& row : fp8scope::fuzz::targets())
      if (row.name == std::string_view(FP8SCOPE_FUZZ_TARGET)) return &row;
    std::abort();
  }();
  target->run({data, size});
  return 0;
}
