#pragma once

#include "sim/matrix_unit.hpp"
#include "src/recorded_product.hpp"

namespace fp8scope {

/// Dot products for a unit, with room for `k` products each.
class DotBatch {
 public:
  DotBatch(const MatrixUnit& unit, std::size_t k) : a_format_(unit.a_format), b_format_(unit.b_format), output_(unit.output),
      block_(static_cast<std::size_t>(unit.scale_block)), k_(k),
      one_(unit.scale_format == e8m0 ? 127u : 0x38u) {}

  /// A product of c alone; term() adds to the last one. Block scales are 1.
  void start(std::uint32_t c_word);
  /// a[k] and b[k] as words.
  void set(std::size_t k, std::uint32_t a_word, std::uint32_t b_word);
  void set_scales(std::size_t block, std::uint32_t a_code, std::uint32_t b_code);

  std::size_t size() const { return c_.size(); }
  std::size_t k() const { return k_; }

  /// d of every product, computed by the unit, as many of them as fit on the diagonal of a tile.
  std::vector<std::uint32_t> run(MatrixUnit& unit, bool discard_c = false, bool reload_c = false) const;
  /// The same as recorded words.
  RecordedProduct dump(const std::string& name, std::vector<std::uint32_t> d) const;

 private:
  std::string a_format_, b_format_, output_;
  std::size_t block_, k_;
  std::uint32_t one_;  ///< scale code of 1
  std::vector<std::uint32_t> a_, b_, c_, scale_a_, scale_b_;
};

/// The word of `value` in an operand format. Requires that the format has it.
std::uint32_t operand_word(const std::string& format, float value);

/// Exponents that a format has as a power of two: the least subnormal one, the least normal one, the
/// largest.
struct ExponentRange {
  int least, least_normal, largest;
};
ExponentRange exponent_range(const std::string& format);

/// Random vectors of a kind of input. The numbers depend on the kind, the seed and the unit's formats only.
struct InputClass {
  const char* name;
  const char* meaning;
};
/// random, finite, normal, cancelling, positive, edge, and tiny, whose sums lie at the end of the output's range.
std::span<const InputClass> input_classes();

/// `count` vectors of a class, with accumulators of every kind: zero, like the products, and random over
/// all bits, NaN, infinity, -0 and subnormals among them.
DotBatch random_batch(const MatrixUnit& unit, const std::string& input_class, std::size_t k, std::size_t count, std::uint64_t seed);

/// Random operand and accumulator words of a class, for tiles.
class InputSource {
 public:
  InputSource(const MatrixUnit& unit, std::string input_class, std::uint64_t seed);
  std::uint32_t a() { return operand(a_format_); }
  std::uint32_t b() { return operand(b_format_); }
  std::uint32_t c();
  std::uint32_t scale();
  std::uint32_t random();

 private:
  std::uint32_t operand(const std::string& format);
  std::string a_format_, b_format_, output_, class_;
  Format scale_format_;
  std::uint64_t seed_, next_ = 0;
};

}  // namespace fp8scope
