// bertx distill: a small model and a large, fine-tuned one in; the small one, taught by the large one, out.
#include "bertx/error.h"
#include "bertx/signals.h"
#include "commands.h"
#include "common/training.h"

namespace bertx::tools {

int distill_command(const Arguments& arguments) {
  TrainFlags train;
  Flags flags("distill", "train a small model to answer as a large, fine-tuned one does");
  add_training_flags(flags, train);
  flags
      .example(
          "bertx distill --model_name_or_path minilm --teacher out/sst2 --task_name sst2 --data_dir glue \\\n"
          "    --output_dir out/sst2-small",
          "labels and the teacher's answers, half and half")
      .example(
          "bertx distill --model_name_or_path out/six-layers --teacher out/sst2 --distillation tinybert \\\n"
          "    --hard_weight 0 --train_file texts.tsv --output_dir out/tiny",
          "answers, hidden states and attention; the labels do not count");
  if (!flags.parse(arguments)) return 0;
  finish_training_flags(flags, train);
  if (train.teacher.model.empty()) {
    fail(ErrorKind::usage, "--teacher is missing; expected a fine-tuned model to learn from");
  }
  const SignalScope signals;
  return train_and_print(train);
}

}  // namespace bertx::tools
