// Any bytes as a node's or a gateway's stream: frames that decode are written back the same.
#include <string>

#include "base/assert.h"
#include "base/bytes.h"
#include "node/wire/frames.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace tg::node::wire;
  FrameReader reader;
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  std::size_t half = size / 2;
  for (std::string_view part : {bytes.substr(0, half), bytes.substr(half)}) {
    reader.push(part);
    for (;;) {
      tg::Result<std::optional<Frame>> next = reader.next();
      if (!next.ok()) return 0;
      if (!*next) break;
      std::string once;
      append_frame(once, **next);
      tg::Result<Frame> again = decode_frame(tg::as_bytes(once).subspan(4));
      TG_ASSERT(again.ok());
      std::string twice;
      append_frame(twice, *again);
      TG_ASSERT(once == twice);
    }
  }
  return 0;
}
