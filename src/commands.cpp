#include "src/command.hpp"

namespace fp8scope {

namespace {

// To add a subcommand: its own cmd_NAME.cpp, a declaration in command.hpp, and a row here.
constexpr Command table[] = {
    {"info", "this build, the instruction sets and devices it can use", run_info},
    {"formats", "the number formats, their limits and code tables", run_formats},
    {"recipes", "the scaling recipes and their options", run_recipes},
    {"models", "how matrix units add: accumulation models, their numbers and evidence", run_models},
    {"cast", "one array to codes, scales and dequantised values", run_cast},
    {"gemm", "one product of matrices as a matrix unit computes it, and who owns its error", run_gemm},
    {"replay", "recipes over a recorded trace: what each loses, as a table and as HDF5", run_replay},
    {"validate", "recorded words of a matrix unit or a kernel against a model", run_validate},
    {"probe", "how the matrix units of this machine's GPU add: their numbers, their row of the table", run_probe},
    {"trace", "list, verify, import, slice, synthesise or export recorded tensors", run_trace, trace_actions},
    {"statistics", "what every column of the results means, and by which name others know it", run_statistics},
    {"diff", "two results, two casts, or two recipes over a trace, down to scale bytes and codes", run_diff},
    {"rewrite", "codes and scales rewritten or transposed: do they still describe the same tensor", run_rewrite},
    {"identify", "which recipe made these codes and scales, and in what others differ", run_identify},
    {"events", "delayed scaling driven by an event log: what went wrong, and when", run_events},
    {"train", "a language model trained with emulated arithmetic; probes of its gradients; recording", run_train},
    {"schedule", "pipelines of a training step, simulated: bubbles, communication, memory", run_schedule},
    {"report", "results as one HTML file to look at", run_report},
    {"export", "a table of a result file as csv, json, md or text", run_export},
    {"sweep", "every combination of a specification over a trace; resumable, in parts on many machines", run_sweep},
    {"merge", "publish what the parts of a sweep have done", run_merge},
    {"bench", "speeds against ceilings measured in the same run", run_bench},
    {"completion", "a script that completes commands and options: bash, zsh or fish", run_completion},
};

}  // namespace

std::span<const Command> commands() { return table; }

}  // namespace fp8scope
