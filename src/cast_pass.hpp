#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sim/recipe.hpp"
#include "src/cast_stats.hpp"
#include "src/tensor_facts.hpp"
#include "src/tiles/tile_meter.hpp"

namespace fp8scope {

/// One recipe applied to one tensor: the plan of its cast, and where the scales come from.
struct TensorCast {
  Plan plan;
  BlockShape block;                 ///< plan.block, turned if the contracted dimension is the rows
  const ScaleRule* rule = nullptr;  ///< scales = rule(amax of the block), unless `given`
  bool given = false;               ///< one block, whose scales came from earlier steps
  Scales scales;
  std::int64_t age = 0;
  std::int64_t frozen = 0;          ///< updates in a row that left the scale as it was
  float amax_in_use = 0.0f;
  std::uint64_t seed = 0;           ///< of a stochastic cast, which draws by element index
  bool turned = false;              ///< the contracted dimension is the rows
};

/// Which tiles to measure: the blocks of each recipe, or the same shape for all.
struct TileRequest {
  std::optional<BlockShape> shape;
};

/// Measures every cast of a tensor, panel by panel, after TensorFacts has seen all of it. A row is
/// read from memory once: all casts run on it while it is in the cache.
class CastPass {
 public:
  /// whole_amax  amax of the whole operand where it is known from elsewhere (only some rows were
  ///             recorded), else negative
  /// tiles       also measure every tile of every cast
  CastPass(const TensorFacts& facts, std::vector<TensorCast> casts, float whole_amax,
           const std::optional<TileRequest>& tiles = {});
  ~CastPass();

  /// Largest magnitude of the tensor as cast i takes it, by its NaN rule; after prepare().
  float whole_amax(std::size_t cast) { return settle_transformed(), results_[cast].amax; }

  /// [casts], with the scales of those that have one for the whole tensor.
  const std::vector<TensorCast>& casts() const { return casts_; }

  /// Smallest amax that counts under the cast's rule; 0: none.
  static float floor_of(const TensorCast& cast);
  /// sum e^2 / sum x^2 of the median row.  noise  [rows] sum e^2
  static double median_row_noise(const TensorFacts& facts, const std::vector<double>& noise);
  /// Whether prepare() must see the whole tensor before add(): the amax after a Hadamard transform.
  bool needs_preparation() const;
  /// Takes in the next `count` rows before any add(); panels as those of add().
  void prepare(std::int64_t count, const float* x);

  /// Throws DataError, beginning with `where`, if a recipe of whole blocks meets a shape that its
  /// blocks do not divide, or a Hadamard transform one that is no multiple of 16.
  static void require_whole_blocks(const Plan& plan, const BlockShape& block, std::int64_t rows,
                                   std::int64_t cols, const std::string& where);

  /// Panels must be multiples of this many rows, but for the last.
  static std::int64_t panel_rows(std::span<const TensorCast> casts);

  /// Measures rows [first, first + count); panels come in order.
  ///
  /// x  [count, cols]
  void add(std::int64_t first, std::int64_t count, const float* x);
  /// [casts]; to be called once after the last panel.
  std::vector<CastResult> finish();
  /// [casts], empty unless tiles were asked for; to be called once after the last panel.
  std::vector<CastTiles> finish_tiles() { return tiles_ ? tiles_->finish() : std::vector<CastTiles>{}; }

 private:
  struct Layout;
  struct Tile;
  struct Transform;
  struct ScaleRange;
  /// What a thread needs to measure a row.
  struct Workspace {
    struct OfCast {
      std::vector<float> scale, scale_inv, value;  ///< [cols] each
      std::vector<float> kept_scale;               ///< [cols] see keep_products()
      std::vector<float> block_values;             ///< [rows of a block, cols] of a codec
      std::int64_t filled = -1;                    ///< block row that the scales are for
      std::vector<std::uint32_t> stored;           ///< [cols] scales as the recipe stores them; of tiles only
    };
    std::vector<OfCast> casts;
    std::vector<std::vector<std::uint32_t>> rows;      ///< [transforms][cols] magnitudes of the row
    std::vector<std::vector<std::uint32_t>> segments;  ///< [layouts][blocks across] of the row
  };
  /// Rows [first, first + count) of the tensor.
  struct Panel {
    std::int64_t first, count;
    const float* x;                       ///< [count, cols]
    std::vector<const float*> of;         ///< [transforms] the same, as each cast takes it; of[0] = x
  };

  void settle(std::size_t cast);
  void settle_transformed();
  ScaleRule rule_at(std::size_t cast, const Panel& panel, const Workspace& space, std::int64_t r, std::int64_t k) const;
  std::vector<float> block_elements(std::size_t cast, const Panel& panel, std::int64_t block_row, std::int64_t k) const;
  void fill_codec_values(std::size_t cast, const Panel& panel, std::int64_t block_row, Workspace::OfCast& of) const;
  void find_block_amaxes(Layout& layout, const Panel& panel);
  Workspace workspace() const;
  void measure_row(const Panel& panel, std::int64_t r, Workspace& space, Tile& tile);
  static void fill_values(const TensorCast& cast, const float* row, std::int64_t first,
                          Workspace::OfCast& of);
  static bool keep_products(const TensorCast& cast, const float* row, Workspace::OfCast& of);
  void fill_scales(std::size_t cast, const Panel& panel, std::int64_t r, Workspace& space, Tile& tile);
  float block_amax(const Layout& layout, AmaxRule rule, std::uint32_t bits, const Panel& panel,
                   std::int64_t block_row, std::int64_t k) const;

  const TensorFacts& facts_;
  std::vector<TensorCast> casts_;
  std::vector<CastLimits> limits_;
  std::vector<Layout> layouts_;           ///< distinct block shapes
  std::vector<std::size_t> layout_of_;    ///< [casts]
  std::vector<Transform> transforms_;     ///< distinct ones; the first is none
  std::vector<ScaleRule> rules_;          ///< [casts] with the amax of the tensor
  float whole_amax_;
  bool settled_ = false;                  ///< casts of transforms know their amax
  std::vector<CastResult> results_;       ///< [casts]
  std::vector<ScaleRange> ranges_;              ///< [casts]
  std::vector<std::vector<double>> row_noise_;  ///< [casts][rows]
  double bulk_power_ = 0.0;
  std::unique_ptr<TileMeter> tiles_;
};

}  // namespace fp8scope
