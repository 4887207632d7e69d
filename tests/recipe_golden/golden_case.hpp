#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "sim/recipe.hpp"
#include "sim/tensor_cast.hpp"
#include "src/hdf5.hpp"
#include "tests/same_bits.hpp"

namespace fp8scope {

/// A file of golden arrays that knows which of them were looked at.
class Golden {
 public:
  explicit Golden(const h5::Group& root) : root_(root) {}

  std::vector<float> floats(const std::string& path) const { return read(path).values<float>(); }
  std::vector<std::uint16_t> codes(const std::string& path) const {
    const auto values = read(path).values<std::int64_t>();
    return {values.begin(), values.end()};
  }
  std::vector<std::uint32_t> words(const std::string& path) const {
    const auto values = read(path).values<std::int64_t>();
    std::vector<std::uint32_t> words;
    for (const std::int64_t v : values) words.push_back(static_cast<std::uint32_t>(v));
    return words;
  }
  std::vector<std::int64_t> shape(const std::string& path) const {
    const auto extent = root_.dataset(path).shape();
    return {extent.begin(), extent.end()};
  }
  /// Names in a group that end in `suffix`, without it.
  std::vector<std::string> stems(const std::string& group, const std::string& suffix) const {
    std::vector<std::string> names;
    for (const h5::Entry& entry : root_.group(group).entries())
      if (entry.name.ends_with(suffix)) names.push_back(entry.name.substr(0, entry.name.size() - suffix.size()));
    return names;
  }
  bool has(const std::string& group, const std::string& name) const {
    for (const h5::Entry& entry : root_.group(group).entries())
      if (entry.name == name) return true;
    return false;
  }
  const std::set<std::string>& read_paths() const { return read_; }
  const h5::Group& root() const { return root_; }

 private:
  h5::Dataset read(const std::string& path) const {
    read_.insert(path);
    return root_.dataset(path);
  }
  const h5::Group& root_;
  mutable std::set<std::string> read_;
};

/// A matrix of the golden inputs.
struct Matrix {
  std::int64_t rows, cols;
  std::vector<float> x;

  Matrix transposed() const {
    Matrix t{cols, rows, std::vector<float>(x.size())};
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t c = 0; c < cols; ++c) t.x[c * rows + r] = x[r * cols + c];
    return t;
  }
};

inline Matrix read_matrix(const Golden& golden, const std::string& path) {
  const auto shape = golden.shape(path);
  return {shape[0], shape[1], golden.floats(path)};
}

/// What a recipe made of a matrix.
struct Output {
  Plan plan;
  BlockGrid grid;
  TensorCodes cast;

  std::vector<float> scale_inv() const {
    std::vector<float> values;
    for (const Scales& s : cast.scales) values.push_back(s.scale_inv);
    return values;
  }
  std::vector<float> scale() const {
    std::vector<float> values;
    for (const Scales& s : cast.scales) values.push_back(s.scale);
    return values;
  }
  std::vector<std::uint16_t> stored() const { return {cast.stored.begin(), cast.stored.end()}; }
};

/// turned: blocks lie along the rows, the matrix stays as it is.
inline Output run(const std::string& spec, const TensorKind& operand, const Matrix& m, bool turned = false) {
  const auto recipe = make_recipe(spec, operand);
  const Plan& plan = recipe->plan();
  BlockShape block = plan.block;
  if (turned) std::swap(block.rows, block.cols);
  const BlockGrid grid(m.rows, m.cols, block);
  return {plan, grid, cast_tensor(plan, *recipe->block_rule(), grid, turned, m.x)};
}

/// All NaN codes made one: their sign is free.
inline std::vector<std::uint16_t> canonical(const Format& f, std::vector<std::uint16_t> codes) {
  for (std::uint16_t& code : codes)
    if (is_nan(decode(f, code))) code = static_cast<std::uint16_t>(f.nan_code());
  return codes;
}

inline void expect_codes(const Golden& golden, const std::string& path, const Output& out) {
  EXPECT_TRUE(same_bits(canonical(out.plan.format, golden.codes(path)), canonical(out.plan.format, out.cast.codes)))
      << path;
}

inline void expect_scale_inv(const Golden& golden, const std::string& path, const Output& out) {
  EXPECT_TRUE(same_bits(golden.floats(path), out.scale_inv())) << path;
}

template <class T>
std::vector<std::uint16_t> widened(const std::vector<T>& bytes) {
  return {bytes.begin(), bytes.end()};
}

/// [rows, cols] to [cols, rows].
template <class T>
std::vector<T> turned(const std::vector<T>& values, std::int64_t rows, std::int64_t cols) {
  std::vector<T> t(values.size());
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < cols; ++c) t[c * rows + r] = values[r * cols + c];
  return t;
}

inline bool names(const std::string& name, const char* part) { return name.find(part) != std::string::npos; }

/// "act_bf16" of "act_bf16_e4m3_1x128": the first two words name the input.
inline std::string input_of(const std::string& name) { return name.substr(0, name.find('_', name.find('_') + 1)); }

inline TensorKind operand_of(const std::string& input) {
  TensorKind operand;
  if (input.starts_with("wt")) operand.role = Role::weight;
  if (input.starts_with("grad")) operand.role = Role::gradient;
  if (input.ends_with("bf16")) operand.input = bf16;
  return operand;
}

// One function for each origin of arrays; each reads all of its arrays and compares them.
void check_te_delayed(const Golden& golden);
void check_te_current(const Golden& golden);
void check_te_block(const Golden& golden);
void check_te_mxfp8(const Golden& golden);
void check_te_primitives(const Golden& golden);
void check_te_nvfp4(const Golden& golden);
void check_deepgemm(const Golden& golden);
void check_deepep(const Golden& golden);
void check_deepseek_inference(const Golden& golden);
void check_tilekernels(const Golden& golden);
void check_e5m6(const Golden& golden);
void check_torchao_float8(const Golden& golden);
void check_torchao_delayed(const Golden& golden);
void check_torchao_mx(const Golden& golden);
void check_torchao_nvfp4(const Golden& golden);
void check_microxcaling(const Golden& golden);
void check_msamp(const Golden& golden);
void check_formats(const Golden& golden);

}  // namespace fp8scope
