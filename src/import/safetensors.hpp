#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "src/import/bytes.hpp"

namespace fp8scope {

/// A tensor of a .safetensors file.
struct SafetensorsTensor {
  std::string name;
  std::string dtype;  ///< "F32", "BF16", "F8_E4M3", ...
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0, end = 0;  ///< its bytes, counted from the beginning of the file
};

/// What the header of a .safetensors file says, once all of it was checked.
struct SafetensorsHeader {
  std::map<std::string, std::string> metadata;
  std::vector<SafetensorsTensor> tensors;  ///< in the order of their bytes
};

/// Bits of an element of a dtype; 0 if the dtype is unknown.
int safetensors_bits(std::string_view dtype);

/// Reads and checks a header as strictly as the format's own library, and a little more: the length
/// fits into the file and below 100 MB, JSON without duplicate keys, integers only, no overflow in
/// any product, tensors without holes or overlaps that end where the file ends.
///
/// Throws DataError naming the tensor. Source: safetensors/src/tensor.rs of
/// github.com/huggingface/safetensors, 0.6.
SafetensorsHeader read_safetensors(const ByteSource& file);

/// The header of a file to write: eight bytes of length and the JSON, padded so that the data begins
/// at a multiple of eight. `begin` and `end` count from the beginning of the data.
std::string safetensors_header(const SafetensorsHeader& header);

}  // namespace fp8scope
