#pragma once

namespace fp8scope {

/// P13: products by cuBLASLt, loaded at run time, held against every model, promotion interval and order of
/// scales; prints which reproduce them. Returns the exit code. Throws SkippedError without a GPU or the library.
int run_library_probe();

}  // namespace fp8scope
