#pragma once
// The kernels as src/ sees them: whole tensors in, codes, scales and statistics out. No CUDA types.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cuda/device.hpp"
#include "sim/amax.hpp"
#include "sim/block.hpp"
#include "sim/error_sums.hpp"
#include "sim/quantize.hpp"

namespace fp8scope::cuda {

/// What the elements of a tensor are stored as.
enum class Element : std::uint8_t { bf16, fp16, fp32 };

struct NamedElement {
  std::string_view name;
  Element element;
  int bytes;
};
inline constexpr NamedElement elements[] = {
    {"bfloat16", Element::bf16, 2}, {"float16", Element::fp16, 2}, {"float32", Element::fp32, 4}};

/// How scale_inv lies in memory.
enum class ScaleLayout : std::uint8_t {
  row_major,  ///< [down, across]
  tma,        ///< [across, align(down, 4)]: DeepGEMM's, for TMA; padding is 0
};

/// A cast with one scale for each block, from this step's amaxes or given.
struct BlockCast {
  Format format = e4m3;
  CastRule rule;
  BlockShape block{};              ///< as it lies in the tensor
  AmaxRule amax_rule = AmaxRule::ignore_nan;
  ScaleRule scale_rule{};          ///< of two levels: with_tensor_amax() done
  Apply apply = Apply::multiply;
  ScaleStorage storage = ScaleStorage::fp32;  ///< what Quantized::inverse_code holds: E8M0 or E4M3 codes
  float floor = 0.0f;              ///< CastErrors::floored counts the blocks below
  bool given = false;              ///< one block, whose scales are `scales`
  Scales scales{};
  std::uint64_t seed = 0, first = 0;  ///< as for quantize() of sim/quantize.hpp
  ScaleLayout layout = ScaleLayout::row_major;
  bool transposed = false;         ///< the codes, too; only where one_kernel_transposes()
};

/// True if blocks of this shape are cast and transposed in one pass: 16, 32, 64 or 128 rows x 1.
bool one_kernel_transposes(const BlockShape& block);

/// Which kernel a cast runs on: "segments", "tiles", "columns", "tensor", with "+elements" where the
/// format or the rule is beyond the fast ones.
std::string kernel_name(const BlockCast& cast, std::int64_t rows, std::int64_t cols);

/// A cast tensor, back in host memory.
struct Quantized {
  std::vector<std::uint16_t> codes;        ///< [rows, cols]
  std::vector<std::uint16_t> transposed;   ///< [cols, rows], if asked for
  std::vector<Scales> scales;              ///< [down, across]
  std::vector<std::uint32_t> amax;         ///< [down, across] pattern of the largest magnitude; NaN above infinity
  std::vector<float> inverse;              ///< scale_inv as stored, by layout
  std::vector<std::uint8_t> inverse_code;  ///< its codes by `storage` and layout; empty if that is binary32
};

/// What a tensor is, row by row: see sim/error_sums.hpp.
struct TensorMoments {
  std::vector<MomentSums> rows;        ///< [rows]
  std::vector<std::uint32_t> buckets;  ///< [2^15] elements by the top 15 bits of the magnitude
  std::uint32_t largest = 0;           ///< pattern; above infinity where there is a NaN
  std::uint32_t largest_number = 0;    ///< without NaN
};

/// What a cast lost, row by row.
struct CastErrors {
  std::vector<ErrorSums> rows;          ///< [rows]
  std::vector<double> bulk_power;       ///< [rows] sum x^2 over |x| <= bulk
  float scale_inv_min = 0.0f, scale_inv_max = 0.0f;
  double headroom = 0.0;                ///< min over the blocks of MAX * scale_inv / amax
  std::uint64_t blocks = 0, floored = 0;  ///< blocks, and those whose amax lies below BlockCast::floor
};

/// How a delayed scale follows from the amaxes: see sim/recipe_delayed.hpp.
struct DelayedRule {
  std::int64_t length = 1024;   ///< of the history
  bool most_recent = false;     ///< the newest amax instead of the largest
  float max = 448.0f;           ///< fl(MAX * 2^-margin)
  bool roll_on_zero = false;    ///< a zero amax is remembered too: TE's kernel for one tensor (non-bulk), and all before PR 825
  float big = float_max;        ///< what an infinite quotient becomes
};

/// Per-tensor scaling from earlier amaxes, kept on the device: see sim/recipe_delayed.hpp.
class DelayedScale {
 public:
  virtual ~DelayedScale() = default;
  virtual Scales scales() const = 0;
  /// [length] what was recorded since the last update, then the newest length - 1 amaxes, oldest first.
  virtual std::vector<float> history() const = 0;
  /// The end of a pass: what casts recorded joins the history and makes the next scale; update() of
  /// sim/delayed_state.hpp, fused.
  virtual void update() = 0;
};

/// A row-major [rows, cols] tensor in the memory of a device.
class DeviceTensor {
 public:
  virtual ~DeviceTensor() = default;
  /// Rows [first, first + count).  stored  [count, cols], elements of the tensor's type
  virtual void upload(std::int64_t first, std::int64_t count, const void* stored) = 0;
  /// Throws std::invalid_argument for a transposition that no kernel makes, a format over 16 bits.
  virtual Quantized quantize(const BlockCast& cast) = 0;
  /// One step of delayed scaling: casts with the scale there is, then `state` learns this amax.
  /// Of `cast`, format, rule, amax_rule, seed and first count.
  virtual Quantized quantize_delayed(const BlockCast& cast, DelayedScale& state) = 0;
  /// A cast within a pass: with the scale there is; `state` records the amax, and update() is to come.
  virtual Quantized quantize_recorded(const BlockCast& cast, DelayedScale& state) = 0;
  virtual TensorMoments moments() = 0;
  /// whole_amax  pattern of the tensor's amax for one scale for all, where it is known from elsewhere
  virtual CastErrors measure(const BlockCast& cast, float bulk) = 0;
  /// Median seconds of the kernels of quantize() alone, over `rounds` runs. 0 where there is no clock.
  virtual double seconds(const BlockCast& cast, int rounds) = 0;
  /// The same of quantize_delayed(), whose steps `state` learns.
  virtual double seconds_delayed(const BlockCast& cast, DelayedScale& state, int rounds) = 0;
};

/// What Engine::conversions() found.
struct Conversions {
  std::uint64_t tried = 0, differ = 0;
  std::uint32_t lowest = 0;
};

/// What runs the kernels.
class Engine {
 public:
  virtual ~Engine() = default;
  /// "NVIDIA H100 80GB HBM3", or that these are the kernels' loops on the CPU.
  virtual std::string name() const = 0;
  virtual std::unique_ptr<DeviceTensor> tensor(Element element, std::int64_t rows, std::int64_t cols) = 0;
  virtual std::unique_ptr<DelayedScale> delayed(const DelayedRule& rule) = 0;
  /// dequantize() of sim/quantize.hpp for formats of at most 8 bits.
  virtual std::vector<float> dequantize(const Format& f, const BlockGrid& grid,
                                        const std::vector<std::uint8_t>& codes,
                                        const std::vector<float>& inverse) = 0;
  /// Floats whose code in the fast loops is not encode()'s: how many, and the lowest pattern.
  /// Every 16 neighbours of `stride` * 16 patterns are tried; stride 1 is all 2^32 floats.
  /// Requires a format and a rule of the fast loops, without random bits.
  virtual Conversions conversions(const Format& f, const CastRule& rule, std::uint32_t stride) = 0;
  /// False for loops_on_cpu().
  virtual bool is_gpu() const = 0;
  /// Bytes a second, read and written, of a copy inside the device's memory. 0 where there is no clock.
  virtual double copy_rate(std::size_t bytes, int rounds) = 0;
};

/// The kernels on a GPU. Throws DeviceError if there is no such device or no kernel for it.
std::unique_ptr<Engine> gpu_engine(int device = 0);

/// The loops of the same kernels, run by the CPU: checks their indexing and reductions without a GPU.
std::unique_ptr<Engine> loops_on_cpu();

}  // namespace fp8scope::cuda
