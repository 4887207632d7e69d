#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sim/block.hpp"
#include "sim/format.hpp"
#include "src/hdf5.hpp"

namespace fp8scope {

/// Which datasets of a file hold a coded tensor; "" is found by name.
struct CodedNames {
  std::string codes, scales, x;
  std::string format;         ///< element format, where the file does not say
  std::string scale_format;   ///< "e8m0", "e4m3" for byte scales, where the file does not say
  std::string block;          ///< "1x128", where the shapes leave it open
  bool packed = false;        ///< two codes of four bits to a byte; also where a dataset says layout = fp4_pairs, or x has twice the columns
};

/// A tensor as codes and scales, maybe with what it was made from.
struct CodedTensor {
  std::string where;                  ///< for messages
  std::string codes_name, scales_name, x_name;
  Format format;
  std::int64_t rows = 0, cols = 0;
  BlockShape block;
  bool scales_turned = false;         ///< scales lie as [across, down]
  bool packed = false;                ///< two codes of four bits to a byte, the even column low
  std::vector<std::uint16_t> codes;   ///< [rows, cols]
  std::optional<Format> scale_codes;  ///< format of `stored` where it is bytes; binary32 otherwise
  std::vector<std::uint32_t> stored;  ///< [blocks], as in the file: codes or binary32 bits
  std::vector<float> factors;         ///< [blocks], what they stand for
  bool has_x = false;
  std::vector<float> x;               ///< [rows, cols]
  std::string x_dtype;
  bool x_turned = false;              ///< x lay as [cols, rows]

  BlockGrid grid() const { return {rows, cols, block}; }
};

/// The tensor with rows and columns swapped, blocks and all.
CodedTensor transposed(const CodedTensor& t);

/// Reads codes and scales (and x, if it is there) of an HDF5 file such as `cast` writes. Codes: uint8 or
/// uint16, [.., cols], or two FP4 codes to a byte. Scales: binary32, or E8M0 or E4M3 bytes, or four E8M0
/// bytes to an int32; one for each block, in either orientation, maybe padded to a multiple of 4. The
/// block shape follows from the shapes.
///
/// Throws IoError, DataError, UsageError.
CodedTensor read_coded(const std::string& path, const CodedNames& names);

}  // namespace fp8scope
