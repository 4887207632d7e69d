#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "src/hdf5.hpp"
#include "src/table.hpp"

namespace fp8scope {

/// A file that a run read: enough to know it again.
struct InputFile {
  std::string name;  ///< without its folder, which differs between machines
  std::uint64_t bytes = 0;
  std::string sha256;
};

/// Reads the whole file once. Throws IoError.
InputFile identify(const std::string& path);

/// What differs between machines and runs of the same experiment; left out when reproducible.
struct RunInfo {
  std::vector<std::string> argv;
  std::string isa;
  int threads = 0;
};

/// A table that is not held in memory.
struct LongTable {
  Table layout;  ///< its columns, empty; none with an axis, none of text
  std::int64_t rows = 0;
  /// Calls take(chunk) with pieces of the table, in order, `rows` in all.
  std::function<void(const std::function<void(const Table& chunk)>& take)> for_each_chunk;
};

/// A result file: tables with where they come from.
struct Results {
  std::string schema = "fp8stats", schema_version = "1.0";
  std::string title;
  std::vector<h5::Attribute> attributes;  ///< of the root: seed, recipes, ...; must be reproducible
  std::vector<InputFile> inputs;
  std::deque<Table> tables;  // a deque: references stay valid
  std::deque<LongTable> long_tables;

  /// Appends a table and returns it.
  Table& add(std::string name, std::string long_name) {
    return tables.emplace_back(std::move(name), std::move(long_name));
  }
};

/// Writes the tables as groups of columns with dimension scales, units and long names; provenance
/// as root attributes; `run` as attributes of /run_info, unless `reproducible`. Then the bytes
/// depend only on `results`, the version and the commit: no time, host, arguments, threads or
/// compiler.
///
/// Throws IoError, and then leaves nothing behind; std::invalid_argument if columns differ in
/// length.
void write_results(const std::string& path, const Results& results, const RunInfo& run,
                   bool reproducible);

/// Whether a file has the attributes of a result file. Throws IoError, DataError if it is no HDF5 file.
bool is_result_file(const std::string& path);

/// Reads what write_results() wrote. Throws IoError, DataError.
Results read_results(const std::string& path);

}  // namespace fp8scope
