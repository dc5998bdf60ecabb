// bertx factorize: matrices as products of smaller ones; at once, or before the model is trained on.
#include "common/compression.h"

namespace bertx::tools {

int factorize_command(const Arguments& arguments) {
  return compression_command(
      {"factorize",
       "matrices as products of smaller ones: fewer numbers and multiplies, fast on every machine",
       "Factorization",
       {compress::Family::factorization},
       {{"bertx factorize --model_name_or_path out/sst2 --method drone --ratio 0.5 --output_dir out/sst2-drone \\\n"
         "    --task_name sst2 --data_dir glue --num_train_epochs 1",
         "half of the multiplies, best for what comes in, then an epoch of fine-tuning"},
        {"bertx factorize --model_name_or_path out/sst2 --rank_by time --speed_up 1.5 --output_dir out/sst2-fast",
         "the largest ranks that make each product 1.5 times faster on this machine, without data"},
        {"bertx factorize --model_name_or_path out/sst2 --method embedding --rank 128 --output_dir out/sst2-small",
         "the word embeddings alone: a smaller file"}}},
      arguments);
}

}  // namespace bertx::tools
