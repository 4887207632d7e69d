#include "src/train/parameters.hpp"

#include <algorithm>

#include "sim/names.hpp"
#include "sim/philox.hpp"

namespace fp8scope::train {
namespace {

/// Close to a standard normal number, by integers: the sum of twelve uniform 16-bit ones.
double normal(std::uint64_t seed, std::uint64_t index) {
  std::int64_t sum = 0;
  for (std::uint64_t i = 0; i < 6; ++i) {
    const std::uint32_t word = random_bits(seed, index * 6 + i).value;
    sum += static_cast<std::int64_t>(word & 0xffffu) + static_cast<std::int64_t>(word >> 16);
  }
  return static_cast<double>(sum - 6 * 65535) / 65536.0;
}

}  // namespace

std::size_t Parameters::add(std::string name, std::string group, std::int64_t rows, std::int64_t cols, float sigma) {
  const std::size_t offset = values.size();
  tensors.push_back({std::move(name), std::move(group), offset, rows, cols, sigma});
  values.resize(offset + tensors.back().size());
  gradients.resize(values.size());
  return offset;
}

const ParameterTensor& Parameters::tensor(const std::string& name) const {
  return by_name(tensors, name, "parameter tensor");
}

void Parameters::initialise(std::uint64_t seed, double perturbation) {
  for (const ParameterTensor& t : tensors)
    for (std::size_t i = 0; i < t.size(); ++i) {
      const double drawn = t.sigma == 0.0f ? 1.0 : t.sigma * normal(2 * seed, t.offset + i);
      const double factor = perturbation == 0.0 ? 1.0 : 1.0 + perturbation * normal(2 * seed + 1, t.offset + i);
      values[t.offset + i] = static_cast<float>(drawn * factor);
    }
}

std::string nearest_not_finite(const Parameters& parameters) {
  std::string name;
  for (const ParameterTensor& t : parameters.tensors) {
    const auto first = parameters.gradients.begin() + static_cast<std::ptrdiff_t>(t.offset);
    if (!std::all_of(first, first + static_cast<std::ptrdiff_t>(t.size()), [](float x) { return is_finite(x); })) name = t.name;
  }
  return name;
}

}  // namespace fp8scope::train
