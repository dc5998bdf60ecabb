// The sub-commands. Each takes what follows its name on the command line and returns the exit code of the process.
#pragma once

#include <string>
#include <vector>

namespace bertx::tools {

using Arguments = std::vector<std::string>;

int train_command(const Arguments& arguments);
int prune_command(const Arguments& arguments);
int factorize_command(const Arguments& arguments);
int share_command(const Arguments& arguments);
int compress_command(const Arguments& arguments);
int export_command(const Arguments& arguments);
int distill_command(const Arguments& arguments);
int eval_command(const Arguments& arguments);
int predict_command(const Arguments& arguments);
int tokenize_command(const Arguments& arguments);
int importance_command(const Arguments& arguments);
int inspect_command(const Arguments& arguments);
int bench_command(const Arguments& arguments);

}  // namespace bertx::tools
