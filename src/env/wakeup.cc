#include "env/wakeup.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/types.h"

namespace tg {

Wakeup::Wakeup() : fd_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  TG_ASSERT(fd_ >= 0);
}

Wakeup::~Wakeup() {
  ::close(fd_);
}

void Wakeup::raise() {
  u64 one = 1;
  // Fails only when the counter is full, and then it is raised already.
  [[maybe_unused]] ssize_t n = ::write(fd_, &one, sizeof(one));
}

void Wakeup::clear() {
  u64 count = 0;
  [[maybe_unused]] ssize_t n = ::read(fd_, &count, sizeof(count));
}

}  // namespace tg
