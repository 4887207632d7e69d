#include "src/gemm_replay.hpp"

#include <fmt/format.h>
#include <tbb/global_control.h>
#include <tbb/task_arena.h>

#include <algorithm>
#include <map>

#include "sim/models.hpp"
#include "src/errors.hpp"
#include "src/parallel.hpp"
#include "src/replay_plan.hpp"

namespace fp8scope {
namespace {

/// The three products of a linear layer: which operand is A, which is B.
struct Product {
  const char* gemm;
  const char* a;
  const char* b;
};
constexpr Product products[] = {{"fprop", "x", "w"}, {"dgrad", "dy", "w"}, {"wgrad", "dy", "x"}};

/// A tensor at a step as it was recorded, and with K along its rows.
struct Side {
  std::int64_t rows, k;
  std::vector<float> x;
  bool turned = false;
};

/// [rows, cols] to [cols, rows].
std::vector<float> transposed(std::span<const float> x, std::int64_t rows, std::int64_t cols) {
  std::vector<float> t(x.size());
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < cols; ++c) t[c * rows + r] = x[r * cols + c];
  return t;
}

class GemmReplay {
 public:
  GemmReplay(const ReplayInput& input, const ReplayOptions& options, const std::vector<GemmRequest>& requests)
      : input_(input), options_(options), requests_(requests) {}

  void run(const std::function<void(const GemmRecord&)>& take) {
    for (std::size_t t = 0; t < input_.tensors.size(); ++t)
      for (const Product& product : products) {
        if (input_.tensors[t].operand != product.a) continue;
        for (std::size_t other = 0; other < input_.tensors.size(); ++other)
          if (input_.tensors[other].layer == input_.tensors[t].layer && input_.tensors[other].operand == product.b)
            run_product(product, t, other, take);
      }
  }

  std::vector<LeftOut> left_out() const { return left_out_; }

 private:
  void run_product(const Product& product, std::size_t a, std::size_t b,
                   const std::function<void(const GemmRecord&)>& take) {
    ReplayOptions of_gemm = options_;
    of_gemm.gemms = product.gemm;
    const TensorPlan plan_a = plan_tensor(input_, of_gemm, a), plan_b = plan_tensor(input_, of_gemm, b);
    if (plan_a.casts.empty() || plan_b.casts.empty()) return;
    const auto steps = static_cast<std::size_t>(input_.tensors[a].steps);
    for (std::size_t step = 0; step < steps; ++step) {
      const Side left = read(a, step, product.gemm), right = read(b, step, product.gemm);
      if (left.k != right.k) return;  // only a part of the contracted dimension was recorded
      for (std::size_t r = 0; r < options_.recipes.size(); ++r) {
        const std::vector<float> again_a = cast_before(left, a, step, r), again_b = cast_before(right, b, step, r);
        GemmOperand x = operand(left, plan_a, a, step, r), y = operand(right, plan_b, b, step, r);
        x.cast_from = again_a, y.cast_from = again_b;
        for (std::size_t u = 0; u < requests_.size(); ++u) {
          if (is_left_out(r, u)) continue;
          std::vector<float> d(static_cast<std::size_t>(x.rows * y.rows));
          try {
            require_unit_takes(requests_[u], x, y);
            take({a, b, step, product.gemm, r, u, x.rows, y.rows, x.k, gemm_options(requests_[u], x, y).promote,
                  measure_gemm(x, y, requests_[u], {}, d, run_in_parallel)});
          } catch (const std::invalid_argument& error) {
            left_out_.push_back({r, u, error.what()});
          }
        }
      }
    }
  }

  Side read(std::size_t tensor, std::size_t step, const std::string& gemm) const {
    const TensorInfo& info = input_.tensors[tensor];
    Side side{info.rows, info.cols, std::vector<float>(static_cast<std::size_t>(info.rows * info.cols))};
    input_.read_rows(tensor, index(info, step), 0, info.rows, side.x.data());
    const auto use = std::ranges::find(info.gemms, gemm, &GemmUse::gemm);
    if (use == info.gemms.end() || use->axis == 2) return side;
    return {side.k, side.rows, transposed(side.x, side.rows, side.k), true};
  }

  /// What the codes of the cast along the columns stand for, turned; empty unless that is asked for.
  /// So a trainer that keeps only the forward cast of an activation gets its transpose.
  std::vector<float> cast_before(const Side& side, std::size_t tensor, std::size_t step, std::size_t recipe) const {
    if (!options_.requantise || !side.turned) return {};
    const TensorInfo& info = input_.tensors[tensor];
    const auto along = std::ranges::find(info.gemms, 2, &GemmUse::axis);
    if (along == info.gemms.end()) return {};
    ReplayOptions first = options_;
    first.gemms = along->gemm;
    const TensorPlan plan = plan_tensor(input_, first, tensor);
    const std::vector<float> original = transposed(side.x, side.rows, side.k);
    GemmOperand whole{side.k, side.rows, original, plan.tensor_casts[index(info, step)][recipe],
                      plan.whole_amax[index(info, step)]};
    const CastOperand cast = cast_operand(whole);
    std::vector<float> values(cast.values.begin(), cast.values.end());  // rounded to binary32, as kernels do
    return transposed(values, side.k, side.rows);
  }

  GemmOperand operand(const Side& side, const TensorPlan& plan, std::size_t tensor, std::size_t step,
                      std::size_t recipe) const {
    const std::size_t s = index(input_.tensors[tensor], step);
    TensorCast cast = plan.tensor_casts[s][recipe];
    cast.block = cast.plan.block;  // the matrix is turned, so its blocks lie along its rows
    cast.turned = false;
    return {side.rows, side.k, side.x, cast, plan.whole_amax[s]};
  }

  static std::size_t index(const TensorInfo& info, std::size_t step) { return info.constant ? 0 : step; }

  /// A unit with block scales takes power-of-two scales of its own blocks, or of larger ones.
  static void require_unit_takes(const GemmRequest& request, const GemmOperand& a, const GemmOperand& b) {
    const Model model = gemm_options(request, a, b).model;
    for (const GemmOperand* operand : {&a, &b}) {
      const std::int64_t cols = operand->cast.block.cols;
      if (model.scale_block == 0 ||
          (operand->cast.plan.storage == ScaleStorage::e8m0 && (cols == 0 || cols % model.scale_block == 0)))
        continue;
      throw std::invalid_argument(fmt::format("this unit takes E8M0 scales of blocks of {} only", model.scale_block));
    }
  }

  bool is_left_out(std::size_t recipe, std::size_t request) const {
    return std::ranges::any_of(left_out_, [&](const LeftOut& l) { return l.recipe == recipe && l.request == request; });
  }

  const ReplayInput& input_;
  const ReplayOptions& options_;
  const std::vector<GemmRequest>& requests_;
  std::vector<LeftOut> left_out_;
};

}  // namespace

std::vector<LeftOut> replay_gemms(const ReplayInput& input, const ReplayOptions& options,
                                  const std::vector<GemmRequest>& requests,
                                  const std::function<void(const GemmRecord&)>& take) {
  GemmReplay work(input, options, requests);
  const tbb::global_control limit(tbb::global_control::max_allowed_parallelism,
                                  static_cast<std::size_t>(options.threads));
  tbb::task_arena arena(options.threads);
  arena.execute([&] { work.run(take); });
  return work.left_out();
}

}  // namespace fp8scope
