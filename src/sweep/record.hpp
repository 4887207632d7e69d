#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "src/gemm_error.hpp"
#include "src/replay_tables.hpp"

namespace fp8scope {

/// How an item or a row of it ended; the column `status` of the results.
enum class RowStatus : std::uint8_t {
  ok = 0,
  skipped = 1,  ///< the recipe cannot be applied to the tensor, the unit cannot take its scales
  failed = 2,   ///< the tensor could not be read, or holds no finite number
};

/// A batch of casts of one tensor of one step, as a journal keeps it.
struct CastRecord {
  struct Row {
    MeasuredCast cast;  ///< recipe: row of Grid::recipes; tensor and step are not kept
    RowStatus status = RowStatus::ok;
  };
  std::vector<Row> rows;
  std::vector<std::uint64_t> exponents;  ///< [exponent_bins], or empty
  std::string why;                       ///< the first reason for a row that is not ok
};

/// One product of one step under one recipe, on all units asked for.
struct ProductRecord {
  struct Row {
    std::int64_t unit;  ///< row of Grid::units
    std::int64_t m = 0, n = 0, k = 0, promote = 0;
    RowStatus status = RowStatus::ok;
    GemmError error;
  };
  std::vector<Row> rows;
  std::string why;
};

std::string encode_record(const CastRecord& record);
std::string encode_record(const ProductRecord& record);
/// Throw DataError, beginning with `where`, if the bytes are not such a record.
CastRecord decode_casts(std::string_view bytes, const std::string& where);
ProductRecord decode_products(std::string_view bytes, const std::string& where);

/// The worst status of a record, and its rows, without decoding the rest.
struct RecordHead {
  RowStatus worst;
  std::uint32_t rows;
};
RecordHead record_head(std::string_view bytes, const std::string& where);

}  // namespace fp8scope
