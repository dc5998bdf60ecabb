#include "bench/explain.h"

#include <algorithm>
#include <map>
#include <set>

#include "bertx/error.h"
#include "common/table.h"
#include "common/text.h"

namespace bertx::tools {
namespace {

bool same(const std::vector<TunedTime>& a, const std::vector<TunedTime>& b) {
  return std::ranges::equal(a, b, [](const TunedTime& x, const TunedTime& y) {
    return x.tokens == y.tokens && x.kernel == y.kernel && x.milliseconds == y.milliseconds;
  });
}

/// "attention.output.dense of layers 0-11" out of paths that differ in the layer only.
std::string where_of(const std::vector<std::string>& paths) {
  std::map<std::string, std::set<std::int64_t>> layers;  // by what follows the layer's number
  for (const std::string& path : paths) {
    const std::size_t number = path.find("layer.") + 6, dot = path.find('.', number);
    layers[path.substr(dot + 1)].insert(std::stoll(path.substr(number, dot - number)));
  }
  std::string out;
  for (const auto& [name, numbers] : layers) {
    const bool run = *numbers.rbegin() - *numbers.begin() + 1 == static_cast<std::int64_t>(numbers.size());
    out += (out.empty() ? "" : "; ") + name + (numbers.size() == 1 ? " of layer " : " of layers ");
    if (run && numbers.size() > 1) {
      out += text(*numbers.begin(), "-", *numbers.rbegin());
    } else {
      for (const std::int64_t n : numbers) out += text(n == *numbers.begin() ? "" : ",", n);
    }
  }
  return out;
}

std::string table_of(const std::vector<TunedTime>& times) {
  std::vector<std::int64_t> tokens;
  std::vector<std::string> kernels;
  for (const TunedTime& time : times) {
    if (std::ranges::find(tokens, time.tokens) == tokens.end()) tokens.push_back(time.tokens);
    if (std::ranges::find(kernels, time.kernel) == kernels.end()) kernels.push_back(time.kernel);
  }
  std::vector<std::string> header{"us for this many tokens:"};
  for (const std::int64_t count : tokens) header.push_back(std::to_string(count));
  Table table(header);
  for (const std::string& kernel : kernels) {
    std::vector<std::string> cells{kernel};
    for (const std::int64_t count : tokens) {
      const auto at = std::ranges::find_if(
          times, [&](const TunedTime& time) { return time.tokens == count && time.kernel == kernel; });
      cells.push_back(fixed(1000 * at->milliseconds, 1) + (at->chosen ? " *" : "  "));
    }
    table.row(cells);
  }
  return table.text();
}

}  // namespace

std::vector<Explanation> explain(Model& model, const std::string& name) {
  std::vector<Explanation> out;
  model.visit_kernels([&](const std::string& path, const std::string& kernel, const PreparedWeight* prepared) {
    const std::vector<TunedTime> times = prepared != nullptr ? prepared->tuning() : std::vector<TunedTime>{};
    auto at = std::ranges::find_if(
        out, [&](const Explanation& other) { return other.kernel == kernel && same(other.times, times); });
    if (at == out.end()) at = out.insert(at, Explanation{name, {}, kernel, times});
    at->paths.push_back(path);
  });
  return out;
}

std::string explanation_text(const std::vector<Explanation>& explanations) {
  std::string out = "\nCandidates by their times (* serves so many tokens, and fewer down to the column before):\n";
  for (const Explanation& e : explanations) {
    out += text("\n", e.model, ": ", where_of(e.paths), ": ", e.kernel, "\n");
    out += e.times.empty() ? "  nothing was measured: there is one candidate, or BERTX_TUNE=off\n" : table_of(e.times);
  }
  return out;
}

nlohmann::ordered_json explanation_json(const std::vector<Explanation>& explanations) {
  auto out = nlohmann::ordered_json::array();
  for (const Explanation& e : explanations) {
    nlohmann::ordered_json item{{"model", e.model}, {"products", e.paths}, {"kernel", e.kernel}};
    item["candidates"] = nlohmann::ordered_json::array();
    for (const TunedTime& time : e.times) {
      item["candidates"].push_back(
          {{"tokens", time.tokens}, {"kernel", time.kernel}, {"ms", time.milliseconds}, {"chosen", time.chosen}});
    }
    out.push_back(std::move(item));
  }
  return out;
}

}  // namespace bertx::tools
