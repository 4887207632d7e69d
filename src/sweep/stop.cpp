#include "src/sweep/stop.hpp"

#include <atomic>
#include <csignal>

namespace fp8scope {
namespace {

std::atomic<int> asked{0};
static_assert(std::atomic<int>::is_always_lock_free, "set in a signal handler");

void note(int signal) { asked.store(signal, std::memory_order_relaxed); }

}  // namespace

void catch_stop_signals() {
  struct sigaction action {};
  action.sa_handler = note;
  action.sa_flags = SA_RESTART | static_cast<int>(SA_RESETHAND);
  sigemptyset(&action.sa_mask);
  for (const int signal : {SIGINT, SIGTERM, SIGUSR1}) sigaction(signal, &action, nullptr);
}

int stop_signal() { return asked.load(std::memory_order_relaxed); }

int stop_code(int signal) { return signal == SIGINT ? 130 : 143; }

}  // namespace fp8scope
