// What to compress and how, as data: methods by name, and their options, each declared once for flags, files and
// checks.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace bertx::compress {

/// One step of compression. Defaults are those of the papers, scaled to the length of the training; what is optional
/// has a default of its own in each method (its file in compress/ says which).
struct Recipe {
  std::string method = "magnitude";
  std::uint64_t seed = 42;
  double learning_rate = 5e-5;              ///< of the weights, as the trainer has it
  std::int64_t calibration_samples = 2048;  ///< at most so many training examples to measure activations, gradients
  std::int64_t calibration_batch = 16;      ///< of them at a time

  // ---- pruning: weights, heads ------------------------------------------------------------------------------------
  double sparsity = 0.9;           ///< of the encoder's matrices (heads: share of all heads), 0 <= sparsity < 1
  bool sparsity_is_stated = true;  ///< false: a pattern, or a penalty by hand, decides
  std::string scope = "auto";  ///< "auto" | "local" | "row" | "global": ranked as the method's paper does, inside each
                               ///< matrix, inside each row, or over all matrices together
  std::string distribution = "uniform";  ///< "uniform" | "erdos_renyi" | "sensitivity": of zeros over matrices
  std::string pattern = {};              ///< "n:m": at most n kept of every m weights of a row; empty: none
  double schedule_begin = 0.1;           ///< share of the steps before the first zero
  double schedule_end = 0.7;             ///< share of the steps after which the sparsity stays (the mask still moves)
  double initial_sparsity = 0.0;         ///< at schedule_begin
  std::int64_t mask_interval = 10;       ///< steps between two rankings; soft movement compares at every step
  std::optional<double> score_learning_rate = {};   ///< movement: peak rate of the scores, on the trainer's schedule
  double score_start = 0.0;                         ///< movement: scores begin at so many times |W| / rms(W)
  std::optional<double> regularization = {};        ///< soft movement: λ by hand instead of steering
  double threshold = 0.1;                           ///< soft movement: final τ
  std::optional<double> damp = {};                  ///< sparsegpt: 0.01 of the mean second moment; obert: 1e-7
  std::optional<std::int64_t> block_size = {};      ///< sparsegpt: 128 columns; obert: 50 weights of the Fisher matrix
  std::optional<std::int64_t> recomputations = {};  ///< obert: estimates of the Fisher matrix; at once 1, in training 7
  std::int64_t fisher_gradients = 1024;             ///< obert: of one estimate
  std::int64_t fisher_memory = 4096;                ///< obert: MiB for what is estimated at a time
  std::int64_t rounds = 4;                          ///< iterative magnitude: prunings, evenly over the training
  std::optional<double> rewind = {};                ///< iterative magnitude: share of the first round whose weights
                                                    ///< are gone back to after each pruning; none: they go on
  std::int64_t block_height = 32, block_width = 32;  ///< block movement: weights of attention that share a score

  // ---- structure: heads, neurons, layers --------------------------------------------------------------------------
  std::string importance = "auto";          ///< of heads and neurons; auto: as the method's paper
  double heads_per_round = 0.1;             ///< heads: share of all heads removed between two estimates of importance
  double neurons_per_round = 0.1;           ///< neurons: the same
  std::optional<double> metric_floor = {};  ///< heads, neurons: removal ends before the task's metric falls below it
  double budget = 0.5;                      ///< mask_search: share of the encoder's cost that is left
  std::string budget_of = "multiplies";     ///< mask_search: "multiplies" | "latency"
  bool rescale = true;                      ///< mask_search: what stays makes good of what went, by least squares
  std::string which = "top";                ///< layers: "top" | "bottom" | "alternate" | "symmetric" | "contribution"
  std::optional<std::int64_t> drop = {};    ///< layers: how many; half of them
  std::optional<double> cosine = {};        ///< layers, contribution: those of a larger cosine(input, output) go
  std::string keep_layers = {};             ///< layers: "0,2,4": these stay, whatever `which` says

  // ---- factorization: each matrix by itself -----------------------------------------------------------------------
  std::optional<std::int64_t> rank = {};  ///< of every matrix; embedding: of the word embeddings, 128
  std::string rank_by = "ratio";          ///< without a rank: "ratio" | "energy" | "error" | "time"
  double ratio = 0.5;                     ///< of the multiplies of the whole matrix that are left
  double energy = 0.9;                    ///< share of the spectrum's squares that is kept
  double error = 0.1;                     ///< relative error of what comes out (svd: of the matrix) that is allowed
  double speed_up = 1.5;                  ///< time: of each product, measured
  bool allow_slower = false;              ///< factors of more multiplies than the matrix has
  double remainder_sparsity = 0.95;       ///< low_rank_sparse: zeros of the sparse part beside the factors

  // ---- Tucker over all matrices -----------------------------------------------------------------------------------
  std::optional<std::int64_t> tucker_rank = {};   ///< of U and V; half of the hidden size
  std::optional<std::int64_t> tucker_cores = {};  ///< half of the slices
  std::int64_t alternations = 5;                  ///< turns of U, V and P after the first decomposition

  // ---- sharing ----------------------------------------------------------------------------------------------------
  std::int64_t groups = 1;    ///< of layers that share; layer l of L is in group int(l / L · groups)
  std::string share = "all";  ///< "all" | "attention" | "ffn": of a layer, with its biases and LayerNorm
  std::string tie =
      "average";  ///< "average" | "stepwise" | "lower" layers give a group its weights; "scratch": new ones
  std::int64_t repair_rank = 0;  ///< of what each layer keeps of W_l − W̄ beside the shared weight; 0: nothing
};

enum class Training : std::uint8_t { never, optional, always };
/// What a method does to a model; `bertx prune` has the first two.
enum class Family : std::uint8_t { pruning, structure, factorization, sharing };

/// One row of the table of methods.
struct Method {
  std::string_view name, summary, paper;
  Family family;
  Training training;
  bool needs_data;           ///< labelled examples, even without training
  std::string_view options;  ///< names of the options it reads, separated by blanks

  bool takes(std::string_view option) const;
};
std::span<const Method> methods();
/// Throws Error(usage) with the nearest name.
const Method& find_method(std::string_view name);

/// A field of Recipe by name.
struct Option {
  using Field = std::variant<double Recipe::*, std::int64_t Recipe::*, bool Recipe::*, std::string Recipe::*,
                             std::optional<double> Recipe::*, std::optional<std::int64_t> Recipe::*>;
  std::string_view name;
  Field field;
  std::string_view help;
  /// Of numbers; the ends belong to it unless they are open.
  double least = -std::numeric_limits<double>::infinity(), most = std::numeric_limits<double>::infinity();
  bool open_least = false, open_most = false;
  std::string_view choices = {};  ///< of texts, separated by blanks; empty: any text
};
std::span<const Option> options();
/// Null where there is none of that name.
const Option* find_option(std::string_view name);

/// Throws Error(usage) naming the option, what was found and what was expected.
void check(const Recipe& recipe);

/// The words of a list that is separated by blanks.
std::vector<std::string_view> words(std::string_view list);

}  // namespace bertx::compress
