#include <fmt/format.h>
#include <gtest/gtest.h>

#include <regex>

#include "src/command.hpp"
#include "tests/process.hpp"

namespace fp8scope {
namespace {

const std::string program = FP8SCOPE_BINARY;

/// "--name" of every option that the help of a command shows.
std::vector<std::string> options_of(const std::string& command) {
  const std::string help = run_command(program + " " + command + " --help").out;
  std::vector<std::string> names;
  const std::regex form("\n +(-. \\[ )?(--[a-z0-9-]+)");
  for (auto it = std::sregex_iterator(help.begin(), help.end(), form); it != std::sregex_iterator(); ++it) names.push_back((*it)[2]);
  return names;
}

TEST(Completion, NamesEveryOptionOfEveryCommandForEveryShell) {
  const std::string bash = run_command(program + " completion bash").out, zsh = run_command(program + " completion zsh").out,
                    fish = run_command(program + " completion fish").out;
  for (const Command& command : commands()) {
    std::vector<std::string> options = options_of(std::string(command.name));
    for (const std::string_view action : command.actions)
      for (const std::string& option : options_of(fmt::format("{} {}", command.name, action))) options.push_back(option);
    EXPECT_FALSE(options.empty()) << command.name;
    const std::size_t at = bash.find(fmt::format("    {}) words=", command.name));
    ASSERT_NE(at, std::string::npos) << command.name;
    const std::string line = bash.substr(at, bash.find('\n', at) - at);
    for (const std::string& option : options) {
      EXPECT_NE(line.find(option + " "), std::string::npos) << command.name << " " << option;
      EXPECT_NE(zsh.find("'" + option + "["), std::string::npos) << option;
      EXPECT_NE(fish.find(fmt::format("__fish_seen_subcommand_from {}' -l {}", command.name, option.substr(2))), std::string::npos) << option;
    }
  }
}

TEST(Completion, BashCompletesCommandsOptionsAndFiles) {
  const auto completed = [](const std::string& words, int at) {
    return run_command(fmt::format("bash -c 'source <({} completion bash); COMP_WORDS=({}); COMP_CWORD={}; _fp8scope; echo ${{COMPREPLY[*]}}'", program, words, at)).out;
  };
  EXPECT_EQ(completed("fp8scope swe", 1), "sweep\n");
  EXPECT_EQ(completed("fp8scope sweep --dr", 2), "--dry-run\n");
  EXPECT_EQ(completed("fp8scope trace s", 2), "stat slice synth\n");
  EXPECT_EQ(completed("fp8scope trace stat /etc/hostnam", 3), "/etc/hostname\n");
  EXPECT_EQ(completed("fp8scope sweep /etc/hostnam", 2), "/etc/hostname\n");
}

TEST(Completion, ShellsThatAreThereAcceptTheirScript) {
  int tried = 0;
  for (const char* shell : {"bash", "zsh", "fish"}) {
    if (run_command(fmt::format("command -v {}", shell)).code != 0) continue;
    ++tried;
    const Outcome outcome = run_command(fmt::format("{0} completion {1} >/tmp/fp8scope-completion.$$ && {1} -n /tmp/fp8scope-completion.$$; code=$?; rm -f /tmp/fp8scope-completion.$$; exit $code", program, shell));
    EXPECT_EQ(outcome.code, 0) << shell << outcome.err;
  }
  EXPECT_GE(tried, 1);
}

}  // namespace
}  // namespace fp8scope
