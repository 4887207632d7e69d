#include <fmt/format.h>

#include <algorithm>

#include "sim/names.hpp"
#include "src/command.hpp"
#include "src/errors.hpp"
#include "src/options.hpp"

namespace fp8scope {
namespace {

struct DescribedOption {
  std::string name, letter, help;
  bool has_value;
};
struct DescribedCommand {
  std::string name, summary;
  std::string actions;  ///< the words that must follow, each with a space behind it
  std::vector<DescribedOption> options;
};

/// What every command would print as its help.
std::vector<DescribedCommand> describe_commands() {
  std::vector<DescribedCommand> all;
  Options::describe_to([&](const std::string&, const boost::program_options::options_description& description) {
    for (const auto& option : description.options()) {
      if (std::ranges::find(all.back().options, option->long_name(), &DescribedOption::name) != all.back().options.end())
        continue;  // of an action before
      using boost::program_options::command_line_style::allow_dash_for_short;
      const std::string shorter = option->canonical_display_name(allow_dash_for_short);
      all.back().options.push_back({option->long_name(), shorter.starts_with("--") || !shorter.starts_with("-") ? "" : shorter.substr(1),
                                    option->description(), option->semantic()->max_tokens() > 0});
    }
  });
  for (const Command& command : commands()) {
    all.push_back({std::string(command.name), std::string(command.summary), {}, {}});
    if (command.actions.empty()) command.run({"--help"});
    for (const std::string_view action : command.actions) all.back().actions += std::string(action) + " ";
    for (const std::string_view action : command.actions) command.run({std::string(action), "--help"});
  }
  Options::describe_to(nullptr);
  return all;
}

/// `text` with a backslash before every character of `special`.
std::string escaped(const std::string& text, std::string_view special) {
  std::string out;
  for (const char c : text) {
    if (special.find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

/// For the inside of '...' of a shell.
std::string in_quotes(const std::string& text) {
  std::string out;
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out;
}

std::string bash(const std::vector<DescribedCommand>& all) {
  std::string names, cases;
  for (const DescribedCommand& command : all) {
    names += command.name + " ";
    std::string words;
    for (const DescribedOption& o : command.options) words += fmt::format("--{} {}", o.name, o.letter.empty() ? "" : "-" + o.letter + " ");
    const std::string actions = command.actions.empty() ? "" : fmt::format(" actions='{}'", command.actions);
    cases += fmt::format("    {}) words='{}'{} ;;\n", command.name, words, actions);
  }
  return fmt::format(R"(# bash completion of fp8scope: source <(fp8scope completion bash)
_fp8scope() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} words= actions=
  if ((COMP_CWORD == 1)); then
    COMPREPLY=($(compgen -W '{}--help --version' -- "$current"))
    return
  fi
  case ${{COMP_WORDS[1]}} in
{}  esac
  if [[ $current == -* ]]; then
    COMPREPLY=($(compgen -W "$words" -- "$current"))
  elif ((COMP_CWORD == 2)) && [[ $actions ]]; then
    COMPREPLY=($(compgen -W "$actions" -- "$current"))
  else
    COMPREPLY=($(compgen -f -- "$current"))
  fi
}}
complete -o filenames -F _fp8scope fp8scope
)",
                     names, cases);
}

std::string zsh(const std::vector<DescribedCommand>& all) {
  std::string names, cases;
  for (const DescribedCommand& command : all) {
    names += fmt::format("    '{}:{}'\n", command.name, in_quotes(escaped(command.summary, ":")));
    cases += fmt::format("    {})\n      _arguments \\\n", command.name);
    for (const DescribedOption& o : command.options) {
      const std::string tail = fmt::format("[{}]{}'", in_quotes(escaped(o.help, "[]:\\")), o.has_value ? ":value:_files" : "");
      cases += fmt::format("        '--{}{} \\\n", o.name, tail);
      if (!o.letter.empty()) cases += fmt::format("        '-{}{} \\\n", o.letter, tail);
    }
    if (!command.actions.empty()) cases += fmt::format("        '1:action:({})' \\\n", command.actions);
    cases += "        '*:file:_files' ;;\n";
  }
  return fmt::format(R"(#compdef fp8scope
# zsh completion of fp8scope: fp8scope completion zsh > a folder of $fpath/_fp8scope
_fp8scope() {{
  local -a commands
  commands=(
{}  )
  if ((CURRENT == 2)); then
    _describe command commands
    return
  fi
  local command=$words[2]
  shift words
  ((CURRENT--))
  case $command in
{}  esac
}}
_fp8scope "$@"
)",
                     names, cases);
}

std::string fish(const std::vector<DescribedCommand>& all) {
  std::string text = "# fish completion of fp8scope: fp8scope completion fish | source\n";
  for (const DescribedCommand& command : all) {
    text += fmt::format("complete -c fp8scope -n __fish_use_subcommand -f -a {} -d '{}'\n", command.name, escaped(command.summary, "'\\"));
    if (!command.actions.empty())
      text += fmt::format("complete -c fp8scope -n '__fish_seen_subcommand_from {0}; and not __fish_seen_subcommand_from {1}' -f -a '{1}'\n",
                          command.name, command.actions.substr(0, command.actions.size() - 1));
    for (const DescribedOption& o : command.options)
      text += fmt::format("complete -c fp8scope -n '__fish_seen_subcommand_from {}' -l {}{}{} -d '{}'\n", command.name, o.name,
                          o.letter.empty() ? "" : " -s " + o.letter, o.has_value ? " -r" : "", escaped(o.help, "'\\"));
  }
  return text;
}

// To add a shell: a function and a row here.
struct Shell {
  std::string_view name;
  std::string (*script)(const std::vector<DescribedCommand>&);
};
constexpr Shell shells[] = {{"bash", bash}, {"zsh", zsh}, {"fish", fish}};

}  // namespace

int run_completion(const Args& args) {
  Options options("completion", "bash|zsh|fish");
  if (!options.parse(args)) return 0;
  fmt::print("{}", by_name(shells, options.words()[0], "shell").script(describe_commands()));
  return 0;
}

}  // namespace fp8scope
