#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace fp8scope::train {

/// To which experts tokens went in training passes, in the order of the tokens whatever the micro-batches and ranks:
/// written by a pass, or read by one that has to send them the same way.
struct Routes {
  bool held = false;                                         ///< read instead of written
  std::map<std::string, std::vector<std::int32_t>> experts;  ///< by layer, [tokens, top_k], largest score first
  std::map<std::string, std::size_t> read;                   ///< by layer, how many of them a pass has taken
};

/// Share of the choices of `a` that `b` has not made for the same token, of one layer or ("") of all; 0 without experts.
double rerouted(const Routes& a, const Routes& b, std::int64_t top_k, const std::string& layer = "");

}  // namespace fp8scope::train
