#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <new>

#include "src/hdf5_library.hpp"

namespace fp8scope::h5 {

namespace {

constexpr int deepest_group = 32;  // hard links can form a cycle
constexpr std::int64_t data_budget = std::int64_t{256} << 20;
constexpr unsigned wall_seconds_per_cpu_second = 30;  // a busy machine, a slow disk
constexpr int out_of_memory = 3;

/// Touches what a reader may touch. What it throws is for the reader to find again.
class Walker {
 public:
  void walk(const Group& group, int depth) {
    static_cast<void>(group.attributes());
    if (depth > deepest_group) return;
    for (const Entry& entry : group.entries(Group::Links::skip)) try {
        if (entry.is_group)
          walk(group.group(entry.name), depth + 1);
        else
          read(group.dataset(entry.name));
      } catch (const std::bad_alloc&) {
        throw;
      } catch (const std::exception&) {
      }
  }

 private:
  void read(const Dataset& dataset) {
    static_cast<void>(dataset.attributes());
    if (dataset.type() == Type::text) {
      static_cast<void>(dataset.values<std::string>());
      return;
    }
    std::int64_t bytes = 0;
    if (__builtin_mul_overflow(element_count(dataset.shape()),
                               static_cast<std::int64_t>(type_bytes(dataset.type())), &bytes) ||
        bytes > budget_)
      return;
    budget_ -= bytes;
    std::vector<std::byte> buffer(static_cast<std::size_t>(bytes));
    if (bytes > 0) dataset.read(Shape(dataset.shape().size(), 0), dataset.shape(), buffer.data());
  }

  // Beyond it only metadata are read; the checksum of a chunk stands before its decompression.
  std::int64_t budget_ = data_budget;
};

std::uintmax_t file_bytes(const std::string& path) {
  std::error_code error;
  const std::uintmax_t bytes = std::filesystem::file_size(path, error);
  return error ? 0 : bytes;
}

/// Generous: the budget is read in a second, metadata at more than 100 MB/s.
rlim_t cpu_seconds(const std::string& path) { return 5 + (file_bytes(path) >> 26); }

/// What the process already maps, and room for the budget, a chunk and the library's own copies.
rlim_t address_space(const std::string& path) {
  std::ifstream file("/proc/self/statm");
  rlim_t pages = 0;
  if (!(file >> pages)) return RLIM_INFINITY;
  return pages * static_cast<rlim_t>(sysconf(_SC_PAGESIZE)) + (rlim_t{4} << 30) + file_bytes(path);
}

void limit(__rlimit_resource resource, rlim_t value) {
  const rlimit both{value, value};
  setrlimit(resource, &both);
}

[[noreturn]] void walk_in_child(const std::string& path) {
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_CPU, cpu_seconds(path));
  limit(RLIMIT_AS, address_space(path));
  std::signal(SIGALRM, SIG_DFL);
  alarm(static_cast<unsigned>(cpu_seconds(path)) * wall_seconds_per_cpu_second);
  const int silent = open("/dev/null", O_WRONLY);
  dup2(silent, STDOUT_FILENO), dup2(silent, STDERR_FILENO);
  for (const int fatal : {SIGSEGV, SIGABRT, SIGBUS, SIGFPE}) std::signal(fatal, SIG_DFL);
  try {
    Walker().walk(open_unguarded(path), 0);
  } catch (const std::bad_alloc&) {
    _exit(out_of_memory);
  } catch (const std::exception&) {
  }
  _exit(0);
}

}  // namespace

void try_in_child(const std::string& path) {
  const pid_t child = fork();
  if (child == 0) walk_in_child(path);
  if (child < 0)
    throw IoError(
        fmt::format("'{}': cannot start a process to check it: {}", path, std::strerror(errno)));
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
  if (WIFEXITED(status) && WEXITSTATUS(status) == out_of_memory)
    throw DataError(fmt::format("'{}': is damaged: reading it needs more memory than it can hold; "
                                "copy it again", path));
  // The limit on CPU time kills with SIGKILL, because the hard limit equals the soft one.
  const bool hung =
      WIFSIGNALED(status) && (WTERMSIG(status) == SIGKILL || WTERMSIG(status) == SIGXCPU ||
                              WTERMSIG(status) == SIGALRM);
  throw DataError(fmt::format("'{}': is damaged: the HDF5 library {} reading it; copy it again",
                              path, hung ? "did not come to an end" : "crashed"));
}

}  // namespace fp8scope::h5
