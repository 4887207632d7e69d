#pragma once
namespace fp8scope {
enum class Isa { automatic, scalar, sse4, avx2, avx512 };
Isa isa();
void set_isa(Isa);
}
