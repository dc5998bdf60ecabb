#include "bertx/recipe_file.h"

#include <algorithm>
#include <array>

#include "bertx/error.h"
#include "bertx/files.h"
#include "bertx/nearest.h"
#include "io/json.h"
#include "recipe/step_order.h"

namespace bertx::compress {
namespace {

using Json = nlohmann::json;

constexpr std::uint64_t most_bytes = 1u << 20;
constexpr std::size_t most_steps = 100;

// ---- settings of a training -----------------------------------------------------------------------------------------

std::vector<TrainSetting> read_training(const Json& value, const std::string& where) {
  if (!value.is_object()) {
    fail(ErrorKind::bad_input, where, ": found ", json_found(value),
         ", expected an object of settings of a training, e.g. {\"num_train_epochs\": 1}");
  }
  std::vector<TrainSetting> settings;
  for (const auto& [name, content] : value.items()) {
    settings.push_back({name, json_setting_text(content, where + ": " + name)});
  }
  return settings;
}

std::string read_description(const Json& value, const std::string& where) {
  if (!value.is_string()) fail(ErrorKind::bad_input, where, ": found ", json_found(value), ", expected a text");
  return value.get<std::string>();
}

// ---- methods and their options --------------------------------------------------------------------------------------

const Method* read_method(const Json& value, const std::string& where) {
  if (!value.is_string()) {
    fail(ErrorKind::bad_input, where, ": method: found ", json_found(value), ", expected the name of a method");
  }
  const auto& name = value.get_ref<const std::string&>();
  if (name == "fine_tune") return nullptr;
  std::vector<std::string_view> names{"fine_tune"};
  std::string list = "fine_tune";
  for (const Method& method : methods()) {
    if (method.name == name) return &method;
    names.push_back(method.name);
    list += ", " + std::string(method.name);
  }
  fail(ErrorKind::bad_input, where, ": method: found ", quote(name), ", expected one of ", list,
       did_you_mean(name, names));
}

[[noreturn]] void fail_on_key(const std::string& key, const std::string& where, const Method* method) {
  std::vector<std::string_view> names{"method", "train", "description"};
  std::string list = "method, train, description";
  if (method) {
    for (const std::string_view option : words(method->options)) {
      names.push_back(option);
      list += ", " + std::string(option);
    }
  }
  const std::string who = method ? "method " + std::string(method->name) : "a step that only trains";
  if (find_option(key)) {
    fail(ErrorKind::bad_input, where, ": ", quote(key), ": found an option that ", who, " does not read, expected ",
         list);
  }
  fail(ErrorKind::bad_input, where, ": ", quote(key), ": found an unknown key, expected ", list,
       did_you_mean(key, names));
}

template <class T>
struct IsOptional : std::false_type {};
template <class T>
struct IsOptional<std::optional<T>> : std::true_type {
  using Inner = T;
};

template <class T>
void read_value(const Json& value, const std::string& where, T& target) {
  const auto wrong = [&](std::string_view expected) {
    fail(ErrorKind::bad_input, where, ": found ", json_found(value), ", expected ", expected);
  };
  if constexpr (IsOptional<T>::value) {
    typename IsOptional<T>::Inner inner{};
    read_value(value, where, inner);
    target = inner;
  } else if constexpr (std::is_same_v<T, bool>) {
    if (!value.is_boolean()) wrong("true or false");
    target = value.get<bool>();
  } else if constexpr (std::is_same_v<T, std::int64_t>) {
    target = json_integer(value, where, INT64_MIN, INT64_MAX);
  } else if constexpr (std::is_same_v<T, double>) {
    if (!value.is_number()) wrong("a number");
    target = value.get<double>();
  } else {
    static_assert(std::is_same_v<T, std::string>);
    if (!value.is_string()) wrong("a text");
    target = value.get<std::string>();
  }
}

/// check() of the whole recipe speaks of options; the message gets the place in the file.
void check_values(const Recipe& recipe, const std::string& where) {
  try {
    check(recipe);
  } catch (const Error& error) {
    fail(ErrorKind::bad_input, where, ": ", error.what());
  }
}

// ---- steps ----------------------------------------------------------------------------------------------------------

void check_training(const RecipeStep& step, const Method* method, const std::string& where) {
  if (!method) return;
  if (method->training == Training::always && !step.trains) {
    fail(ErrorKind::bad_input, where, ": train: found nothing, expected an object, because method ", method->name,
         " works by training only ({} takes the settings of all steps)");
  }
  if (method->training == Training::never && step.trains) {
    fail(ErrorKind::bad_input, where, ": train: found an object, expected nothing, because method ", method->name,
         " acts at once; a step {\"method\": \"fine_tune\"} after it trains");
  }
}

std::string place(const std::filesystem::path& path, std::size_t step, std::string_view name) {
  return text(path.string(), ": step ", step + 1, name.empty() ? "" : " (", name, name.empty() ? "" : ")");
}

RecipeStep read_step(const Json& value, const std::filesystem::path& path, std::size_t index) {
  // 1. Which method.
  const std::string nameless = place(path, index, "");
  if (!value.is_object()) {
    fail(ErrorKind::bad_input, nameless, ": found ", json_found(value), ", expected an object");
  }
  if (!value.contains("method") && !value.contains("train")) {
    fail(ErrorKind::bad_input, nameless, ": method: found neither a method nor train, expected at least one of them");
  }
  RecipeStep step;
  const Method* method = value.contains("method") ? read_method(value["method"], nameless) : nullptr;
  if (method) step.method = step.recipe.method = method->name;
  step.json = value.dump();
  step.trains = !method || value.contains("train");
  const std::string where = place(path, index, step.name());

  // 2. Its options.
  for (const auto& [key, content] : value.items()) {
    if (key == "method") continue;
    if (key == "train") {
      step.training = read_training(content, where + ": train");
    } else if (key == "description") {
      read_description(content, where + ": description");
    } else if (!method || !method->takes(key) || !find_option(key)) {
      fail_on_key(key, where, method);
    } else {
      const auto read = [&](auto field) { read_value(content, where + ": " + key, step.recipe.*field); };
      std::visit(read, find_option(key)->field);
      step.given.push_back(key);
    }
  }

  // 3. Whether they fit together.
  step.recipe.sparsity_is_stated = std::ranges::find(step.given, "sparsity") != step.given.end();
  if (method) check_values(step.recipe, where);
  check_training(step, method, where);
  return step;
}

}  // namespace

std::string RecipeFile::where(std::size_t step) const { return place(path, step, steps[step].name()); }

RecipeFile parse_recipe(std::string_view json, const std::filesystem::path& source) {
  RecipeFile file;
  file.path = source;
  const Json root = parse_json_text(json, source.string());
  const JsonObject top(root, source.string());
  for (const auto& [key, value] : root.items()) {
    if (key == "description") {
      file.description = read_description(value, source.string() + ": description");
    } else if (key == "train") {
      file.training = read_training(value, source.string() + ": train");
    } else if (key != "steps") {
      fail(ErrorKind::bad_input, source.string(), ": ", quote(key),
           ": found an unknown key, expected description, train, steps",
           did_you_mean(key, {"description", "train", "steps"}));
    }
  }
  const Json& steps = top.at("steps");
  if (!steps.is_array() || steps.empty() || steps.size() > most_steps) {
    top.fail_at("steps", text("an array of 1 to ", most_steps, " steps"));
  }
  for (const Json& step : steps) file.steps.push_back(read_step(step, file.path, file.steps.size()));
  check_order(file);
  return file;
}

void check_against(const RecipeFile& file, const Config& config) {
  struct Limit {
    std::string_view option;
    std::int64_t most;
    std::string_view what;
  };
  // Both sides of every matrix of the encoder, and of the word embeddings, are at least `hidden` long.
  constexpr std::string_view full_rank = "the full rank of this model's matrices", all = "all layers of this model";
  const auto layers = static_cast<std::int64_t>(config.layers.size());
  const std::array limits{Limit{"rank", config.hidden, full_rank}, Limit{"tucker_rank", config.hidden, full_rank},
                          Limit{"repair_rank", config.hidden, full_rank},
                          Limit{"groups", layers - 1, "so that some of this model's layers share"},
                          Limit{"drop", layers, all}};
  for (std::size_t i = 0; i < file.steps.size(); ++i) {
    const RecipeStep& step = file.steps[i];
    for (const Limit& limit : limits) {
      if (std::ranges::find(step.given, limit.option) == step.given.end()) continue;
      const auto check_limit = [&](auto field) {
        using T = std::remove_cvref_t<decltype(step.recipe.*field)>;
        std::optional<std::int64_t> value;
        if constexpr (std::is_same_v<T, std::int64_t> || std::is_same_v<T, std::optional<std::int64_t>>) {
          value = step.recipe.*field;
        }
        if (!value || *value <= limit.most) return;
        fail(ErrorKind::bad_input, file.where(i), ": ", limit.option, ": found ", *value, ", expected at most ",
             limit.most, ", ", limit.what);
      };
      std::visit(check_limit, find_option(limit.option)->field);
    }
  }
}

RecipeFile read_recipe_file(const std::filesystem::path& path) {
  return parse_recipe(read_text_file(path, most_bytes), path);
}

}  // namespace bertx::compress
