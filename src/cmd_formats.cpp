#include <fmt/format.h>

#include "sim/convert.hpp"
#include "sim/format.hpp"
#include "src/command.hpp"
#include "src/options.hpp"

namespace fp8scope {

namespace {

void print_table() {
  fmt::print("{:12} {:>4} {:>4} {:>7} {:>12} {:>12} {:>12}  {}\n", "format", "bits", "bias", "special",
             "max", "min normal", "min value", "source");
  for (const NamedFormat& row : formats) {
    const Format& f = row.format;
    fmt::print("{:12} {:>4} {:>4} {:>7} {:>12.6g} {:>12.6g} {:>12.6g}  {}\n", row.name, f.bits(),
               f.bias, specials_name(f.specials), f.max_value(), pow2(f.min_exponent()),
               decode(f, f.is_signed() ? 1u : 0u), row.source);
  }
}

}  // namespace

int run_formats(const Args& args) {
  Options options("formats", "[NAME]");
  if (!options.parse(args)) return 0;
  print_table();
  return 0;
}

}  // namespace fp8scope
