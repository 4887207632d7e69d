#include <fmt/format.h>

#include <thread>

#include "sim/simd/isa.hpp"
#include "src/command.hpp"
#include "src/hdf5.hpp"
#include "src/options.hpp"
#include "src/version.hpp"

namespace fp8scope {

int run_info(const Args& args) {
  Options options("info", "");
  if (!options.parse(args)) return 0;
  fmt::print("fp8scope  {}\n", version);
  fmt::print("commit    {}\n", git_commit);
  fmt::print("compiler  {}, {}\n", compiler, build_type);
  fmt::print("threads   {}\n", std::thread::hardware_concurrency());
  fmt::print("isa      ");
  for (const Isa each : supported_isas()) fmt::print(" {}", isa_name(each));
  fmt::print(" (in use: {})\n", isa_name(isa()));
  fmt::print("hdf5      {}\n", h5::library_version());
  fmt::print("cuda      {}\n", cuda_build);
  return 0;
}

}  // namespace fp8scope
