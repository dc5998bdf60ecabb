// The options of all methods, and what their values may be.
#include <array>
#include <cmath>

#include "bertx/error.h"
#include "bertx/recipe.h"
#include "pruning/selection.h"

namespace bertx::compress {
namespace {

using R = Recipe;
constexpr double none = std::numeric_limits<double>::infinity();

const std::array table{
    // ---- data to measure on ---------------------------------------------------------------------------------------
    Option{"calibration_samples", &R::calibration_samples,
           "texts that activations, gradients, importance are measured on", 1, 1e12},
    Option{"calibration_batch", &R::calibration_batch, "of them at a time", 1, 65536},
    // ---- pruning ----------------------------------------------------------------------------------------------------
    Option{"sparsity", &R::sparsity, "share of zeros in the encoder's matrices; heads: of all heads", 0, 1, false,
           true},
    Option{"scope", &R::scope,
           "weights are ranked in each matrix, in each row, or over all together; auto: as the method's paper", -none,
           none, false, false, "auto local row global"},
    Option{"distribution", &R::distribution,
           "zeros of the matrices: the same share; by the Erdos-Renyi rule; by the loss that each alone causes", -none,
           none, false, false, "uniform erdos_renyi sensitivity"},
    Option{"pattern", &R::pattern, "n:m, as 2:4: n kept of every m weights of a row; it says the sparsity"},
    Option{"schedule_begin", &R::schedule_begin, "share of the steps before the first zero", 0, 1},
    Option{"schedule_end", &R::schedule_end, "share of the steps after which the sparsity stays", 0, 1},
    Option{"initial_sparsity", &R::initial_sparsity, "at schedule_begin", 0, 1, false, true},
    Option{"mask_interval", &R::mask_interval, "steps between two rankings", 1, 1 << 20},
    Option{"score_learning_rate", &R::score_learning_rate, "rate of the scores; movement 0.01, l0 0.1", 0, 1e3, true},
    Option{"score_start", &R::score_start,
           "scores begin at so many times abs(W) / rms(W) of their matrix; 0: all equal, as in the paper, which wants "
           "tens of thousands of steps",
           0, 1e6},
    Option{"regularization", &R::regularization,
           "weight of the penalty on scores; steered towards the sparsity where it is not given", 0, 1e9},
    Option{"threshold", &R::threshold, "final threshold of the scores' sigmoid", 0, 1, true, true},
    Option{"damp", &R::damp, "added to a diagonal before inversion; sparsegpt: 0.01 of its mean; obert: 1e-7", 0, 1e9,
           true},
    Option{"block_size", &R::block_size, "sparsegpt: 128 columns; obert: 50 weights whose curvature is told together",
           1, 4096},
    Option{"recomputations", &R::recomputations, "estimates of the Fisher matrix; at once 1, in training 7", 1, 4096},
    Option{"fisher_gradients", &R::fisher_gradients,
           "gradients of one estimate, each of calibration_samples / fisher_gradients texts", 1, 1 << 20},
    Option{"fisher_memory", &R::fisher_memory, "MiB for the matrices that are estimated at a time; less takes longer",
           1, 1 << 24},
    Option{"rounds", &R::rounds, "prunings, evenly over the training", 1, 1000},
    Option{
        "rewind", &R::rewind,
        "weights go back after each pruning to where they were at this share of the first round; they go on where it "
        "is not given",
        0, 1},
    Option{"block_height", &R::block_height, "rows of a block of attention weights with one score", 1, 1 << 20},
    Option{"block_width", &R::block_width, "columns of such a block", 1, 1 << 20},
    // ---- structure --------------------------------------------------------------------------------------------------
    Option{
        "importance", &R::importance,
        "heads: example (a gate's gradient, absolute per example), token, batch, magnitude, random; neurons: taylor, "
        "magnitude, random; auto: example, taylor",
        -none, none, false, false, "auto example token batch taylor magnitude random"},
    Option{"heads_per_round", &R::heads_per_round, "share of all heads removed between two estimates of importance", 0,
           1, true},
    Option{"neurons_per_round", &R::neurons_per_round, "the same for neurons", 0, 1, true},
    Option{"metric_floor", &R::metric_floor,
           "removal ends before the task's first metric on the calibration texts falls below it", -1, 1},
    Option{"budget", &R::budget, "share of the encoder's cost that is left", 0, 1, true},
    Option{"budget_of", &R::budget_of, "what the budget counts", -none, none, false, false, "multiplies latency"},
    Option{"rescale", &R::rescale, "heads and neurons that stay make good of those that went, by least squares"},
    Option{"which", &R::which,
           "layers that go: the highest, the lowest, every other from the top, the middle, those that change least",
           -none, none, false, false, "top bottom alternate symmetric contribution"},
    Option{"drop", &R::drop, "how many layers go; half of them", 1, 1 << 20},
    Option{"cosine", &R::cosine, "contribution: layers whose output is closer to their input than this go", -1, 1},
    Option{"keep_layers", &R::keep_layers, "numbers of layers from 0, as 0,2,4: these stay, whatever else is said"},
    // ---- factorization: each matrix by itself -----------------------------------------------------------------------
    Option{"rank", &R::rank, "of every matrix; embedding: of the word embeddings, 128", 1, 1 << 20},
    Option{"rank_by", &R::rank_by, "what decides where no rank is given", -none, none, false, false,
           "ratio energy error time"},
    Option{"ratio", &R::ratio, "ratio: share of a matrix's multiplies that is left", 0, 1, true},
    Option{"energy", &R::energy, "energy: share of the spectrum's squares that is kept", 0, 1, true},
    Option{"error", &R::error, "error: relative error of each product that is allowed", 0, 1, true, true},
    Option{"speed_up", &R::speed_up, "time: of each product at least, measured", 1, 1e3},
    Option{"allow_slower", &R::allow_slower, "also ranks whose factors multiply more than the matrix"},
    Option{"remainder_sparsity", &R::remainder_sparsity, "zeros of the sparse part beside the factors", 0, 1, false,
           true},
    // ---- Tucker over all matrices -----------------------------------------------------------------------------------
    Option{"tucker_rank", &R::tucker_rank, "rank of the factors that all matrices share; half of the hidden size", 1,
           1 << 20},
    Option{"tucker_cores", &R::tucker_cores, "cores that all matrices are mixed from; half of the D x D slices", 1,
           1 << 20},
    Option{"alternations", &R::alternations, "turns in which each factor is solved for the others", 0, 1 << 20},
    // ---- sharing ----------------------------------------------------------------------------------------------------
    Option{"groups", &R::groups, "groups of layers, each with one set of weights", 1, 1 << 20},
    Option{"share", &R::share, "what the layers of a group have in common", -none, none, false, false,
           "all attention ffn"},
    Option{"tie", &R::tie,
           "where a group's weights come from: the mean of its layers, layers at equal distances, the lowest layers, "
           "or new random ones",
           -none, none, false, false, "average stepwise lower scratch"},
    Option{"repair_rank", &R::repair_rank,
           "rank of the difference from the shared weight that each layer keeps; 0: none, biases and LayerNorm are "
           "shared, too",
           0, 1 << 20},
};

struct Bounds {
  const Option& option;

  [[noreturn]] void fail_on(const auto& found) const {
    if (!option.choices.empty()) {
      std::string list;
      for (const std::string_view choice : words(option.choices))
        list += (list.empty() ? "" : ", ") + std::string(choice);
      fail(ErrorKind::usage, option.name, ": found ", found, ", expected one of ", list);
    }
    fail(ErrorKind::usage, option.name, ": found ", found, ", expected ",
         option.open_least ? "more than " : "at least ", option.least,
         option.most == none ? ""
         : option.open_most  ? " and less than "
                             : " and at most ",
         option.most == none ? "" : text(option.most));
  }
  void check(double x) const {
    const bool holds = (option.open_least ? x > option.least : x >= option.least) &&
                       (option.open_most ? x < option.most : x <= option.most);
    if (!holds) fail_on(x);
  }
  void check(std::int64_t x) const { check(static_cast<double>(x)); }
  void check(bool) const {}
  void check(const std::string& x) const {
    if (option.choices.empty()) return;
    for (const std::string_view choice : words(option.choices)) {
      if (x == choice) return;
    }
    fail_on("\"" + x + "\"");
  }
  template <class T>
  void check(const std::optional<T>& x) const {
    if (x) check(*x);
  }
};

// The ranking itself must be there before the training.
constexpr std::string_view sensitivity_is_measured_by[] = {"magnitude", "iterative_magnitude", "random"};

// Who calls the library may set options that a method does not read; of these it could not be seen in the result.
void check_selection(const Recipe& recipe) {
  const Method& method = find_method(recipe.method);
  if (!recipe.pattern.empty() && !method.takes("pattern")) {
    fail(ErrorKind::usage, "pattern: found ", recipe.pattern, " with method ", method.name,
         ", which does not rank weights, expected none");
  }
  if (recipe.distribution != "uniform" && !method.takes("distribution")) {
    fail(ErrorKind::usage, "distribution: found ", recipe.distribution, " with method ", method.name,
         ", which spreads zeros by itself, expected uniform");
  }
  if (recipe.distribution != "sensitivity") return;
  std::string list;
  for (const std::string_view name : sensitivity_is_measured_by) {
    if (name == method.name) return;
    list += (list.empty() ? "" : ", ") + std::string(name);
  }
  fail(ErrorKind::usage, "distribution: found sensitivity with method ", method.name,
       ", expected uniform or erdos_renyi; the methods that measure it are ", list);
}

}  // namespace

std::span<const Option> options() { return table; }

const Option* find_option(std::string_view name) {
  for (const Option& option : table) {
    if (option.name == name) return &option;
  }
  return nullptr;
}

void check(const Recipe& recipe) {
  find_method(recipe.method);
  if (!(recipe.learning_rate > 0.0)) {
    fail(ErrorKind::usage, "learning_rate: found ", recipe.learning_rate, ", expected more than 0");
  }
  for (const Option& option : table) {
    std::visit([&](auto field) { Bounds{option}.check(recipe.*field); }, option.field);
  }
  const double sparsity = final_sparsity(recipe);
  selection_of(recipe);
  check_selection(recipe);
  if (!recipe.pattern.empty() && recipe.sparsity_is_stated && std::abs(recipe.sparsity - sparsity) > 1e-6) {
    fail(ErrorKind::usage, "sparsity: found ", recipe.sparsity, " with pattern ", recipe.pattern, ", expected ",
         sparsity, " as the pattern says, or none");
  }
  if (recipe.initial_sparsity > sparsity) {
    fail(ErrorKind::usage, "initial_sparsity: found ", recipe.initial_sparsity, ", expected at most the sparsity, ",
         sparsity);
  }
  if (recipe.schedule_end <= recipe.schedule_begin) {
    fail(ErrorKind::usage, "schedule_end: found ", recipe.schedule_end, ", expected more than schedule_begin, ",
         recipe.schedule_begin);
  }
}

}  // namespace bertx::compress
