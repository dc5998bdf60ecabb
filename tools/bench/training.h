// Timing of updates: forward, loss, backward, clipping and AdamW with dropout, as the trainer runs them.
#pragma once

#include <functional>
#include <vector>

#include "bench/forward.h"
#include "train/update_step.h"

namespace bertx::tools {

/// A model under training: what lives from one update to the next.
struct Trainee {
  std::unique_ptr<Model> model;  ///< shares no parameter with others
  std::unique_ptr<UpdateStep> step;
  double sparsity = 0;
  bool dense = false;
  std::string kernel;
  std::int64_t updates = 0;
};

/// Where the models come from: each call gives one of its own.
using MakeModel = std::function<Model()>;

/// For each sparsity a model to train: dense for 0, else the smallest weights of each encoder matrix gone and the rest
/// trained at their places (CSR); with `control` also the same places as a mask on dense matrices. No sparsities: the
/// model as it is stored and, where that is not dense, dense. Throws Error(usage) for a model without a head.
std::vector<Trainee> trainees(Backend& backend, const MakeModel& make, const std::vector<double>& sparsities,
                              bool control, std::uint64_t seed);

/// Updates of every trainee on every one of `texts`, in turn. Throws Error(numeric) where loss or gradient norm of a
/// sparse model differ by more than 1e-4 from those of the same numbers under a mask.
std::vector<BenchRow> time_training(Backend& backend, const MakeModel& make, std::vector<Trainee>& models,
                                    const std::vector<Texts>& texts, const BenchRuns& runs);

}  // namespace bertx::tools
