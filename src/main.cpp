#include <fmt/format.h>

#include <exception>
#include <new>
#include <system_error>

#include "cuda/device.hpp"
#include "sim/names.hpp"
#include "sim/recipes/record.hpp"
#include "src/command.hpp"
#include "src/errors.hpp"
#include "src/recipes/recipe_file.hpp"
#include "src/version.hpp"

namespace fp8scope {
namespace {

void print_usage() {
  fmt::print("usage: fp8scope COMMAND [options]\n\n");
  for (const Command& command : commands()) fmt::print("  {:10} {}\n", command.name, command.summary);
  fmt::print("\n'fp8scope COMMAND --help' shows the options of a command.\n");
}

int run(int argc, char** argv) {
  read_recipe_files_with(read_recipe_file);
  const Args words(argv + 1, argv + argc);
  if (words.empty()) return print_usage(), static_cast<int>(Exit::usage);
  const std::string& name = words.front();
  if (name == "--help" || name == "-h" || name == "help") return print_usage(), 0;
  if (name == "--version" || name == "-V") return fmt::print("fp8scope {}\n", version), 0;
  const auto* command = find_by_name(commands(), name);
  if (!command) by_name(commands(), name, "command");
  return command->run({words.begin() + 1, words.end()});
}

int report(Exit code, const std::string& message) {
  fmt::print(stderr, "fp8scope: {}\n", message);
  return static_cast<int>(code);
}

}  // namespace
}  // namespace fp8scope

int main(int argc, char** argv) {
  using namespace fp8scope;
  try {
    const int code = run(argc, argv);
    // What was printed must have arrived: a full disk shows up only when the buffer is written.
    if (std::fflush(stdout) != 0 || std::ferror(stdout))
      return report(Exit::io, "standard output could not be written (disk full or closed pipe?)");
    return code;
  } catch (const Error& error) {
    return report(error.code(), error.what());
  } catch (const cuda::DeviceError& error) {
    return report(Exit::io, error.what());
  } catch (const std::bad_alloc&) {
    return report(Exit::io, "out of memory; lower --max-mem or use fewer threads");
  } catch (const std::system_error& error) {  // fmt's, where standard output cannot be written
    return report(Exit::io, error.what());
  } catch (const std::invalid_argument& error) {
    return report(Exit::usage, error.what());
  } catch (const std::exception& error) {
    return report(Exit::internal, fmt::format("internal error: {}", error.what()));
  }
}
