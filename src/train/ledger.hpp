#pragma once

#include "src/table.hpp"
#include "src/train/replicas.hpp"

namespace fp8scope::train {

/// Bytes that a rank holds in a training step with `rows` tokens at a time, item by item: as the switches
/// say, and with BF16 operands and every other switch as it comes. Columns item, switch, format, bytes,
/// bf16_bytes, ratio.
Table memory_table(Transformer& model, std::int64_t rows);

/// Sum of the bytes of memory_table().
Bytes memory_bytes(Transformer& model, std::int64_t rows);

/// Bytes sent between ranks a step, and how exact what arrived was. Columns what, bytes, bf16_bytes,
/// ratio, sqnr.
Table traffic_table(const Traffic& traffic, std::int64_t steps);

}  // namespace fp8scope::train
