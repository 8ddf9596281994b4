// The executable's own allocator functions take the place of the C library's for every shared
// object in the process (glibc manual, "Replacing malloc"); they count while armed and hand on to
// the library's. Linked in only by who runs conformance. Unarmed they cost one relaxed load.
#include "conformance/allocation_watch.h"

#include <atomic>
#include <cerrno>
#include <cstddef>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TG_WATCHES 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define TG_WATCHES 0
#endif
#endif
#if !defined(TG_WATCHES)
#if defined(__GLIBC__)
#define TG_WATCHES 1
#else
#define TG_WATCHES 0
#endif
#endif

namespace tg::conformance {

namespace {

std::atomic<bool> armed{false};
std::atomic<i64> calls{0};

#if TG_WATCHES
void note() {
  if (armed.load(std::memory_order_relaxed)) calls.fetch_add(1, std::memory_order_relaxed);
}
#endif

}  // namespace

bool can_watch_allocations() {
  return TG_WATCHES != 0;
}

void arm_allocation_watch() {
  calls.store(0);
  armed.store(true);
}

i64 disarm_allocation_watch() {
  armed.store(false);
  return calls.load();
}

}  // namespace tg::conformance

#if TG_WATCHES
extern "C" {

void* __libc_malloc(std::size_t bytes);
void* __libc_calloc(std::size_t count, std::size_t bytes);
void* __libc_realloc(void* at, std::size_t bytes);
void* __libc_memalign(std::size_t alignment, std::size_t bytes);
void __libc_free(void* at);

void* malloc(std::size_t bytes) {
  tg::conformance::note();
  return __libc_malloc(bytes);
}
void* calloc(std::size_t count, std::size_t bytes) {
  tg::conformance::note();
  return __libc_calloc(count, bytes);
}
void* realloc(void* at, std::size_t bytes) {
  tg::conformance::note();
  return __libc_realloc(at, bytes);
}
void* memalign(std::size_t alignment, std::size_t bytes) {
  tg::conformance::note();
  return __libc_memalign(alignment, bytes);
}
void* aligned_alloc(std::size_t alignment, std::size_t bytes) {
  tg::conformance::note();
  return __libc_memalign(alignment, bytes);
}
int posix_memalign(void** at, std::size_t alignment, std::size_t bytes) {
  tg::conformance::note();
  *at = __libc_memalign(alignment, bytes);
  return *at == nullptr ? ENOMEM : 0;
}
void free(void* at) {
  if (at != nullptr) tg::conformance::note();
  __libc_free(at);
}

}  // extern "C"
#endif
