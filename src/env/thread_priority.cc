#include "env/thread_priority.h"

#include <sys/resource.h>
#include <unistd.h>

namespace tg {

void step_back() {
  constexpr int kNice = 10;
  // Refused only where nice may not be changed at all; the work is then done as any other.
  setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kNice);
}

}  // namespace tg
