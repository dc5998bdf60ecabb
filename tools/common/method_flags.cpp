#include "common/method_flags.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "bertx/distill.h"
#include "bertx/error.h"
#include "common/text.h"

namespace bertx::tools {
namespace {

constexpr std::size_t kFewReaders = 3;

std::vector<const compress::Method*> methods_of(Families families) {
  std::vector<const compress::Method*> found;
  for (const compress::Method& method : compress::methods()) {
    if (std::ranges::find(families, method.family) != families.end()) found.push_back(&method);
  }
  return found;
}

/// The options of a method as flags: "--sparsity --scope".
std::string option_flags(const compress::Method& method) {
  std::string out;
  for (const std::string_view option : compress::words(method.options)) {
    out += (out.empty() ? "--" : " --") + std::string(option);
  }
  return out;
}

std::pair<std::string, std::string> entry_of(const compress::Method& method) {
  const std::string_view when = method.training == compress::Training::always  ? "; trains"
                                : method.training == compress::Training::never ? "; at once"
                                                                               : "";
  return {std::string(method.name), bertx::text(method.summary, when, " [", method.paper, "] ", option_flags(method))};
}

/// The option as a flag, its help with the methods that read it where they are few.
void declare_option(Flags& flags, const compress::Option& option, const std::vector<std::string>& readers,
                    compress::Recipe& recipe) {
  using compress::Recipe;
  std::string list;
  for (const std::string& reader : readers) list += (list.empty() ? "" : ", ") + reader;
  if (readers.size() > kFewReaders) list = bertx::text("of ", readers.size(), " methods");
  const std::string name(option.name), help = std::string(option.help) + " (" + list + ")";
  const Range range{option.least, option.most, option.open_least, option.open_most};
  const auto whole = [](double x) { return static_cast<std::int64_t>(x); };
  const auto declare = [&](auto field) {
    auto* target = &(recipe.*field);
    using T = std::remove_reference_t<decltype(*target)>;
    if constexpr (std::is_same_v<T, double>) {
      flags.number(name, target, range, help);
    } else if constexpr (std::is_same_v<T, std::int64_t>) {
      flags.integer(name, target, whole(option.least), whole(option.most), help);
    } else if constexpr (std::is_same_v<T, bool>) {
      flags.toggle(name, target, help);
    } else if constexpr (std::is_same_v<T, std::optional<double>>) {
      flags.optional_number(name, target, range, help);
    } else if constexpr (std::is_same_v<T, std::optional<std::int64_t>>) {
      flags.optional_integer(name, target, whole(option.least), whole(option.most), help);
    } else if (option.choices.empty()) {
      flags.text(name, target, "TEXT", help);
    } else {
      std::vector<std::string> choices;
      for (const std::string_view choice : compress::words(option.choices)) choices.emplace_back(choice);
      flags.choice(name, target, choices, help);
    }
  };
  std::visit(declare, option.field);
}

}  // namespace

void add_method_flags(Flags& flags, std::string_view title, Families families, compress::Recipe& recipe) {
  const std::vector<const compress::Method*> methods = methods_of(families);
  std::vector<std::string> names;
  std::vector<std::pair<std::string, std::string>> entries;
  for (const compress::Method* method : methods) {
    names.emplace_back(method->name);
    entries.push_back(entry_of(*method));
  }
  recipe.method = names.front();
  flags.group(std::string(title)).choice("method", &recipe.method, names, "one of the methods listed below");
  for (const compress::Option& option : compress::options()) {
    std::vector<std::string> readers;
    for (const compress::Method* method : methods) {
      if (method->takes(option.name)) readers.emplace_back(method->name);
    }
    if (!readers.empty()) declare_option(flags, option, readers, recipe);
  }
  flags.section("Methods, with the flags that they read", std::move(entries));
}

void finish_method_flags(const Flags& flags, compress::Recipe& recipe, const TrainFlags& train) {
  const compress::Method& method = compress::find_method(recipe.method);
  for (const auto& [given, value] : flags.given()) {
    if (compress::find_option(given) == nullptr || method.takes(given)) continue;
    fail(ErrorKind::usage, "--", given, ": method ", method.name, " does not read it; it reads ", option_flags(method));
  }
  recipe.seed = static_cast<std::uint64_t>(train.run.seed);
  recipe.learning_rate = train.options.learning_rate;
  recipe.sparsity_is_stated = flags.given("sparsity");
  compress::check(recipe);
}

std::string methods_page() {
  struct Part {
    compress::Family family;
    std::string_view title;
  };
  std::string out = "Methods of compression, with the options that they read\n";
  for (const auto& [family, title] : {Part{compress::Family::pruning, "Zeros (bertx prune)"},
                                      {compress::Family::structure, "Fewer heads, neurons, layers (bertx prune)"},
                                      {compress::Family::factorization, "Factors (bertx factorize)"},
                                      {compress::Family::sharing, "Shared weights (bertx share)"}}) {
    const std::vector<const compress::Method*> methods = methods_of({family});
    if (methods.empty()) continue;
    out += "\n" + std::string(title) + ":\n";
    for (const compress::Method* method : methods) {
      const auto [name, what] = entry_of(*method);
      out += help_entry(name, what);
    }
  }
  out += "\nAny of them can be a step of `bertx compress --recipe FILE`.\n";
  out += "\nDistillation (bertx distill, or --teacher wherever a model is trained), by --distillation:\n";
  for (const compress::DistillationKind& kind : compress::distillation_kinds()) {
    std::string flags;
    for (const std::string_view option : compress::words(kind.options)) flags += " --" + std::string(option);
    out += help_entry(std::string(kind.name),
                      bertx::text(kind.summary, " [", kind.paper, "] --temperature --hard_weight", flags));
  }
  return out;
}

}  // namespace bertx::tools
