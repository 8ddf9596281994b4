// Any bytes as a trace: requests in order of time or one error, never a crash.
#include "base/assert.h"
#include "sim/trace.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  tg::Result<tg::sim::Trace> trace = tg::sim::parse_trace(text, "fuzz");
  if (!trace.ok()) return 0;
  tg::i64 last_ns = 0;
  for (const tg::sim::TraceRequest& r : trace->requests) {
    TG_ASSERT(r.at_ns >= last_ns && r.prompt_tokens > 0 && r.output_tokens > 0);
    TG_ASSERT(r.first_block + trace->blocks_of(r).size() <= trace->blocks.size());
    last_ns = r.at_ns;
  }
  return 0;
}
