#pragma once

#include <string>

#include "sim/matrix_unit.hpp"
#include "src/hdf5.hpp"

namespace fp8scope {

/// Files of words that matrix units wrote, for tests on machines without them. The inputs of large sets
/// are not stored: generator, seed and number of a tile give them again.

/// One kind of recording: an input class, a chain of instructions, how many tiles.
struct GoldenSet {
  std::string input_class;
  std::size_t chain = 1;    ///< instructions per accumulator
  std::size_t stored = 0;   ///< tiles whose inputs and words are stored
  std::size_t digests = 0;  ///< tiles of which only hashes of the words are
  std::uint64_t seed = 1;
};

/// What is known about where a file comes from.
struct GoldenOrigin {
  std::string source;  ///< "recorded" or "modelled"
  std::string gpu_name, compute_capability, driver, cuda_runtime, toolkit, date;
};

inline constexpr std::string_view golden_generator = "philox4x32-10/input-source";
inline constexpr std::int64_t golden_generator_version = 1;
inline constexpr std::size_t digest_tiles = 64;  ///< tiles that share a hash

/// Inputs of tiles first .. first + count - 1 of a set: every tile has a stream of random numbers of its own.
UnitTiles golden_tiles(const MatrixUnit& unit, const GoldenSet& set, std::size_t first, std::size_t count);

/// FNV-1a of 64 bits over the words' bytes, least significant first.
std::uint64_t digest_of(std::span<const std::uint32_t> words);

/// Writes the file's attributes.
void describe_golden_file(h5::Group& root, const GoldenOrigin& origin);

struct GoldenRecord {
  std::size_t stored = 0, digested = 0, unequal = 0;  ///< words; those that a second run wrote otherwise
};

/// Runs the unit on a set, twice, and writes the group MODEL_FORMATS_CLASS_xCHAIN.
GoldenRecord record_golden(h5::Group& root, MatrixUnit& unit, const std::string& model, const GoldenSet& set);

/// Whether a group holds hashes of words.
bool has_digests(const h5::Group& group);

struct DigestVerdict {
  std::size_t words = 0, blocks = 0, differ = 0;  ///< words and hashes in all; hashes that differ
  std::size_t first_tile = 0;                     ///< where the first of those begins
};

/// Recomputes the words of a group's digests by a model. Throws DataError where attributes do not fit.
DigestVerdict check_digests(const h5::Group& group, const std::string& model);

}  // namespace fp8scope
