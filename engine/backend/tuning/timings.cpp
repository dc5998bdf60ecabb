#include "backend/tuning/timings.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "bertx/error.h"

namespace bertx {
namespace {

constexpr double kWorthMemory = 0.95;  // a further form must take at most so much of the time without it

}  // namespace

std::string key_of(const WeightShape& shape) {
  const double area = std::max(1.0, static_cast<double>(shape.rows) * static_cast<double>(shape.cols));
  const double density = std::max(1e-4, static_cast<double>(shape.nonzeros) / area);
  const auto permille = std::llround(1000 * std::pow(1.1, std::round(std::log(density) / std::log(1.1))));
  return text(shape.rows, "x", shape.cols, ", density ", std::min(1000LL, permille), "/1000, ", shape.products);
}

std::map<std::string, double> best_in_turn(const std::vector<std::string>& names, int rounds,
                                           const std::function<double(std::size_t)>& milliseconds) {
  std::vector<double> best(names.size(), std::numeric_limits<double>::infinity());
  for (int round = -1; round < rounds; ++round) {  // the first warms up
    for (std::size_t f = 0; f < names.size(); ++f) {
      const double ms = milliseconds(f);
      if (round >= 0) best[f] = std::min(best[f], ms);
    }
  }
  std::map<std::string, double> out;
  for (std::size_t f = 0; f < names.size(); ++f) out[names[f]] = std::max(best[f], 1e-6);
  return out;
}

bool complete(const Timings& timings, std::span<const std::int64_t> tokens, const std::vector<std::string>& names) {
  return timings.size() == tokens.size() && std::ranges::all_of(tokens, [&](std::int64_t t) {
           const auto at = timings.find(t);
           return at != timings.end() &&
                  std::ranges::all_of(names, [&](const std::string& name) { return at->second.contains(name); });
         });
}

std::vector<std::size_t> choose_forms(const Timings& timings, const std::vector<std::string>& names) {
  std::vector<std::vector<double>> ms;  // [class of tokens][form]
  std::vector<double> least;
  for (const auto& [tokens, times] : timings) {
    std::vector<double>& row = ms.emplace_back();
    for (const std::string& name : names) row.push_back(times.at(name));
    least.push_back(*std::ranges::min_element(row));
  }
  std::size_t base = 0;
  double lowest = std::numeric_limits<double>::infinity();
  for (std::size_t f = 0; f < names.size(); ++f) {
    double ratios = 0;
    for (std::size_t c = 0; c < ms.size(); ++c) ratios += ms[c][f] / least[c];
    if (ratios < lowest) lowest = ratios, base = f;
  }
  std::vector<std::size_t> chosen(ms.size(), base);
  for (std::size_t c = ms.size(); c-- > 0;) {
    // Forms that are held anyway cost nothing, so the best of them serves; a further one must be worth it.
    for (const std::size_t held : std::vector<std::size_t>(chosen)) {
      if (ms[c][held] < ms[c][chosen[c]]) chosen[c] = held;
    }
    const auto best = static_cast<std::size_t>(std::ranges::min_element(ms[c]) - ms[c].begin());
    if (ms[c][best] < kWorthMemory * ms[c][chosen[c]]) chosen[c] = best;
  }
  return chosen;
}

std::vector<TunedTime> report(const Timings& timings, const std::vector<std::string>& names,
                              const std::vector<std::size_t>& chosen) {
  std::vector<TunedTime> out;
  std::size_t c = 0;
  for (const auto& [tokens, times] : timings) {
    for (std::size_t f = 0; f < names.size(); ++f) {
      out.push_back({tokens, names[f], times.at(names[f]), chosen[c] == f});
    }
    ++c;
  }
  return out;
}

}  // namespace bertx
