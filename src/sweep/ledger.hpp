#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/sweep/journal.hpp"
#include "src/sweep/plan.hpp"
#include "src/sweep/record.hpp"

namespace fp8scope {

/// Where the record of every item is, over all journals of a sweep.
class Ledger {
 public:
  /// Reads all of them. Of two records of an item the one that did not fail counts.
  /// Throws DataError if two records of an item contradict each other; IoError.
  Ledger(const SweepPlan& plan, const std::vector<std::string>& journals);

  bool has(std::uint64_t item) const { return places_[item].journal >= 0; }
  /// Requires has(item).
  RowStatus worst(std::uint64_t item) const { return places_[item].worst; }
  std::uint32_t rows(std::uint64_t item) const { return places_[item].rows; }
  /// Valid until the next call.
  std::string_view payload(std::uint64_t item) const;
  std::string where(std::uint64_t item) const;

  std::uint64_t found() const { return found_; }
  /// What was skipped in the journals, for the user.
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  struct Place {
    std::uint64_t at = 0;
    std::int32_t journal = -1;
    std::uint32_t rows = 0, crc = 0;
    RowStatus worst = RowStatus::ok;
  };
  void take(std::size_t journal, std::uint64_t item, std::string_view payload, std::uint64_t at);

  std::vector<std::unique_ptr<Journal>> journals_;
  std::vector<Place> places_;  ///< [items]
  std::vector<std::string> warnings_;
  std::uint64_t found_ = 0;
};

}  // namespace fp8scope
