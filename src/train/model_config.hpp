#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace fp8scope::train {

/// Shape of a decoder-only transformer.
struct ModelConfig {
  std::int64_t hidden = 128, layers = 4, heads = 4, ffn = 384, context = 128;
  std::int64_t vocabulary = 0;
  std::int64_t experts = 0, top_k = 2;  ///< no experts: one dense feed-forward part
  std::int64_t expert_ranks = 1;        ///< ranks that the experts and the tokens are spread over
};

/// A named shape.
struct NamedModel {
  std::string_view name;
  ModelConfig config;
  std::string_view meaning;
};

/// To add a shape, add a row.
inline constexpr NamedModel model_shapes[] = {
    {"s", {128, 4, 4, 384, 128}, "0.9 M parameters"},
    {"m", {256, 6, 8, 768, 256}, "5 M parameters"},
    {"moe", {128, 4, 4, 128, 128, 0, 8, 2, 4}, "8 experts of 128, 2 a token, on 4 ranks"},
    {"tiny", {32, 2, 2, 48, 16}, "for tests"},
    {"tiny_moe", {32, 2, 2, 32, 16, 0, 4, 2, 2}, "for tests"},
};

}  // namespace fp8scope::train
