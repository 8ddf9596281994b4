#include "env/scheduling.h"

#include <sys/syscall.h>
#include <unistd.h>

#include "base/types.h"

namespace tg {

namespace {

// The kernel's struct sched_attr in its first version; the C library has no name for it.
struct Attributes {
  u32 size;
  u32 policy;
  u64 flags;
  i32 nice;
  u32 priority;
  u64 runtime_ns;
  u64 deadline_ns;
  u64 period_ns;
};

constexpr u64 kTurnNs = 200'000;

}  // namespace

void ask_for_short_turns() {
  Attributes attributes = {};
  long got = ::syscall(SYS_sched_getattr, 0, &attributes, sizeof(attributes), 0);
  // Others than the usual policy are somebody's choice.
  if (got != 0 || attributes.policy != 0) return;
  attributes.size = sizeof(attributes);
  attributes.runtime_ns = kTurnNs;
  [[maybe_unused]] long set = ::syscall(SYS_sched_setattr, 0, &attributes, 0);
}

}  // namespace tg
