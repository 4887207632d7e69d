#pragma once

#include <string>

namespace fp8scope {

/// Who holds a lock.
struct LockOwner {
  std::string host, job;
  long pid = 0;
};

/// The right to write one file of a run folder, held by one process at a time on all machines that share
/// the folder.
///
/// It is a file with the owner in it and flock() on it. flock() ends with the process, so what a killed
/// one left is taken over. Where the file system has no flock() the file alone decides: it is taken
/// over from a dead process of this machine, or from the same Slurm job and task after a requeue.
class Lock {
 public:
  /// Throws IoError that names the owner if another process still holds it after `wait_seconds`, or if it
  /// cannot be created.
  explicit Lock(const std::string& path, const std::string& what, double wait_seconds = 0.0);
  ~Lock();
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

 private:
  std::string path_;
  int descriptor_ = -1;
};

/// This process. `job` is "" outside a batch system.
LockOwner this_process();

}  // namespace fp8scope
