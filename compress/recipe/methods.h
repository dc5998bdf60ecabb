// What each family of methods gives to the table: to add a method, write its file and a row in its family's table.
#pragma once

#include <memory>
#include <span>

#include "bertx/compress.h"

namespace bertx::compress {

struct Row {
  Method method;
  void (*now)(Backend&, Model&, const Recipe&, const Calibration&);                 ///< null: it needs training
  std::unique_ptr<TrainHook> (*make)(const Recipe&, const Calibration&) = nullptr;  ///< null: `now`, then training
};

std::span<const Row> pruning_methods();        ///< pruning/methods.cpp
std::span<const Row> structure_methods();      ///< structure/methods.cpp
std::span<const Row> factorization_methods();  ///< factorization/methods.cpp
std::span<const Row> sharing_methods();        ///< sharing/methods.cpp

}  // namespace bertx::compress
