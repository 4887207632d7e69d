#include "src/sweep/lock.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <thread>

#include "src/errors.hpp"

namespace fp8scope {
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

LockOwner read_owner(const std::string& path) {
  LockOwner owner;
  std::ifstream file(path);
  std::string key;
  while (file >> key) {
    if (key == "host") file >> owner.host;
    if (key == "pid") file >> owner.pid;
    if (key == "job") file >> owner.job;
  }
  return owner;
}

bool is_dead(const LockOwner& owner) {
  const LockOwner self = this_process();
  if (!owner.job.empty() && owner.job == self.job && owner.pid != self.pid) return true;  // requeued
  return owner.host == self.host && owner.pid > 0 && kill(static_cast<pid_t>(owner.pid), 0) != 0 && errno == ESRCH;
}

[[noreturn]] void refuse(const std::string& path, const std::string& what, bool by_file_alone) {
  const LockOwner owner = read_owner(path);
  throw IoError(fmt::format("{}: process {} on {}{} is at work on it; wait for it, or stop it and resume{}", what,
                            owner.pid, owner.host.empty() ? "another machine" : owner.host,
                            owner.job.empty() ? "" : fmt::format(" (job {})", owner.job),
                            by_file_alone ? fmt::format("; if it is gone, remove '{}'", path) : ""));
}

}  // namespace

LockOwner this_process() {
  LockOwner self;
  char name[256] = {};
  self.host = gethostname(name, sizeof name - 1) == 0 && name[0] ? name : "unknown";
  self.pid = getpid();
  const std::string array = environment("SLURM_ARRAY_JOB_ID"), task = environment("SLURM_ARRAY_TASK_ID");
  self.job = array.empty() ? environment("SLURM_JOB_ID") : array + "_" + task;
  if (self.job.empty()) self.job = environment("PBS_JOBID");
  if (const std::string rank = environment("SLURM_STEP_ID").empty() ? "" : environment("SLURM_PROCID");
      !self.job.empty() && !rank.empty())
    self.job += "." + rank;
  return self;
}

Lock::Lock(const std::string& path, const std::string& what, double wait_seconds) : path_(path) {
  struct stat status {};
  const bool existed = stat(path.c_str(), &status) == 0;
  descriptor_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor_ < 0) throw IoError(fmt::format("{}: cannot create its lock: {}", what, std::strerror(errno)));
  try {
    int refused = flock(descriptor_, LOCK_EX | LOCK_NB);
    for (double waited = 0.0; refused != 0 && errno == EWOULDBLOCK && waited < wait_seconds; waited += 0.05) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      refused = flock(descriptor_, LOCK_EX | LOCK_NB);
    }
    if (refused != 0) {
      if (errno == EWOULDBLOCK) refuse(path, what, false);
      if (existed && read_owner(path).pid != 0 && !is_dead(read_owner(path))) refuse(path, what, true);
    }
    const LockOwner self = this_process();
    const std::string text = fmt::format("host {}\npid {}\n{}", self.host, self.pid,
                                         self.job.empty() ? "" : fmt::format("job {}\n", self.job));
    if (ftruncate(descriptor_, 0) != 0 || pwrite(descriptor_, text.data(), text.size(), 0) < 0)
      throw IoError(fmt::format("{}: cannot write its lock: {}", what, std::strerror(errno)));
  } catch (...) {
    close(descriptor_);
    throw;
  }
}

Lock::~Lock() {
  // Emptied, not removed: a process that waits for the same name must not end up with another file.
  [[maybe_unused]] const int ignored = ftruncate(descriptor_, 0);
  close(descriptor_);
}

}  // namespace fp8scope
