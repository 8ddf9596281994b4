#include "base/result.h"

namespace tg {

const char* code_name(Code code) {
  switch (code) {
    case Code::kInvalid: return "invalid";
    case Code::kCorrupt: return "corrupt";
    case Code::kNotFound: return "not_found";
    case Code::kExists: return "exists";
    case Code::kUnsupported: return "unsupported";
    case Code::kLimit: return "limit";
    case Code::kDenied: return "denied";
    case Code::kUnavailable: return "unavailable";
    case Code::kIo: return "io";
  }
  return "unknown";
}

}  // namespace tg
