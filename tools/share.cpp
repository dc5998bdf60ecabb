// bertx share: one set of weights for several layers; at once, or before the model is trained on.
#include "common/compression.h"

namespace bertx::tools {

int share_command(const Arguments& arguments) {
  return compression_command(
      {"share",
       "groups of layers with one set of weights: a smaller file and fewer moments, as many multiplies",
       "Sharing",
       {compress::Family::sharing},
       {{"bertx share --model_name_or_path out/sst2 --groups 3 --repair_rank 32 --output_dir out/sst2-shared \\\n"
         "    --task_name sst2 --data_dir glue --num_train_epochs 2",
         "the mean of four layers each, what is special of each in a low rank, then two epochs of fine-tuning"},
        {"bertx share --model_name_or_path out/sst2 --share ffn --tie stepwise --output_dir out/sst2-ffn",
         "at once, without data"}}},
      arguments);
}

}  // namespace bertx::tools
