#include "src/interrupt.hpp"

#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstring>
#include <mutex>

namespace fp8scope {
namespace {

/// A handler may call little more than unlink() and write(), and may take no lock: so names lie in
/// plain arrays, each behind a flag that says that it is whole.
struct Slot {
  bool taken = false;                ///< under the mutex
  std::atomic<bool> ready = false;
  char path[4096];
};
Slot slots[16];
std::mutex mutex;

extern "C" void remove_files_and_exit(int signal) {
  for (Slot& slot : slots)
    if (slot.ready.load()) unlink(slot.path);
  constexpr char line[] = "fp8scope: interrupted; no output was written\n";
  [[maybe_unused]] const ssize_t ignored = write(STDERR_FILENO, line, sizeof line - 1);
  _exit(128 + signal);
}

void install_handlers() {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction now {};
    if (sigaction(signal, nullptr, &now) != 0 || now.sa_handler != SIG_DFL) continue;
    struct sigaction ours {};
    ours.sa_handler = remove_files_and_exit;
    sigaction(signal, &ours, nullptr);
  }
}

}  // namespace

RemovedOnSignal::RemovedOnSignal(const std::string& path) {
  const std::lock_guard lock(mutex);
  install_handlers();
  for (int i = 0; i < static_cast<int>(std::size(slots)) && path.size() < sizeof slots[i].path; ++i) {
    if (slots[i].taken) continue;
    slots[i].taken = true;
    std::memcpy(slots[i].path, path.c_str(), path.size() + 1);
    slots[i].ready.store(true);
    slot_ = i;
    return;
  }
}

RemovedOnSignal::~RemovedOnSignal() {
  if (slot_ < 0) return;
  const std::lock_guard lock(mutex);
  slots[slot_].ready.store(false);
  slots[slot_].taken = false;
}

}  // namespace fp8scope
