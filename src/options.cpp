#include "src/options.hpp"

#include <fmt/format.h>

#include <charconv>
#include <sstream>

#include "sim/names.hpp"
#include "src/errors.hpp"

namespace fp8scope {

namespace po = boost::program_options;

namespace {

constexpr const char* positional_key = "positional-words";

struct Arity {
  std::size_t least = 0, most = 0;
};

Arity arity_of(const std::string& positional) {
  Arity arity;
  std::istringstream words(positional);
  for (std::string word; words >> word;) {
    const bool open = word.ends_with("...");
    if (word.front() != '[') ++arity.least;
    arity.most = open ? std::size_t{1} << 20 : arity.most + 1;
  }
  return arity;
}

/// The options' long names, for a suggestion when one is misspelt.
std::string suggestion(const po::options_description& description, std::string option) {
  while (option.starts_with('-')) option.erase(0, 1);
  std::string best;
  std::size_t least = std::max<std::size_t>(2, option.size() / 3) + 1;
  for (const auto& known : description.options()) {
    const std::string& name = known->long_name();
    if (const std::size_t d = edit_distance(option, name); d < least) least = d, best = name;
  }
  return best.empty() ? "" : fmt::format("; did you mean '--{}'?", best);
}

}  // namespace

Options::Options(std::string_view command, std::string_view positional)
    : command_(command), positional_(positional), description_("options", 100) {
  flag("help,h", "show this text");
}

void Options::add(const char* name, const char* value_name, const char* help) {
  description_.add_options()(name, po::value<std::string>()->value_name(value_name), help);
}

void Options::flag(const char* name, const char* help) { description_.add_options()(name, help); }

void Options::fail(const std::string& message) const {
  throw UsageError(fmt::format("{}: {} (see 'fp8scope {} --help')", command_, message, command_));
}

void Options::print_help() const {
  std::ostringstream options;
  options << description_;
  fmt::print("usage: fp8scope {} {}{}[options]\n\n{}", command_, positional_,
             positional_.empty() ? "" : " ", options.str());
}

bool Options::parse(const Args& args) {
  po::options_description all;
  all.add(description_).add_options()(positional_key, po::value<std::vector<std::string>>());
  po::positional_options_description words;
  words.add(positional_key, -1);
  // Guessing lets "--fo" stand for whatever begins so today; a later option would change its meaning.
  const int style = po::command_line_style::unix_style & ~po::command_line_style::allow_guessing;
  try {
    po::store(po::command_line_parser(args).options(all).positional(words).style(style).run(), values_);
  } catch (const po::unknown_option& error) {
    fail(fmt::format("unknown option '{}'{}", error.get_option_name(),
                     suggestion(description_, error.get_option_name())));
  } catch (const po::error& error) {
    fail(error.what());
  }
  if (has("help")) return print_help(), false;
  if (has(positional_key)) words_ = values_[positional_key].as<std::vector<std::string>>();
  const Arity arity = arity_of(positional_);
  if (words_.size() < arity.least) fail(fmt::format("expected {}", positional_));
  if (words_.size() > arity.most) fail(fmt::format("unexpected word '{}'", words_[arity.most]));
  return true;
}

std::optional<std::string> Options::text(const std::string& name) const {
  if (!has(name)) return {};
  return values_[name].as<std::string>();
}

std::string Options::required(const std::string& name) const {
  if (!has(name)) fail(fmt::format("option '--{}' is required", name));
  return *text(name);
}

std::string Options::text_or(const std::string& name, std::string_view fallback) const {
  return text(name).value_or(std::string(fallback));
}

std::vector<std::string> Options::list(const std::string& name) const {
  std::vector<std::string> parts;
  if (!has(name)) return parts;
  std::istringstream stream(*text(name));
  for (std::string part; std::getline(stream, part, ',');) {
    if (part.empty()) fail(fmt::format("option '--{}' has an empty element", name));
    parts.push_back(part);
  }
  if (parts.empty()) fail(fmt::format("option '--{}' is empty", name));
  return parts;
}

std::uint64_t Options::number_or(const std::string& name, std::uint64_t fallback) const {
  return has(name) ? parse_number(*text(name), "--" + name) : fallback;
}

double Options::real_or(const std::string& name, double fallback) const {
  if (!has(name)) return fallback;
  const std::string value = *text(name);
  double number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc{} || end != value.data() + value.size())
    fail(fmt::format("--{} wants a number, got '{}'", name, value));
  return number;
}

std::uint64_t Options::bytes_or(const std::string& name, std::uint64_t fallback) const {
  return has(name) ? parse_bytes(*text(name), "--" + name) : fallback;
}

std::uint64_t parse_number(std::string_view text, std::string_view what) {
  const bool hex = text.starts_with("0x");
  const std::string_view digits = hex ? text.substr(2) : text;
  std::uint64_t value = 0;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), value, hex ? 16 : 10);
  if (error != std::errc{} || end != digits.data() + digits.size() || digits.empty())
    throw UsageError(fmt::format("{} wants a whole number from 0 to 2^64-1, got '{}'", what, text));
  return value;
}

BlockShape parse_block(std::string_view text, std::string_view what) {
  if (text == "tensor") return {};
  const std::size_t x = std::min(text.find('x'), text.size());
  const auto side = [&](std::string_view word) -> std::int64_t {
    if (word == "all") return 0;
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error != std::errc{} || end != word.data() + word.size() || value < 1)
      throw UsageError(fmt::format("{} {}: wanted ROWSxCOLUMNS such as 1x128 or 1xall, or tensor", what, text));
    return value;
  };
  return {side(text.substr(0, x)), side(text.substr(std::min(x + 1, text.size())))};
}

std::uint64_t parse_bytes(std::string_view text, std::string_view what) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  double factor = 1;
  bool good = error == std::errc{} && number >= 0;
  if (!unit.empty() && unit != "B") {
    const auto power = std::string_view("KMGT").find(unit.front());
    const std::string_view suffix = unit.substr(1);
    good = good && power != std::string_view::npos && (suffix == "iB" || suffix == "B");
    for (std::size_t i = 0; good && i <= power; ++i) factor *= suffix == "iB" ? 1024 : 1000;
  }
  if (!good || number * factor > 9e18)
    throw UsageError(fmt::format("{} wants bytes such as 2GiB or 500MB, got '{}'", what, text));
  return static_cast<std::uint64_t>(number * factor);
}

}  // namespace fp8scope
