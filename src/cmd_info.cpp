#include <fmt/format.h>

#include <thread>

#include "cuda/device.hpp"
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
  if (cuda::device_count() == 0) fmt::print("gpu       none: {}\n", cuda::why_none());
  for (int i = 0; i < cuda::device_count(); ++i) {
    const cuda::DeviceInfo gpu = cuda::device_info(i);
    fmt::print("gpu {:<5} {}, {}, {} multiprocessors, {} MiB, driver for CUDA {}\n", i, gpu.name,
               gpu.architecture(), gpu.multiprocessors, gpu.memory >> 20, gpu.driver);
  }
  return 0;
}

}  // namespace fp8scope
