// A method that acts at once, as a hook: the model is compressed before the first step and then trained as it is.
#pragma once

#include "bertx/compress.h"

namespace bertx::compress {

class AtBeginning final : public TrainHook {
 public:
  using Now = void (*)(Backend&, Model&, const Recipe&, const Calibration&);
  AtBeginning(const Recipe& recipe, const Calibration& calibration, Now now)
      : recipe_(recipe), calibration_(calibration), now_(now) {}

  // The model of a checkpoint has been compressed by the run before.
  void begin(Backend& backend, Model& model, const TrainState& state) override {
    if (!state.resumed) now_(backend, model, recipe_, calibration_);
  }

 private:
  Recipe recipe_;
  Calibration calibration_;
  Now now_;
};

}  // namespace bertx::compress
