#include "src/kernel_process.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "src/errors.hpp"
#include "src/kernel_abi.h"

namespace fp8scope {
namespace {

constexpr int filling = 0xa5, other_filling = 0x5a;  // differ in every bit: a word that keeps both was never written

/// What the child tells: how far it is, and what its function returned.
struct Report {
  enum Stage : int { loading, calling, done, no_library, no_symbol };
  int stage, returned;
  char message[512];
};

/// The function, or a report why there is none.
AnyFunction load(const KernelName& kernel, const KernelCall& call, Report* report) {
  report->stage = Report::loading;
  if (kernel.library == "builtin") {
    const auto function = call.builtin(kernel.symbol);
    if (function == nullptr) {
      std::snprintf(report->message, sizeof(report->message), "builtin are %s", call.builtins().c_str());
      report->stage = Report::no_symbol;
    }
    return function;
  }
  // Without a slash the loader would look in its own folders only.
  const std::string path = std::filesystem::absolute(kernel.library).string();
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  const auto fail = [&](Report::Stage stage) -> AnyFunction {
    const char* reason = dlerror();
    std::snprintf(report->message, sizeof(report->message), "%s", reason ? reason : "unknown reason");
    report->stage = stage;
    return nullptr;
  };
  if (library == nullptr) return fail(Report::no_library);
  void* symbol = dlsym(library, kernel.symbol.c_str());
  if (symbol == nullptr) return fail(Report::no_symbol);
  return reinterpret_cast<AnyFunction>(symbol);
}

[[noreturn]] void child(const KernelName& kernel, const KernelCall& call, int commands, int answers, Report* report) {
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);
  for (const int fatal : {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGTERM, SIGINT}) signal(fatal, SIG_DFL);
  dup2(STDERR_FILENO, STDOUT_FILENO);  // what the kernel prints must not mix with the table
  const auto function = load(kernel, call, report);
  for (char go; read(commands, &go, 1) == 1;) {
    if (function != nullptr) {
      report->stage = Report::calling;
      report->returned = call.invoke(function);
      report->stage = Report::done;
    }
    if (write(answers, &go, 1) != 1) break;
  }
  _exit(0);
}

class Pipe {
 public:
  Pipe() {
    if (pipe2(ends_, O_CLOEXEC) != 0) throw IoError(fmt::format("cannot make a pipe: {}", std::strerror(errno)));
  }
  ~Pipe() { close_reading(), close_writing(); }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  int reading() const { return ends_[0]; }
  int writing() const { return ends_[1]; }
  void close_reading() { close_end(ends_[0]); }
  void close_writing() { close_end(ends_[1]); }

 private:
  static void close_end(int& end) {
    if (end >= 0) close(end);
    end = -1;
  }
  int ends_[2];
};

/// A child process that calls the kernel for one case, as often as asked.
class KernelProcess {
 public:
  KernelProcess(const KernelName& kernel, KernelCall& call, unsigned seconds)
      : kernel_(kernel), call_(call), seconds_(seconds), shared_(sizeof(Report)) {
    std::memset(report(), 0, sizeof(Report));
    std::fflush(nullptr);
    pid_ = fork();
    if (pid_ < 0) throw IoError(fmt::format("cannot start a process for the kernel: {}", std::strerror(errno)));
    if (pid_ == 0) {
      commands_.close_writing(), answers_.close_reading();
      setpgid(0, 0);
      child(kernel, call, commands_.reading(), answers_.writing(), report());
    }
    commands_.close_reading(), answers_.close_writing();
  }
  ~KernelProcess() { end(); }

  /// The outputs after one call, filled with `byte` before. Throws as call_twice().
  std::vector<std::vector<std::byte>> outputs_after(int byte) {
    for (GuardedMemory* output : call_.outputs()) output->set(byte);
    wait_for_answer();
    judge_answer();
    std::vector<std::vector<std::byte>> bytes;
    for (const GuardedMemory* output : call_.outputs()) {
      const auto* data = static_cast<const std::byte*>(output->data());
      bytes.emplace_back(data, data + output->size());
    }
    return bytes;
  }
  bool supported() const { return report()->returned != FP8SCOPE_UNSUPPORTED; }

 private:
  Report* report() const { return static_cast<Report*>(shared_.data()); }

  std::string where() const {
    return fmt::format("{}:{}, {}", kernel_.library, kernel_.symbol, call_.name());
  }

  void wait_for_answer() {
    const auto old = signal(SIGPIPE, SIG_IGN);
    const char go = 'g';
    const bool sent = write(commands_.writing(), &go, 1) == 1;
    signal(SIGPIPE, old);
    pollfd answer{answers_.reading(), POLLIN, 0};
    int ready = 1;
    if (sent) {
      do ready = poll(&answer, 1, static_cast<int>(seconds_ * 1000));
      while (ready < 0 && errno == EINTR);
    }
    char back;
    if (ready > 0 && read(answers_.reading(), &back, 1) == 1) return;
    const int status = end();
    if (ready == 0)
      throw DataError(fmt::format("{}: the kernel did not return within {} s (--time-limit)", where(), seconds_));
    if (WIFSIGNALED(status))
      throw DataError(fmt::format("{}: the kernel crashed with signal {} ({}){}", where(), WTERMSIG(status),
                                  strsignal(WTERMSIG(status)), reason(WTERMSIG(status))));
    throw DataError(fmt::format("{}: the kernel ended its process with exit code {}", where(), WEXITSTATUS(status)));
  }

  static const char* reason(int number) {
    return number == SIGSEGV ? "; inputs are read-only and every array ends at a page that is not there" : "";
  }

  void judge_answer() const {
    const Report& r = *report();
    if (r.stage == Report::no_library) throw IoError(fmt::format("cannot load the kernel's library: {}", r.message));
    if (r.stage == Report::no_symbol) throw IoError(fmt::format("cannot find the kernel: {}", r.message));
    if (r.returned == FP8SCOPE_NO_DEVICE)
      throw SkippedError(fmt::format("{}:{}: skipped: the kernel says that there is no device for it", kernel_.library, kernel_.symbol));
    if (r.returned != FP8SCOPE_OK && r.returned != FP8SCOPE_UNSUPPORTED)
      throw DataError(fmt::format("{}: the kernel failed and returned {}", where(), r.returned));
  }

  /// Ends the child and returns its status.
  int end() {
    if (pid_ <= 0) return 0;
    commands_.close_writing();
    int status = 0;
    // A child that still lives is stuck in the kernel, or leaves when the pipe closes.
    for (int tries = 0; tries < 40; ++tries) {
      if (waitpid(pid_, &status, WNOHANG) == pid_) return pid_ = 0, status;
      usleep(5000);
    }
    kill(-pid_, SIGKILL), kill(pid_, SIGKILL);
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = 0;
    return status;
  }

  KernelName kernel_;
  KernelCall& call_;
  unsigned seconds_;
  GuardedMemory shared_;
  Pipe commands_, answers_;
  pid_t pid_ = 0;
};

}  // namespace

GuardedMemory::GuardedMemory(std::size_t bytes) : bytes_(bytes) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  pages_ = (bytes + page - 1) / page * page;
  base_ = mmap(nullptr, pages_ + page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (base_ == MAP_FAILED) throw IoError(fmt::format("cannot get {} bytes of memory: {}", bytes, std::strerror(errno)));
  mprotect(static_cast<std::byte*>(base_) + pages_, page, PROT_NONE);
  all_ = pages_ + page;
}

GuardedMemory::~GuardedMemory() { munmap(base_, all_); }
void GuardedMemory::fill(const void* from) { std::memcpy(data(), from, bytes_); }
void GuardedMemory::set(int byte) { std::memset(data(), byte, bytes_); }
void GuardedMemory::forbid_writing() { mprotect(base_, pages_, PROT_READ); }

KernelName parse_kernel_name(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == text.size())
    throw UsageError(fmt::format("--kernel {}: wanted LIBRARY.so:FUNCTION", text));
  return {text.substr(0, colon), text.substr(colon + 1)};
}

std::vector<std::uint32_t> WrittenTwice::words_of(const std::vector<std::byte>& bytes, int width) {
  std::vector<std::uint32_t> words(bytes.size() / static_cast<std::size_t>(width));
  for (std::size_t i = 0; i < words.size(); ++i)
    std::memcpy(&words[i], bytes.data() + i * static_cast<std::size_t>(width), static_cast<std::size_t>(width));  // little-endian
  return words;
}

std::size_t WrittenTwice::unwritten(int width) const {
  const auto size = static_cast<std::size_t>(width);
  std::size_t n = 0;
  for (std::size_t i = 0; i + size <= first.size(); i += size) {
    bool kept = true;
    for (std::size_t b = i; b < i + size; ++b) kept &= first[b] == std::byte{filling} && again[b] == std::byte{other_filling};
    n += kept;
  }
  return n;
}

std::vector<WrittenTwice> call_twice(const KernelName& kernel, KernelCall& call, unsigned seconds) {
  KernelProcess process(kernel, call, seconds);
  auto first = process.outputs_after(filling);
  if (!process.supported()) return {};
  auto again = process.outputs_after(other_filling);
  std::vector<WrittenTwice> outputs;
  for (std::size_t i = 0; i < first.size(); ++i) outputs.push_back({std::move(first[i]), std::move(again[i])});
  return outputs;
}

}  // namespace fp8scope
