// Rows or columns cut out of linear maps of every kind: what removing heads and neurons is made of.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "bertx/layers.h"

namespace bertx::compress {

enum class Side : std::uint8_t { rows, columns };
/// What stays, ascending.
using Kept = std::vector<std::int64_t>;

/// The elements of `block` consecutive rows or columns for each block that stays.
Kept kept_of(const std::vector<bool>& blocks, std::int64_t block);

/// A parameter of new values with the flags of another.
std::shared_ptr<Parameter> parameter_like(const Parameter& other, Storage value);

/// Makes new weights and leaves the old ones as they are. What several linear maps share is cut once and shared again;
/// they must agree on what stays, otherwise Error(usage) names the map.
class Cutter {
 public:
  explicit Cutter(Backend& backend) : backend_(backend) {}

  /// W [out, in] -> its rows (or columns) `kept`, of the same kind: a CSR pattern, masks and scores are cut with their
  /// values, U V by the rows of U or the columns of V, a sum by both parts. `path` names the map in messages.
  std::shared_ptr<LinearWeight> weight(const std::shared_ptr<LinearWeight>& weight, Side side, const Kept& kept,
                                       const std::string& path);
  std::shared_ptr<Parameter> parameter(const std::shared_ptr<Parameter>& parameter, Side side, const Kept& kept,
                                       const std::string& path);
  /// Rows `kept` of the matrix and of the bias; columns of the matrix alone.
  void cut(Linear& linear, Side side, const Kept& kept, const std::string& path);

 private:
  template <class T>
  struct Made {
    Side side;
    Kept kept;
    std::shared_ptr<T> cut;
  };
  template <class T>
  using Known = std::unordered_map<const T*, Made<T>>;
  template <class T, class Make>
  std::shared_ptr<T> once(Known<T>& known, const std::shared_ptr<T>& whole, Side side, const Kept& kept,
                          const std::string& path, const Make& make);

  std::shared_ptr<LinearWeight> made_of(LinearWeight& weight, Side side, const Kept& kept, const std::string& path);

  Backend& backend_;
  Known<LinearWeight> weights_;
  Known<Parameter> parameters_;
};

}  // namespace bertx::compress
