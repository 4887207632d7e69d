#pragma once

#include <string>
#include <vector>

#include "sim/matrix_unit.hpp"
#include "src/recorded_product.hpp"

namespace fp8scope {

/// What one probe read out of a unit.
struct Reading {
  std::string id, question, answer;  ///< "P2", "fraction bits below the largest exponent", "13, cut toward zero"
};

/// A row of the models' table held against a unit.
struct RowScore {
  std::string name;
  std::size_t differ = 0;  ///< words of all
};

/// Everything that the probes say about a unit.
struct ProbeReport {
  bool layout_ok = false;          ///< P0: small integers come out exactly
  std::vector<Reading> readings;
  std::vector<RowScore> rows;      ///< of the unit's formats, those with the fewest mismatches first
  std::vector<std::string> same;   ///< rows without a mismatch: the unit is one of them
  std::vector<Model> fits;         ///< aligned models without a mismatch, found by search
  std::size_t words = 0;
  /// "hopper_wgmma", "hopper_mma or hopper_wgmma", "none of the table; custom:terms=8:...".
  std::string verdict;
};

/// How thorough to be.
struct ProbeOptions {
  std::size_t per_class = 600;  ///< random words of each input class
  bool search = true;           ///< also fits the numbers of an aligned model, whatever the table has
  std::uint64_t seed = 1;
};

/// Runs the probes P0 to P11 on a unit, holds every word against the table, and fits the numbers of an
/// aligned model. The chain of instructions is two long, so that steps show.
ProbeReport probe_unit(MatrixUnit& unit, const ProbeOptions& options = {});

/// The words of every probe and input class that a report rests on.
std::vector<RecordedProduct> probe_words(MatrixUnit& unit, const ProbeOptions& options);

/// The rows of the table that have the formats of a unit, with their mismatches.
std::vector<RowScore> score_rows(const MatrixUnit& unit, const std::vector<RecordedProduct>& words);

/// The aligned models that reproduce every word, of all fraction bits, step lengths, results, roundings,
/// cuts and places of C; numbers that do not show are those nearest to the table's.
std::vector<Model> search_models(const MatrixUnit& unit, const std::vector<RecordedProduct>& words);

/// P1 to P11, each by vectors made for it.
std::vector<Reading> read_probes(MatrixUnit& unit);

/// P0: words of small integers that are not exact, of `words`.
std::size_t wrong_layout_words(MatrixUnit& unit, std::size_t tiles, std::size_t& words);

}  // namespace fp8scope
