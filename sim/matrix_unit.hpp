#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "sim/models.hpp"

namespace fp8scope {

/// Tiles that a unit multiplies: D = C + A B^T, each tile on its own. A word is a code of the operand's
/// format, of "tf32" a binary32 word; of C and D a word of the output.
struct UnitTiles {
  std::size_t tiles = 0, m = 1, n = 1, k = 0;   ///< k: of all chained instructions together
  std::vector<std::uint32_t> a, b, c;           ///< [tiles, m, k], [tiles, n, k], [tiles, m, n]
  std::vector<std::uint32_t> scale_a, scale_b;  ///< [tiles, m or n, k / block] of units with block scales
  bool discard_c = false;                       ///< the unit is told to start from nothing, not from C
  bool reload_c = false;                        ///< every instruction's D goes through memory before the next
};

/// What multiplies: an instruction of a GPU, or a model in its place.
class MatrixUnit {
 public:
  virtual ~MatrixUnit() = default;

  std::string name;                        ///< "wgmma_e4m3_e4m3_f32"
  std::string a_format, b_format, output;  ///< names of formats; "f32" or "f16"
  std::size_t m = 1, n = 1, k = 32;        ///< of one instruction
  int scale_block = 0;                     ///< products that share a pair of scales; 0: none
  Format scale_format = e8m0;
  std::string instruction, sass;           ///< PTX text; the mnemonic it becomes; "" of a model
  std::string operands;                    ///< "ss": A and B from shared memory, "rs", "registers"
  bool emulated = false;                   ///< a model, so that nothing it says is evidence

  /// d  [tiles, m, n] words, written. tiles.k is a multiple of k.
  virtual void run(const UnitTiles& tiles, std::span<std::uint32_t> d) = 0;
};

/// A model in the place of a GPU, for dry runs and for tests of what is asked of a GPU.
class EmulatedUnit final : public MatrixUnit {
 public:
  /// Throws as parse_model().
  EmulatedUnit(const std::string& model, const std::string& a, const std::string& b, const std::string& output);

  void run(const UnitTiles& tiles, std::span<std::uint32_t> d) override;
  const Model& model() const { return model_; }

 private:
  Model model_;
};

/// Words of the format "f32" or "f16" and the number they are.
float output_value(const std::string& output, std::uint32_t word);
std::uint32_t output_word(const std::string& output, float value);

/// Operand of a word of the format called `name`; "fp32" is one.
Operand unit_operand(const std::string& name, std::uint32_t word);

}  // namespace fp8scope
