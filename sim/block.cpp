#include "sim/block.hpp"

namespace fp8scope {

std::string block_name(const BlockShape& block) {
  if (block == BlockShape{}) return "tensor";
  const auto side = [](std::int64_t n, const char* all) { return n > 0 ? std::to_string(n) : all; };
  return side(block.rows, "all") + "x" + side(block.cols, "all");
}

}  // namespace fp8scope
