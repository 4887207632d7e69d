#pragma once

#include <boost/program_options.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sim/block.hpp"
#include "src/command.hpp"

namespace fp8scope {

/// The options and positional words of one subcommand.
///
///   Options o("replay", "TRACE");
///   o.add("output,o", "FILE", "where the results go");
///   o.flag("reproducible", "leave out all that may differ between machines");
///   if (!o.parse(args)) return 0;  // --help was asked for and printed
///
/// Every value is kept as text and read by the typed getters, because Boost reads "-1" as 2^64-1.
class Options {
 public:
  /// `positional` is the usage text of the positional words, e.g. "TRACE" or "A B"; the number of
  /// words in it is the number required, unless it ends in "...", which allows any further number,
  /// or a word is in [brackets], which makes it optional.
  Options(std::string_view command, std::string_view positional);

  void add(const char* name, const char* value_name, const char* help);
  void flag(const char* name, const char* help);

  /// False if --help was given (and printed). Throws UsageError on an unknown or repeated option, a
  /// missing or extra word.
  bool parse(const Args& args);

  bool has(const std::string& name) const { return values_.count(name) > 0; }
  const std::vector<std::string>& words() const { return words_; }

  std::optional<std::string> text(const std::string& name) const;
  /// Throws UsageError if the option is missing.
  std::string required(const std::string& name) const;
  std::string text_or(const std::string& name, std::string_view fallback) const;
  /// Comma-separated list. Throws UsageError on an empty element.
  std::vector<std::string> list(const std::string& name) const;
  /// Decimal or 0x hexadecimal. Throws UsageError on a sign, a fraction, or overflow.
  std::uint64_t number_or(const std::string& name, std::uint64_t fallback) const;
  double real_or(const std::string& name, double fallback) const;
  /// "4096", "64KiB", "2GiB", "1.5GB": bytes.
  std::uint64_t bytes_or(const std::string& name, std::uint64_t fallback) const;

 private:
  void fail(const std::string& message) const;
  void print_help() const;

  std::string command_, positional_;
  boost::program_options::options_description description_;
  boost::program_options::variables_map values_;
  std::vector<std::string> words_;
};

/// "1.5GiB" as bytes; K, M, G, T are powers of 1000 with B, of 1024 with iB. Throws UsageError.
std::uint64_t parse_bytes(std::string_view text, std::string_view what);

/// "1x128", "tensor"; 0 stands for all. Throws UsageError.
BlockShape parse_block(std::string_view text, std::string_view what);

/// Unsigned decimal or 0x hexadecimal. Throws UsageError.
std::uint64_t parse_number(std::string_view text, std::string_view what);

}  // namespace fp8scope
