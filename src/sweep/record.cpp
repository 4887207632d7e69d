#include "src/sweep/record.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "src/errors.hpp"

namespace fp8scope {
namespace {

enum class RecordKind : std::uint8_t { casts = 1, products = 2 };

class Writer {
 public:
  template <class T>
  void put(T value) {
    static_assert(std::is_arithmetic_v<T> || std::is_enum_v<T>);
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void text(const std::string& text) {
    put(static_cast<std::uint32_t>(text.size()));
    bytes_ += text;
  }
  std::string take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

class Reader {
 public:
  Reader(std::string_view bytes, const std::string& where) : bytes_(bytes), where_(where) {}
  template <class T>
  T get() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  std::string text() { return std::string(take(get<std::uint32_t>())); }
  RowStatus status() {
    const auto value = get<std::uint8_t>();
    if (value > static_cast<std::uint8_t>(RowStatus::failed)) fail();
    return static_cast<RowStatus>(value);
  }
  /// A count of things of `size` bytes each that are still to come.
  std::uint32_t count(std::size_t size) {
    const auto value = get<std::uint32_t>();
    if (value > bytes_.size() / size) fail();
    return value;
  }
  void finish() const {
    if (!bytes_.empty()) fail();
  }
  [[noreturn]] void fail() const { throw DataError(where_ + ": a record does not fit its plan; move the journal away and resume"); }

 private:
  std::string_view take(std::size_t count) {
    if (count > bytes_.size()) fail();
    const std::string_view part = bytes_.substr(0, count);
    bytes_.remove_prefix(count);
    return part;
  }
  std::string_view bytes_;
  const std::string& where_;
};

/// Errors of a product, in the order they are kept.
constexpr double GemmError::*error_members[] = {
    &GemmError::total, &GemmError::from_a, &GemmError::from_b, &GemmError::from_accumulator, &GemmError::from_output,
    &GemmError::max,   &GemmError::p50,    &GemmError::p99,    &GemmError::p999,             &GemmError::bias};

void put_head(Writer& out, RecordKind kind, const auto& rows) {
  RowStatus worst = RowStatus::ok;
  for (const auto& row : rows) worst = std::max(worst, row.status);
  out.put(kind);
  out.put(worst);
  out.put(static_cast<std::uint32_t>(rows.size()));
}

void expect(Reader& in, RecordKind kind) {
  if (in.get<std::uint8_t>() != static_cast<std::uint8_t>(kind)) in.fail();
  in.status();
}

}  // namespace

RecordHead record_head(std::string_view bytes, const std::string& where) {
  Reader in(bytes, where);
  in.get<std::uint8_t>();
  const RowStatus worst = in.status();
  return {worst, in.get<std::uint32_t>()};
}

std::string encode_record(const CastRecord& record) {
  Writer out;
  put_head(out, RecordKind::casts, record.rows);
  out.put(static_cast<std::uint32_t>(record.exponents.size()));
  for (const std::uint64_t count : record.exponents) out.put(count);
  for (const CastRecord::Row& row : record.rows) {
    out.put(static_cast<std::int32_t>(row.cast.recipe));
    out.put(static_cast<std::uint8_t>(row.cast.gemm));
    out.put(row.status);
    if (row.status == RowStatus::skipped) continue;
    for (const std::uint64_t count : row.cast.counts) out.put(count);
    for (const double value : row.cast.statistics) out.put(value);
  }
  out.text(record.why);
  return out.take();
}

CastRecord decode_casts(std::string_view bytes, const std::string& where) {
  Reader in(bytes, where);
  expect(in, RecordKind::casts);
  CastRecord record;
  record.rows.resize(in.count(6));
  record.exponents.resize(in.count(8));
  if (!record.exponents.empty() && record.exponents.size() != static_cast<std::size_t>(exponent_bins)) in.fail();
  for (std::uint64_t& count : record.exponents) count = in.get<std::uint64_t>();
  for (CastRecord::Row& row : record.rows) {
    row.cast.recipe = in.get<std::int32_t>();
    row.cast.gemm = in.get<std::uint8_t>();
    row.status = in.status();
    row.cast.counts.assign(counts().size(), 0);
    row.cast.statistics.assign(statistics().size(), std::numeric_limits<double>::quiet_NaN());
    if (row.status == RowStatus::skipped) continue;
    for (std::uint64_t& count : row.cast.counts) count = in.get<std::uint64_t>();
    for (double& value : row.cast.statistics) value = in.get<double>();
  }
  record.why = in.text();
  in.finish();
  return record;
}

std::string encode_record(const ProductRecord& record) {
  Writer out;
  put_head(out, RecordKind::products, record.rows);
  for (const ProductRecord::Row& row : record.rows) {
    out.put(static_cast<std::int32_t>(row.unit));
    out.put(row.status);
    for (const std::int64_t value : {row.m, row.n, row.k, row.promote}) out.put(value);
    for (const auto member : error_members) out.put(row.error.*member);
    out.put(row.error.nonfinite);
  }
  out.text(record.why);
  return out.take();
}

ProductRecord decode_products(std::string_view bytes, const std::string& where) {
  Reader in(bytes, where);
  expect(in, RecordKind::products);
  ProductRecord record;
  record.rows.resize(in.count(5 + 32 + 88));
  for (ProductRecord::Row& row : record.rows) {
    row.unit = in.get<std::int32_t>();
    row.status = in.status();
    for (std::int64_t* value : {&row.m, &row.n, &row.k, &row.promote}) *value = in.get<std::int64_t>();
    for (const auto member : error_members) row.error.*member = in.get<double>();
    row.error.nonfinite = in.get<std::uint64_t>();
  }
  record.why = in.text();
  in.finish();
  return record;
}

}  // namespace fp8scope
