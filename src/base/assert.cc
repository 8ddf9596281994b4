#include "base/assert.h"

#include <cstdio>
#include <cstdlib>

namespace tg {

void assert_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "tokengrid: assertion failed: %s (%s:%d)\n", condition, file, line);
  std::abort();
}

}  // namespace tg
