#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "src/replay.hpp"
#include "src/result_file.hpp"

namespace fp8scope {

/// Which tiles of a replay go into the results.
struct TileChoice {
  bool all = false;
  std::size_t worst = 0;       ///< of each recipe, worst first
  std::string by = "sqnr_db";  ///< what "worst" means
  bool scales = false;         ///< also the scales of every tile
};

/// "all", "worst:N" or "worst:N:BY"; BY is sqnr_db, mse, underflow, clipped or max_rel_error. Throws UsageError.
TileChoice parse_tile_choice(std::string_view text);

/// Collects the tiles that replay() measures.
class TileTables {
 public:
  /// `input` and `options` must outlive this object.
  TileTables(const ReplayInput& input, const ReplayOptions& options, TileChoice choice);

  void take(const ReplayItem& item);

  /// Tables tiles, scales (what was chosen of them) and hist_scaled. This object must outlive `results`.
  void write_to(Results& results) const;

  /// The worst tiles of every recipe, worst first, at most `rows` each.
  Table worst(std::size_t rows) const;

  /// Name, unit and definition of every column.
  static Table definitions();

  /// A tile with what identifies it.
  struct Row {
    std::int64_t step;
    std::int32_t tensor, recipe, gemm, block_rows, block_cols;
    TileRow tile;
  };

 private:
  struct Histogram {
    std::int64_t tensor, step, recipe, gemm;
    ScaledExponents exponents;
  };
  void consider(const Row& row);
  std::vector<Row> worst_first(std::size_t recipe) const;

  const ReplayInput& input_;
  const ReplayOptions& options_;
  TileChoice choice_;
  Spill<Row> all_;
  std::vector<std::vector<Row>> worst_;  ///< [recipes] a heap, the least bad first
  std::vector<Histogram> histograms_;
};

}  // namespace fp8scope
