#include "src/gemm_replay.hpp"

#include <fmt/format.h>
#include <tbb/global_control.h>
#include <tbb/task_arena.h>

#include <algorithm>
#include <map>
#include <optional>

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
  GemmReplay(const ReplayInput& input, const ReplayOptions& options, const std::vector<GemmRequest>& requests,
             const std::function<void(const GemmRecord&)>& take, const GemmControl& control)
      : input_(input), options_(options), requests_(requests), take_(take), control_(control) {
    for (std::size_t u = 0; u < requests.size(); ++u) all_units_.push_back(u);
  }

  void run() {
    const std::vector<GemmPair> pairs = gemm_pairs(input_.tensors);
    for (std::size_t p = 0; p < pairs.size(); ++p) run_pair(p, pairs[p]);
  }

  std::vector<LeftOut> left_out() const { return left_out_; }

 private:
  /// The plans of both operands, made when the first product of the pair is wanted.
  struct Plans {
    TensorPlan a, b;
    std::vector<std::string> refused;  ///< [recipes] why it cannot be applied
  };

  Plans plan(const GemmPair& pair) const {
    ReplayOptions of_gemm = options_;
    of_gemm.gemms = pair.gemm;
    Plans plans;
    plans.refused.resize(options_.recipes.size());
    const TakeRefusal note = [&](std::size_t, std::size_t recipe, const std::string&, const std::string& why) {
      if (plans.refused[recipe].empty()) plans.refused[recipe] = why;
    };
    const TakeRefusal refused = control_.finished ? note : TakeRefusal();
    plans.a = plan_tensor(input_, of_gemm, pair.a, refused);
    plans.b = plan_tensor(input_, of_gemm, pair.b, refused);
    return plans;
  }

  std::vector<std::size_t> wanted(std::size_t pair, std::size_t step, std::size_t recipe) const {
    return control_.wanted ? control_.wanted(pair, step, recipe) : all_units_;
  }

  void run_pair(std::size_t number, const GemmPair& pair) {
    std::optional<Plans> plans;
    const auto steps = static_cast<std::size_t>(input_.tensors[pair.a].steps);
    for (std::size_t step = 0; step < steps; ++step) {
      std::optional<Side> left, right;
      for (std::size_t r = 0; r < options_.recipes.size(); ++r) {
        if (control_.stop && control_.stop()) return;
        const std::vector<std::size_t> units = wanted(number, step, r);
        if (units.empty()) continue;
        std::string why;
        try {
          if (!plans) plans = plan(pair);
          if (!left) left = read(pair.a, step, pair.gemm), right = read(pair.b, step, pair.gemm);
          why = run_recipe(pair, step, r, *plans, *left, *right, units);
        } catch (const DataError& error) {
          if (!control_.finished) throw;
          why = error.what();
        }
        if (control_.finished) control_.finished(number, step, r, why);
      }
    }
  }

  /// The cast of `recipe`, or -1 if it was refused.
  static std::ptrdiff_t cast_of(const TensorPlan& plan, std::size_t recipe) {
    const auto found = std::ranges::find(plan.casts, recipe, &ReplayCast::recipe);
    return found == plan.casts.end() ? -1 : found - plan.casts.begin();
  }

  /// Returns why something was not computed; empty if all was.
  std::string run_recipe(const GemmPair& pair, std::size_t step, std::size_t r, const Plans& plans, const Side& left,
                         const Side& right, const std::vector<std::size_t>& units) {
    if (!plans.refused[r].empty()) return plans.refused[r];
    const std::ptrdiff_t cast_a = cast_of(plans.a, r), cast_b = cast_of(plans.b, r);
    if (cast_a < 0 || cast_b < 0) return "an operand does not name this product";
    if (left.k != right.k) return "only a part of the contracted dimension was recorded";
    const std::vector<float> again_a = cast_before(left, pair.a, step, r), again_b = cast_before(right, pair.b, step, r);
    GemmOperand x = operand(left, plans.a, pair.a, step, cast_a), y = operand(right, plans.b, pair.b, step, cast_b);
    x.cast_from = again_a, y.cast_from = again_b;
    std::string why;
    for (const std::size_t u : units) {
      if (is_left_out(r, u)) continue;
      std::vector<float> d(static_cast<std::size_t>(x.rows * y.rows));
      try {
        require_unit_takes(requests_[u], x, y);
        take_({pair.a, pair.b, step, pair.gemm, r, u, x.rows, y.rows, x.k, gemm_options(requests_[u], x, y).promote,
               measure_gemm(x, y, requests_[u], {}, d, run_in_parallel)});
      } catch (const std::invalid_argument& error) {
        why = error.what();
        if (!control_.finished) left_out_.push_back({r, u, why});
      }
    }
    return why;
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
    const std::ptrdiff_t cast_number = cast_of(plan, recipe);
    GemmOperand whole{side.k, side.rows, original, plan.tensor_casts[index(info, step)][cast_number],
                      plan.whole_amax[index(info, step)]};
    const CastOperand cast = cast_operand(multiplied(whole, {.accumulator = "fma_fp32"}));  // as binary32 where it is a codec
    std::vector<float> values(cast.values.begin(), cast.values.end());  // rounded to binary32, as kernels do
    return transposed(values, side.k, side.rows);
  }

  GemmOperand operand(const Side& side, const TensorPlan& plan, std::size_t tensor, std::size_t step,
                      std::size_t number) const {
    const std::size_t s = index(input_.tensors[tensor], step);
    TensorCast cast = plan.tensor_casts[s][number];
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
  const std::function<void(const GemmRecord&)>& take_;
  const GemmControl& control_;
  std::vector<std::size_t> all_units_;
  std::vector<LeftOut> left_out_;
};

void run_on_threads(int threads, const std::function<void()>& work) {
  const tbb::global_control limit(tbb::global_control::max_allowed_parallelism, static_cast<std::size_t>(threads));
  tbb::task_arena arena(threads);
  arena.execute(work);
}

}  // namespace

std::vector<GemmPair> gemm_pairs(std::span<const TensorInfo> tensors) {
  // By layer, lest ten thousand layers are compared with one another.
  std::map<std::string_view, std::vector<std::size_t>> of_layer;
  for (std::size_t t = 0; t < tensors.size(); ++t) of_layer[tensors[t].layer].push_back(t);
  std::vector<GemmPair> pairs;
  for (std::size_t t = 0; t < tensors.size(); ++t)
    for (const Product& product : products) {
      if (tensors[t].operand != product.a) continue;
      for (const std::size_t other : of_layer[tensors[t].layer])
        if (tensors[other].operand == product.b) pairs.push_back({product.gemm, t, other});
    }
  return pairs;
}

void replay_gemm_parts(const ReplayInput& input, const ReplayOptions& options, const std::vector<GemmRequest>& requests,
                       const std::function<void(const GemmRecord&)>& take, const GemmControl& control) {
  run_on_threads(options.threads, [&] { GemmReplay(input, options, requests, take, control).run(); });
}

std::vector<LeftOut> replay_gemms(const ReplayInput& input, const ReplayOptions& options,
                                  const std::vector<GemmRequest>& requests,
                                  const std::function<void(const GemmRecord&)>& take) {
  const GemmControl everything;
  GemmReplay work(input, options, requests, take, everything);
  run_on_threads(options.threads, [&] { work.run(); });
  return work.left_out();
}

}  // namespace fp8scope
