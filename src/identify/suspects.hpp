#pragma once

#include <vector>

#include "src/identify/identify.hpp"

namespace fp8scope {

/// Every row of recipes() with every choice of its options, cast as `kind` or any role, that has the tile and element
/// format of the dump, or takes them as an option. Equal casts are one suspect.
std::vector<Suspect> named_suspects(const CodedTensor& dump);

/// `from` with one key changed to each other value of knobs(); casts that contradict themselves are left out.
/// `floors`: more values of amax.floor to try.
std::vector<Suspect> changed_suspects(const Suspect& from, const std::vector<std::string>& floors);

}  // namespace fp8scope
