#include "src/sweep/ledger.hpp"

#include <fmt/format.h>

#include "src/errors.hpp"
#include "src/sweep/crc32c.hpp"

namespace fp8scope {

Ledger::Ledger(const SweepPlan& plan, const std::vector<std::string>& journals) : places_(plan.items()) {
  for (const std::string& path : journals) {
    const std::size_t number = journals_.size();
    Journal& journal = *journals_.emplace_back(std::make_unique<Journal>(path, plan.hash()));
    const JournalScan scan = journal.scan([&](std::uint64_t item, std::string_view payload, std::uint64_t at) {
      take(number, item, payload, at);
    });
    if (scan.damaged > 0)
      warnings_.push_back(fmt::format("'{}': {} damaged bytes between good records are skipped; what they held is done again",
                                      path, scan.damaged));
  }
}

void Ledger::take(std::size_t journal, std::uint64_t item, std::string_view payload, std::uint64_t at) {
  const std::string& path = journals_[journal]->path();
  if (item >= places_.size())
    throw DataError(fmt::format("'{}': has a record of item {}; the plan has {}", path, item, places_.size()));
  const RecordHead head = record_head(payload, fmt::format("'{}'", path));
  const std::uint32_t crc = crc32c(payload);
  Place& place = places_[item];
  if (place.journal >= 0) {
    const bool failed_before = place.worst == RowStatus::failed, fails = head.worst == RowStatus::failed;
    if (failed_before == fails && !fails && place.crc != crc)
      throw DataError(fmt::format("'{}' and '{}': two processes found different results for item {}; one of them ran on a faulty "
                                  "machine or another version: move one journal away and resume",
                                  journals_[static_cast<std::size_t>(place.journal)]->path(), path, item));
    if (!failed_before) return;
  }
  if (place.journal < 0) ++found_;
  place = {at, static_cast<std::int32_t>(journal), head.rows, crc, head.worst};
}

std::string_view Ledger::payload(std::uint64_t item) const {
  return journals_[static_cast<std::size_t>(places_[item].journal)]->payload(places_[item].at);
}

std::string Ledger::where(std::uint64_t item) const {
  return fmt::format("'{}'", journals_[static_cast<std::size_t>(places_[item].journal)]->path());
}

}  // namespace fp8scope
