#pragma once

namespace fp8scope {

/// From now on the first SIGINT, SIGTERM or SIGUSR1 asks the program to come to an end; the second of
/// a kind ends it.
void catch_stop_signals();

/// The signal that asked, 0 if none did.
int stop_signal();

/// The exit code for it: 130 after SIGINT, 143 after SIGTERM and SIGUSR1, with which schedulers warn.
int stop_code(int signal);

}  // namespace fp8scope
