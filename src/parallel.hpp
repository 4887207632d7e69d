#pragma once

#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

#include "sim/scaled_gemm.hpp"

namespace fp8scope {

/// Runs tasks on the threads of the TBB arena it is called in.
inline void run_in_parallel(std::size_t count, const std::function<void(std::size_t)>& task) {
  tbb::parallel_for(std::size_t{0}, count, [&](std::size_t i) { task(i); });
}

/// Runs `work` in an arena of so many threads.
inline void run_in_arena(int threads, const std::function<void()>& work) {
  const tbb::global_control limit(tbb::global_control::max_allowed_parallelism, static_cast<std::size_t>(threads));
  tbb::task_arena arena(threads);
  arena.execute(work);
}

}  // namespace fp8scope
