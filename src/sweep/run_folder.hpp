#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "src/sweep/journal.hpp"
#include "src/sweep/lock.hpp"
#include "src/sweep/plan.hpp"
#include "src/sweep/shard.hpp"

namespace fp8scope {

/// The folder of a sweep:
///
///   spec.toml  spec.sha256  plan.json   what is to be done, frozen when the sweep begins
///   journal-I-of-N.bin, .lock           what part I of N has done, written by one process at a time
///   results.h5                          published: whole or not there
class RunFolder {
 public:
  explicit RunFolder(std::string path) : path_(std::move(path)) {}

  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const;
  std::string results() const { return file("results.h5"); }
  bool is_frozen() const;

  /// What plan.json says of the trace, where it is.
  struct FrozenTrace {
    std::string path;
    InputFile identity;
    std::int64_t modified = 0;  ///< time of modification, ns: equal times and sizes spare the hash
  };
  std::optional<FrozenTrace> frozen_trace() const;

  /// Writes the plan, or compares it with the one that is there.
  /// Throws UsageError if another sweep is there, or the same one of another version of this program
  /// (unless `force`); IoError.
  void freeze(const SweepPlan& plan, const std::string& trace_path, bool force);
  /// The plan that is there. Throws IoError, DataError.
  SweepPlan frozen_plan() const;

  /// Of all parts, by name.
  std::vector<std::string> journals() const;
  std::string journal(const Shard& shard) const;
  /// The right to write the journal of a part.
  std::unique_ptr<Lock> lock(const Shard& shard) const;
  /// The right to publish; waits for others who do. Temporary files of killed ones are removed.
  std::unique_ptr<Lock> lock_results() const;

 private:
  void compare(const SweepPlan& plan, bool force) const;
  std::string path_;
};

/// Time of the last modification in ns, 0 if unknown.
std::int64_t modified_time(const std::string& path);

}  // namespace fp8scope
