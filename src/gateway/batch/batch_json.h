// Files and batches as OpenAI's objects, and the lines of a batch's output.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "gateway/batch/batch_book.h"
#include "gateway/batch/batch_input.h"

namespace tg::gateway {

std::string file_json(const StoredFile& file);
std::string deleted_file_json(std::string_view id);
std::string batch_json(const Batch& batch);
// `items` are objects; `ids` those of the first and last.
std::string list_json(const std::vector<std::string>& items, std::string_view first_id,
                      std::string_view last_id, bool has_more);
// What Batch::errors holds.
std::string problems_json(const std::vector<BatchProblem>& problems);

struct LineReply {
  std::string id;          // Of the batch's request.
  std::string request_id;  // Of the HTTP request that it was.
  i32 status = 0;
  std::string body;  // JSON
};
std::string line_json(const BatchLine& line, const LineReply& reply);
// Of a line that was not run.
std::string skipped_line_json(const BatchLine& line, std::string_view id, std::string_view code,
                              std::string_view message);

// What a reply says of its tokens; zeros if nothing. `body` may be any bytes.
BatchUsage usage_in(std::string_view body);

}  // namespace tg::gateway
