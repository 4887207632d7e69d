#pragma once

#include <string>

#include "sim/format.hpp"
#include "src/table.hpp"

namespace fp8scope {

/// `x` as an odd integer times a power of two, "7*2^6", which is exact where decimals would be cut.
/// "0", "-0", "inf", "-inf", "nan" as they are.
std::string exact_text(float x);

/// Every named format, one in a row: bits, bias, specials, limits, source.
Table format_list();

/// What follows from the four numbers of `f`: its fields, limits and their codes, how many codes of
/// each kind, the edge of overflow, and what its special codes cost. Columns `property`, `value`.
Table describe(const Format& f);

/// Every code of `f` in ascending order: hexadecimal, bits as sign, exponent and mantissa, kind,
/// value in the fewest digits that read back as the same binary32, and exact_text().
///
/// Throws std::invalid_argument for more than 20 bits.
Table code_list(const Format& f);

}  // namespace fp8scope
