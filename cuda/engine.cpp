#include "cuda/engine.hpp"

#include "cuda/loop_choice.hpp"

namespace fp8scope::cuda {

bool one_kernel_transposes(const BlockShape& block) {
  return block.cols == 1 && is_power_of_two(block.rows) && block.rows >= 16 && block.rows <= 128;
}

std::string kernel_name(const BlockCast& cast, std::int64_t rows, std::int64_t cols) {
  constexpr const char* names[] = {"segments", "tiles", "columns", "tensor"};
  const BlockGrid grid(rows, cols, cast.block);
  const std::string name = names[static_cast<int>(choose_loops(cast.block, grid))];
  return fast_codes(make_plan(cast.format, cast.rule), cast.apply) ? name : name + "+elements";
}

}  // namespace fp8scope::cuda
