#include "src/sweep/shard.hpp"

#include <fmt/format.h>

#include <cstdlib>

#include "src/errors.hpp"
#include "src/options.hpp"

namespace fp8scope {
namespace {

/// Environment variables from which a scheduler's part can be read. To add a scheduler, add a row.
struct Launcher {
  const char* name;
  const char* index;  ///< of this process
  const char* first;  ///< smallest index; nullptr: 0
  const char* step;   ///< distance of indices; nullptr: 1
  const char* count;  ///< number of processes, or nullptr ...
  const char* last;   ///< ... where the largest index tells it
  const char* present = nullptr;  ///< only where this is set as well
};

/// Jobs of an array, each a part.
constexpr Launcher arrays[] = {
    {"Slurm array", "SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_STEP", "SLURM_ARRAY_TASK_COUNT", nullptr},
    {"PBS array", "PBS_ARRAY_INDEX", "FP8SCOPE_FIRST", nullptr, "FP8SCOPE_SHARDS", nullptr},
    {"Torque array", "PBS_ARRAYID", "FP8SCOPE_FIRST", nullptr, "FP8SCOPE_SHARDS", nullptr},
    {"SGE array", "SGE_TASK_ID", "SGE_TASK_FIRST", "SGE_TASK_STEPSIZE", nullptr, "SGE_TASK_LAST"},
    {"LSF array", "LSB_JOBINDEX", "FP8SCOPE_FIRST", "LSB_JOBINDEX_STEP", nullptr, "LSB_JOBINDEX_END"},
};

/// Processes of one job, each a part of its part.
constexpr Launcher ranks[] = {
    {"Open MPI", "OMPI_COMM_WORLD_RANK", nullptr, nullptr, "OMPI_COMM_WORLD_SIZE", nullptr},
    {"srun", "SLURM_PROCID", nullptr, nullptr, "SLURM_STEP_NUM_TASKS", nullptr, "SLURM_STEP_ID"},
    {"PMI", "PMI_RANK", nullptr, nullptr, "PMI_SIZE", nullptr},
    {"MVAPICH", "MV2_COMM_WORLD_RANK", nullptr, nullptr, "MV2_COMM_WORLD_SIZE", nullptr},
};

std::optional<std::uint64_t> number(const Environment& environment, const char* name) {
  const auto text = name ? environment(name) : std::nullopt;
  if (!text) return {};
  return parse_number(*text, fmt::format("--shard auto: environment variable {}", name));
}

std::optional<Shard> part_of(const Launcher& row, const Environment& environment) {
  if (row.present && !environment(row.present)) return {};
  const auto value = environment(row.index);
  if (!value || value->empty() || *value == "undefined") return {};  // as SGE and LSF have it outside arrays
  const std::uint64_t index = *number(environment, row.index);
  const std::uint64_t step = std::max<std::uint64_t>(1, number(environment, row.step).value_or(1));
  const auto last = number(environment, row.last);
  const std::uint64_t first = number(environment, row.first).value_or(row.last ? 1 : 0);
  std::optional<std::uint64_t> count = number(environment, row.count);
  if (last && *last >= first) count = (*last - first) / step + 1;
  if (!count)
    throw UsageError(fmt::format("--shard auto: {} gives {}={} but not how many there are; set {}, and FP8SCOPE_FIRST if "
                                 "they do not count from 0, or write --shard I/N",
                                 row.name, row.index, index, row.count ? row.count : row.last));
  if (index < first || (index - first) / step >= *count)
    throw UsageError(fmt::format("--shard auto: {}={} is not among the {} from {} on of the {}", row.index, index, *count,
                                 first, row.name));
  return Shard{(index - first) / step, *count};
}

Shard shard_of_environment(const Environment& environment) {
  std::optional<Shard> job, rank;
  for (const Launcher& row : arrays)
    if (!job) job = part_of(row, environment);
  for (const Launcher& row : ranks)
    if (!rank) rank = part_of(row, environment);
  if (!job && !rank)
    throw UsageError("--shard auto: no Slurm array, srun, mpirun, PBS, SGE or LSF in the environment; write --shard I/N");
  const Shard outer = job.value_or(Shard{}), inner = rank.value_or(Shard{});
  return {outer.index * inner.count + inner.index, outer.count * inner.count};
}

}  // namespace

std::optional<std::string> process_environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? std::optional<std::string>(value) : std::nullopt;
}

Shard parse_shard(const std::string& text, const Environment& environment) {
  if (text == "auto") return shard_of_environment(environment);
  const std::size_t slash = text.find('/');
  if (slash == std::string::npos) throw UsageError(fmt::format("--shard {}: wanted I/N, such as 0/8 to 7/8, or auto", text));
  const Shard shard{parse_number(text.substr(0, slash), "--shard"), parse_number(text.substr(slash + 1), "--shard")};
  if (shard.count == 0 || shard.count > 1'000'000)
    throw UsageError(fmt::format("--shard {}: wanted 1 to 1000000 parts", text));
  if (shard.index >= shard.count)
    throw UsageError(fmt::format("--shard {}: parts count from 0: 0/{} to {}/{}", text, shard.count, shard.count - 1, shard.count));
  return shard;
}

}  // namespace fp8scope
