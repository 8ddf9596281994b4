// Any bytes as a batch's input file: requests with ids of their own, or problems that say where.
#include "base/assert.h"
#include "base/bytes.h"
#include "gateway/batch/batch_input.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, size_t size) {
  using namespace tg::gateway;
  BatchInput input =
      read_batch_input({reinterpret_cast<const char*>(data), size}, "/v1/chat/completions");
  TG_ASSERT(!input.lines.empty() || !input.problems.empty());
  TG_ASSERT(input.problems.size() <= kBatchProblemsMax);
  for (const BatchLine& line : input.lines) {
    TG_ASSERT(line.number > 0 && !line.custom_id.empty() && tg::is_utf8(line.custom_id));
    TG_ASSERT(line.body.starts_with("{") && line.body.find('\n') == line.body.npos);
  }
  for (const BatchProblem& problem : input.problems) TG_ASSERT(!problem.message.empty());
  return 0;
}
