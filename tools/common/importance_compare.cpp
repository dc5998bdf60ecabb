// Are the same heads important on other data, and in models of other seeds? Rank correlations say.
#include <cmath>
#include <limits>
#include <map>

#include "bertx/error.h"
#include "bertx/metrics.h"
#include "common/importance.h"
#include "common/rank_correlation.h"
#include "common/table.h"
#include "common/text.h"
#include "io/json.h"

namespace bertx::tools {

double kendall_tau(std::span<const float> a, std::span<const float> b) {
  std::int64_t agree = 0, differ = 0, tied_a = 0, tied_b = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    for (std::size_t j = i + 1; j < a.size(); ++j) {
      const int x = (a[i] > a[j]) - (a[i] < a[j]), y = (b[i] > b[j]) - (b[i] < b[j]);
      agree += x * y > 0;
      differ += x * y < 0;
      tied_a += x == 0 && y != 0;
      tied_b += x != 0 && y == 0;
    }
  }
  const auto ordered = static_cast<double>(agree + differ);
  const double pairs = std::sqrt((ordered + static_cast<double>(tied_a)) * (ordered + static_cast<double>(tied_b)));
  return pairs > 0 ? static_cast<double>(agree - differ) / pairs : std::numeric_limits<double>::quiet_NaN();
}

namespace {

using Json = nlohmann::ordered_json;

struct Pair {
  std::size_t first, second;
  std::string group;
  double spearman, kendall;
};

/// Mean of what is defined.
struct Mean {
  double sum = 0;
  std::int64_t count = 0;
  void add(double x) {
    if (std::isfinite(x)) sum += x, ++count;
  }
  double value() const {
    return count > 0 ? sum / static_cast<double>(count) : std::numeric_limits<double>::quiet_NaN();
  }
};
struct Group {
  std::int64_t pairs = 0;
  Mean spearman, kendall;
};

std::vector<float> ranked(const ImportanceSet& set) {
  std::vector<float> out;
  for (const double x : compared_importance(set)) out.push_back(static_cast<float>(x));
  return out;
}

std::string group_of(const ImportanceSet& a, const ImportanceSet& b) {
  std::string group = a.data == b.data ? "same data" : "other data";
  if (a.seed && b.seed) group += *a.seed == *b.seed ? ", same seed" : ", other seed";
  return group;
}

std::string heads_text(const ImportanceSet& set) {
  std::string out;
  for (const auto& layer : set.heads) out += (out.empty() ? "" : ",") + std::to_string(layer.size());
  return out;
}

std::vector<Pair> all_pairs(const std::vector<ImportanceSet>& sets) {
  std::vector<Pair> pairs;
  for (std::size_t i = 0; i < sets.size(); ++i) {
    if (heads_text(sets[i]) != heads_text(sets[0])) {
      fail(ErrorKind::bad_input, "set ", i + 1, " (", printable(sets[i].model), "): found layers of ",
           heads_text(sets[i]), " heads; expected ", heads_text(sets[0]), ", as in set 1");
    }
    for (std::size_t j = i + 1; j < sets.size() && heads_text(sets[j]) == heads_text(sets[0]); ++j) {
      const std::vector<float> a = ranked(sets[i]), b = ranked(sets[j]);
      pairs.push_back({i, j, group_of(sets[i], sets[j]), spearmanr(a, b), kendall_tau(a, b)});
    }
  }
  return pairs;
}

std::string shown(double x) { return std::isfinite(x) ? fixed(x, 3) : "-"; }
Json json_of(double x) { return std::isfinite(x) ? Json(x) : Json(nullptr); }

}  // namespace

std::string compare_importance(const std::vector<ImportanceSet>& sets, bool json) {
  const std::vector<Pair> pairs = all_pairs(sets);
  std::map<std::string, Group> groups;
  for (const Pair& pair : pairs) {
    Group& group = groups[pair.group];
    ++group.pairs;
    group.spearman.add(pair.spearman);
    group.kendall.add(pair.kendall);
  }

  if (json) {
    Json out{{"sets", Json::array()}, {"pairs", Json::array()}, {"groups", Json::object()}};
    for (const ImportanceSet& set : sets) {
      out["sets"].push_back(Json{{"model", set.model}, {"data", set.data}, {"split", set.split}, {"per", set.per}});
      out["sets"].back()["seed"] = set.seed ? Json(*set.seed) : Json(nullptr);
    }
    for (const Pair& pair : pairs) {
      out["pairs"].push_back(Json{{"first", pair.first},
                                  {"second", pair.second},
                                  {"group", pair.group},
                                  {"spearman", json_of(pair.spearman)},
                                  {"kendall", json_of(pair.kendall)}});
    }
    for (const auto& [name, group] : groups) {
      out["groups"][name] = Json{{"pairs", group.pairs},
                                 {"spearman", json_of(group.spearman.value())},
                                 {"kendall", json_of(group.kendall.value())}};
    }
    return out.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  }

  Table listed({"set", "data", "split", "seed", "per", "texts", "model"});
  for (std::size_t i = 0; i < sets.size(); ++i) {
    const ImportanceSet& set = sets[i];
    listed.row({std::to_string(i + 1), printable(set.data), printable(set.split),
                set.seed ? std::to_string(*set.seed) : "-", printable(set.per), std::to_string(set.texts),
                printable(set.model)});
  }
  Table correlations({"pair", "spearman", "kendall", "group"}), means({"mean of", "pairs", "spearman", "kendall"});
  for (const Pair& pair : pairs) {
    correlations.row(
        {bertx::text(pair.first + 1, " and ", pair.second + 1), shown(pair.spearman), shown(pair.kendall), pair.group});
  }
  for (const auto& [name, group] : groups) {
    means.row({name, std::to_string(group.pairs), shown(group.spearman.value()), shown(group.kendall.value())});
  }
  return listed.text() + "\n" + correlations.text() + "\n" + means.text();
}

}  // namespace bertx::tools
