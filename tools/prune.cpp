// bertx prune: zeros, fewer heads, neurons and layers; at once, or while the model is trained.
#include "common/compression.h"

namespace bertx::tools {

int prune_command(const Arguments& arguments) {
  return compression_command(
      {"prune",
       "make a smaller, faster model: zeros, fewer heads, neurons, layers; at once or during training",
       "Pruning",
       {compress::Family::pruning, compress::Family::structure},
       {{"bertx prune --model_name_or_path out/sst2 --method magnitude --sparsity 0.9 \\\n"
         "    --task_name sst2 --data_dir glue --num_train_epochs 2 --output_dir out/sst2-90",
         "gradual magnitude pruning during two epochs"},
        {"bertx prune --model_name_or_path out/sst2 --method mask_search --budget 0.6 --one_shot \\\n"
         "    --task_name sst2 --data_dir glue --output_dir out/sst2-60",
         "heads and neurons under one budget, rescaled, without training"},
        {"bertx prune --model_name_or_path bert-base-uncased --method layers --drop 6 \\\n"
         "    --task_name sst2 --data_dir glue --output_dir out/sst2-6",
         "the six lower layers, then fine-tuning"},
        {"bertx prune --model_name_or_path out/sst2 --sparsity 0.5 --output_dir out/sst2-50",
         "at once, without data"}}},
      arguments);
}

}  // namespace bertx::tools
