#pragma once

#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

#include "sim/scaled_gemm.hpp"

namespace fp8scope {

/// Runs tasks on the threads of the TBB arena it is called in.
inline void run_in_parallel(std::size_t count, const std::function<void(std::size_t)>& task) {
  tbb::parallel_for(std::size_t{0}, count, [&](std::size_t i) { task(i); });
}

}  // namespace fp8scope
