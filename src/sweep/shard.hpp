#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace fp8scope {

/// Part `index` of `count` of a sweep, counted from 0.
struct Shard {
  std::uint64_t index = 0, count = 1;
};

using Environment = std::function<std::optional<std::string>(const char* name)>;

/// "3/8", the fourth of eight; "auto": as Slurm arrays, srun, mpirun (Open MPI, PMI), PBS, SGE or LSF
/// say in the environment. A step of several tasks inside an array splits its part further.
///
/// Throws UsageError, for "auto" also if nothing there tells.
Shard parse_shard(const std::string& text, const Environment& environment);

/// The environment of this process.
std::optional<std::string> process_environment(const char* name);

}  // namespace fp8scope
