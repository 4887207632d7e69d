#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sim/format.hpp"
#include "src/hdf5.hpp"

namespace fp8scope {

/// A tensor in a file, read by panels of rows: its last axis is a row's, all others count rows.
class ArrayReader {
 public:
  virtual ~ArrayReader() = default;
  /// As stored; a scalar is [].
  virtual const std::vector<std::int64_t>& shape() const = 0;
  /// Rows [first, first + count) as binary32, exactly but for binary64 input, which is rounded to
  /// nearest even.
  ///
  /// out  [count, cols()]
  virtual void read_rows(std::int64_t first, std::int64_t count, float* out) const = 0;
  /// "bfloat16", "float32", "uint8", or the name of the format of codes.
  virtual std::string dtype() const = 0;

  std::int64_t rows() const;
  std::int64_t cols() const;
  std::int64_t size() const { return rows() * cols(); }
};

/// Opens "IN.npy" or "IN.h5:DATASET".
///
/// `encoding` states what 8- or 16-bit elements encode (a format's name or its torch name), for
/// files that do not say so themselves: ml_dtypes arrays in .npy, codes without an `encoding`
/// attribute. Throws UsageError if the name is neither, IoError, DataError.
std::unique_ptr<ArrayReader> open_array(const std::string& name, std::string_view encoding = "");

/// The path part of "IN.h5:DATASET", all of "IN.npy".
std::string array_file(const std::string& name);

/// Decodes stored elements to binary32.
class ElementDecoder {
 public:
  /// Throws DataError(`where`...) if neither the stored type nor the encoding is one of floats, or
  /// if they contradict each other.
  ElementDecoder(h5::Type type, std::string_view encoding, const std::string& where);
  std::size_t bytes() const { return h5::type_bytes(type_); }
  std::string name() const;
  /// The format of 8- and 16-bit elements; binary32 is {8, 23, 127, ieee}.
  const Format& format() const { return format_; }
  /// stored  [count], elements of the type
  /// out     [count]
  void decode(const void* stored, std::int64_t count, float* out) const;

 private:
  h5::Type type_;
  Format format_{8, 23, 127, Specials::ieee};
  bool codes_ = false;
  std::vector<float> values_;  ///< value of each code, of formats of at most 16 bits
};

/// A file of arrays written by panels of rows; it appears whole or not at all.
class ArrayFile {
 public:
  explicit ArrayFile(const std::string& path) : file_(path) {}

  /// Raw codes with the attributes `encoding` and `fp_format`. Formats of at most 8 bits are
  /// uint8, of at most 16 uint16, else uint32. Returns the number of the array.
  int add_codes(const std::string& name, const Format& format, const h5::Shape& shape,
                const std::string& long_name);
  /// The same for codes of no floating-point format; they have no `fp_format`.
  int add_codes(const std::string& name, int bits, const std::string& encoding, const h5::Shape& shape,
                const std::string& long_name);
  int add_floats(const std::string& name, const h5::Shape& shape, const std::string& units,
                 const std::string& long_name);
  /// Of binary64.
  int add_doubles(const std::string& name, const h5::Shape& shape, const std::string& units,
                  const std::string& long_name);
  void set(int array, const std::string& attribute, const h5::Value& value);
  void set_root(const std::string& attribute, const h5::Value& value);

  /// Rows [first, first + count); the overload must be that of the array's type.
  ///
  /// values  [count, last extent]
  void write_rows(int array, std::int64_t first, std::int64_t count, const std::uint8_t* values);
  void write_rows(int array, std::int64_t first, std::int64_t count, const std::uint16_t* values);
  void write_rows(int array, std::int64_t first, std::int64_t count, const std::uint32_t* values);
  void write_rows(int array, std::int64_t first, std::int64_t count, const float* values);
  void write_rows(int array, std::int64_t first, std::int64_t count, const double* values);
  /// Throws IoError; then no file is left behind.
  void commit() { file_.commit(); }

 private:
  int add(const std::string& name, h5::Type type, const h5::Shape& shape);
  void write(int array, h5::Type type, std::int64_t first, std::int64_t count, const void* values);

  h5::NewFile file_;
  std::vector<h5::Dataset> arrays_;
};

}  // namespace fp8scope
