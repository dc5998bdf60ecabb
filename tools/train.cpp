// bertx train: a pretrained model and labelled texts in, a fine-tuned model out.
#include <string>

#include "bertx/signals.h"
#include "commands.h"
#include "common/evaluation.h"
#include "common/output.h"
#include "common/plan.h"
#include "common/training.h"

namespace bertx::tools {

int train_command(const Arguments& arguments) {
  // 1. Flags.
  TrainFlags train;
  Flags flags("train", "fine-tune a model on a GLUE task or on your own labelled texts");
  add_training_flags(flags, train);
  flags
      .example(
          "bertx train --model_name_or_path bert-base-uncased --task_name sst2 --data_dir glue \\\n"
          "    --per_device_train_batch_size 32 --num_train_epochs 3 --output_dir out/sst2",
          "a GLUE task")
      .example(
          "bertx train --model_name_or_path minilm --train_file train.tsv --validation_file held-out.tsv \\\n"
          "    --max_seq_length 64 --output_dir out/own",
          "own texts with the columns text and label")
      .example("bertx train config.json --learning_rate 3e-5", "the flags from a file, one of them changed");
  if (!flags.parse(arguments)) return 0;
  finish_training_flags(flags, train);
  const SignalScope signals;

  return train_and_print(train);
}

int train_and_print(TrainFlags& train) {
  // 2. Tokenizer, data as token ids, model with a head for the labels; a teacher where one is named.
  Setup setup = prepare_training(train);
  if (setup.signal != 0) return 128 + setup.signal;
  Output out;
  if (train.dry_run) {
    out.write(describe_training(setup, train, nullptr));
    out.flush();
    return 0;
  }

  // 3. Training, evaluation, predictions, and their files.
  Figures figures;
  if (const int code = run_training(setup, train, nullptr, &figures); code != 0) return code;
  if (train.json) {
    out.write(figures_to_json(figures) + "\n");
  } else {
    out.write(figures_table(figures));
  }
  out.flush();
  return 0;
}

}  // namespace bertx::tools
