// The lines of a batch's input file as requests, or what is wrong with them and where.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/types.h"

namespace tg::gateway {

inline constexpr i64 kBatchLinesMax = 50'000;
inline constexpr std::size_t kBatchProblemsMax = 20;  // Told of.

struct BatchLine {
  i64 number = 0;  // Of the file, from 1.
  std::string custom_id;
  std::string body;  // A JSON object.
};

struct BatchProblem {
  i64 line = 0;  // 0: of the whole file.
  std::string code;
  std::string message;
  std::string param = {};
};

struct BatchInput {
  std::vector<BatchLine> lines;
  std::vector<BatchProblem> problems;  // Empty: it may run.
  std::string model;                   // Of the first line.
};

// Endpoints that batches may name.
bool is_batch_endpoint(std::string_view path);

// `text` may be any bytes.
BatchInput read_batch_input(std::string_view text, std::string_view endpoint);

}  // namespace tg::gateway
