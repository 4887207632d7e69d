#include "src/kernel_run.hpp"

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
#include "src/kernel_builtin.hpp"

namespace fp8scope {
namespace {

/// Memory that a child process shares, its end at a page that is not there.
class GuardedMemory {
 public:
  explicit GuardedMemory(std::size_t bytes) : bytes_(bytes) {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    pages_ = (bytes + page - 1) / page * page;
    base_ = mmap(nullptr, pages_ + page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (base_ == MAP_FAILED) throw IoError(fmt::format("cannot get {} bytes of memory: {}", bytes, std::strerror(errno)));
    mprotect(static_cast<std::byte*>(base_) + pages_, page, PROT_NONE);
    all_ = pages_ + page;
  }
  ~GuardedMemory() { munmap(base_, all_); }
  GuardedMemory(const GuardedMemory&) = delete;
  GuardedMemory& operator=(const GuardedMemory&) = delete;

  /// The last `bytes` before the missing page. Elements of at most 16 bytes are aligned if `bytes` is.
  void* data() const { return static_cast<std::byte*>(base_) + (pages_ - bytes_); }
  void fill(const void* from) { std::memcpy(data(), from, bytes_); }
  void set(int byte) { std::memset(data(), byte, bytes_); }
  void forbid_writing() { mprotect(base_, pages_, PROT_READ); }

 private:
  std::size_t bytes_, pages_ = 0, all_ = 0;
  void* base_ = nullptr;
};

/// What the child tells: how far it is, and what its function returned.
struct Report {
  enum Stage : int { loading, calling, done, no_library, no_symbol };
  int stage, returned;
  char message[512];
};

/// The function, or a report why there is none.
fp8scope_gemm_function load(const KernelName& kernel, Report* report) {
  report->stage = Report::loading;
  if (kernel.library == "builtin") {
    const auto function = builtin_kernel(kernel.symbol);
    if (function == nullptr) {
      std::snprintf(report->message, sizeof(report->message), "builtin are native_gemm and emulated_gemm");
      report->stage = Report::no_symbol;
    }
    return function;
  }
  // Without a slash the loader would look in its own folders only.
  const std::string path = std::filesystem::absolute(kernel.library).string();
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  const auto fail = [&](Report::Stage stage) -> fp8scope_gemm_function {
    const char* reason = dlerror();
    std::snprintf(report->message, sizeof(report->message), "%s", reason ? reason : "unknown reason");
    report->stage = stage;
    return nullptr;
  };
  if (library == nullptr) return fail(Report::no_library);
  void* symbol = dlsym(library, kernel.symbol.c_str());
  if (symbol == nullptr) return fail(Report::no_symbol);
  return reinterpret_cast<fp8scope_gemm_function>(symbol);
}

[[noreturn]] void child(const KernelName& kernel, int commands, int answers, const fp8scope_gemm* gemm, Report* report) {
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);
  for (const int fatal : {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGTERM, SIGINT}) signal(fatal, SIG_DFL);
  dup2(STDERR_FILENO, STDOUT_FILENO);  // what the kernel prints must not mix with the table
  const auto function = load(kernel, report);
  for (char go; read(commands, &go, 1) == 1;) {
    if (function != nullptr) {
      report->stage = Report::calling;
      report->returned = function(gemm);
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

/// The arrays of one case as the child sees them.
struct Arrays {
  GuardedMemory a, b, scale_a, scale_b, d;
  explicit Arrays(const KernelCase& c)
      : a(c.a.size()), b(c.b.size()), scale_a(c.scale_a.size() * 4), scale_b(c.scale_b.size() * 4),
        d(static_cast<std::size_t>(c.m * c.n) * (c.output == "bf16" ? 2 : 4)) {
    a.fill(c.a.data()), b.fill(c.b.data()), scale_a.fill(c.scale_a.data()), scale_b.fill(c.scale_b.data());
    for (GuardedMemory* input : {&a, &b, &scale_a, &scale_b}) input->forbid_writing();
  }
};

std::uint32_t format_number(const std::string& format) { return format == "e5m2" ? FP8SCOPE_E5M2 : FP8SCOPE_E4M3; }

fp8scope_matrix matrix(std::int64_t rows, std::int64_t k, const GuardedMemory& codes, const GuardedMemory& scales,
                       const BlockShape& block, const std::string& format) {
  const BlockGrid grid(rows, k, block);
  return {rows, k, static_cast<const std::uint8_t*>(codes.data()), static_cast<const float*>(scales.data()),
          grid.block_rows, grid.block_cols, format_number(format), 0};
}

/// A child process that calls the kernel for one case, as often as asked.
class KernelProcess {
 public:
  KernelProcess(const KernelName& kernel, const KernelCase& c, unsigned seconds)
      : kernel_(kernel), case_(c), seconds_(seconds), arrays_(c), shared_(sizeof(Report)) {
    std::memset(report(), 0, sizeof(Report));
    const fp8scope_gemm gemm{FP8SCOPE_ABI_VERSION, c.output == "bf16" ? FP8SCOPE_BF16 : FP8SCOPE_F32,
                             matrix(c.m, c.k, arrays_.a, arrays_.scale_a, c.block_a, c.format_a),
                             matrix(c.n, c.k, arrays_.b, arrays_.scale_b, c.block_b, c.format_b), arrays_.d.data()};
    std::fflush(nullptr);
    pid_ = fork();
    if (pid_ < 0) throw IoError(fmt::format("cannot start a process for the kernel: {}", std::strerror(errno)));
    if (pid_ == 0) {
      commands_.close_writing(), answers_.close_reading();
      setpgid(0, 0);
      child(kernel, commands_.reading(), answers_.writing(), &gemm, report());
    }
    commands_.close_reading(), answers_.close_writing();
  }
  ~KernelProcess() { end(); }

  /// D's words after one call, D filled with `byte` before. Throws as run_kernel().
  std::vector<std::uint32_t> call(int byte) {
    arrays_.d.set(byte);
    wait_for_answer();
    judge_answer();
    std::vector<std::uint32_t> words(static_cast<std::size_t>(case_.m * case_.n));
    for (std::size_t i = 0; i < words.size(); ++i)
      words[i] = case_.output == "bf16" ? static_cast<const std::uint16_t*>(arrays_.d.data())[i]
                                        : static_cast<const std::uint32_t*>(arrays_.d.data())[i];
    return words;
  }
  bool supported() const { return report()->returned != FP8SCOPE_UNSUPPORTED; }

 private:
  Report* report() const { return static_cast<Report*>(shared_.data()); }

  std::string where() const {
    return fmt::format("{}:{}, {} {}x{}x{}", kernel_.library, kernel_.symbol, case_.name, case_.m, case_.n, case_.k);
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
  const KernelCase& case_;
  unsigned seconds_;
  Arrays arrays_;
  GuardedMemory shared_;
  Pipe commands_, answers_;
  pid_t pid_ = 0;
};

}  // namespace

KernelName parse_kernel_name(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == text.size())
    throw UsageError(fmt::format("--kernel {}: wanted LIBRARY.so:FUNCTION", text));
  return {text.substr(0, colon), text.substr(colon + 1)};
}

std::vector<KernelResult> run_kernel(const KernelName& kernel, const std::vector<KernelCase>& cases, unsigned seconds) {
  std::vector<KernelResult> results;
  for (const KernelCase& c : cases) {
    // The two fillings differ in every bit, so a word that keeps both was never written.
    KernelProcess process(kernel, c, seconds);
    KernelResult result;
    result.d = process.call(0xa5);
    result.supported = process.supported();
    if (result.supported) result.again = process.call(0x5a);
    const std::uint32_t filled = c.output == "bf16" ? 0xa5a5u : 0xa5a5a5a5u;
    const std::uint32_t mask = c.output == "bf16" ? 0xffffu : 0xffffffffu;
    for (std::size_t i = 0; i < result.again.size(); ++i)
      result.unwritten += result.d[i] == filled && result.again[i] == (~filled & mask);
    results.push_back(std::move(result));
  }
  return results;
}

}  // namespace fp8scope
