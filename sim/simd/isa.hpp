#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace fp8scope {

/// Which instructions the vector kernels use. The results never depend on it.
enum class Isa : std::uint8_t {
  automatic,  ///< the widest this processor has
  scalar,     ///< the plain code
  sse4,
  avx2,
  avx512,
};

struct NamedIsa {
  std::string_view name;
  Isa isa;
};

inline constexpr NamedIsa isas[] = {
    {"auto", Isa::automatic}, {"scalar", Isa::scalar}, {"sse4", Isa::sse4},
    {"avx2", Isa::avx2},      {"avx512", Isa::avx512},
};

std::string_view isa_name(Isa isa);

/// Whether this processor and this build have it.
bool isa_supported(Isa isa);

/// All that are supported but `automatic`, slowest first.
std::vector<Isa> supported_isas();

/// Selects the instructions of all vector kernels, for all threads. Not while a kernel runs.
/// Throws std::invalid_argument if it is not supported.
void set_isa(Isa isa);

/// The instructions in use; never `automatic` on a processor that the names above cover.
Isa isa();

}  // namespace fp8scope
