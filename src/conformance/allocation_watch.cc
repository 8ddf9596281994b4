// The executable's own allocator functions take the place of the C library's for every shared
// object in the process (glibc manual, "Replacing malloc"); they count while armed and hand on to
// mimalloc, where the build found it, else to the library's. Linked in only by who runs
// conformance, the program among them. Unarmed they cost one relaxed load.
#include "conformance/allocation_watch.h"

#include <link.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <new>
#include <vector>

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
std::atomic<i64> backend_calls{0}, driver_calls{0};
i64 driver_calls_before = 0;  // of all times it was armed but the last

// Loaded segments of one object; kept while nothing is armed.
struct Range {
  std::size_t begin = 0, end = 0;
  friend bool operator==(const Range&, const Range&) = default;
};
std::vector<Range> before_driver, driver;

bool is_system(const dl_phdr_info* info) {
  return std::strstr(info->dlpi_name, "ld-linux") != nullptr ||
         std::strstr(info->dlpi_name, "libc.so") != nullptr;
}

void add_ranges(const dl_phdr_info* info, std::vector<Range>& to) {
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    if (info->dlpi_phdr[i].p_type != PT_LOAD) continue;
    std::size_t begin = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
    to.push_back({begin, begin + info->dlpi_phdr[i].p_memsz});
  }
}

int collect(dl_phdr_info* info, std::size_t, void* to) {
  // Where there is a driver, loader and C library work for it: some load compiled kernels from
  // files.
  if (!is_system(info)) add_ranges(info, *static_cast<std::vector<Range>*>(to));
  return 0;
}

int collect_system(dl_phdr_info* info, std::size_t, void* to) {
  if (is_system(info)) add_ranges(info, *static_cast<std::vector<Range>*>(to));
  return 0;
}

std::vector<Range> loaded_objects() {
  std::vector<Range> out;
  dl_iterate_phdr(collect, &out);
  return out;
}

#if TG_WATCHES
#ifdef TG_MIMALLOC
constexpr std::size_t kPageBytes = 4096;
#endif

void note(const void* caller) {
  if (!armed.load(std::memory_order_relaxed)) return;
  std::size_t at = reinterpret_cast<std::size_t>(caller);
  bool is_driver = std::any_of(driver.begin(), driver.end(),
                               [at](const Range& r) { return at >= r.begin && at < r.end; });
  (is_driver ? driver_calls : backend_calls).fetch_add(1, std::memory_order_relaxed);
}
#endif

}  // namespace

void watch_before_driver() {
  before_driver = loaded_objects();
}

void watch_after_driver() {
  for (const Range& range : loaded_objects()) {
    bool was = std::find(before_driver.begin(), before_driver.end(), range) != before_driver.end();
    if (!was) driver.push_back(range);
  }
  if (!driver.empty()) dl_iterate_phdr(collect_system, &driver);
}

bool can_watch_allocations() {
  return TG_WATCHES != 0;
}

void arm_allocation_watch() {
  backend_calls.store(0);
  driver_calls_before += driver_calls.exchange(0);
  armed.store(true);
}

AllocationCalls disarm_allocation_watch() {
  armed.store(false);
  return {.backend = backend_calls.load(), .driver = driver_calls.load()};
}

i64 driver_calls_in_all() {
  return driver_calls_before + driver_calls.load();
}

}  // namespace tg::conformance

#if TG_WATCHES
extern "C" {

#ifdef TG_MIMALLOC
#define TG_HAND_ON(name) mi_##name
std::size_t mi_usable_size(const void* at);
#else
#define TG_HAND_ON(name) __libc_##name
#endif

void* TG_HAND_ON(malloc)(std::size_t bytes);
void* TG_HAND_ON(calloc)(std::size_t count, std::size_t bytes);
void* TG_HAND_ON(realloc)(void* at, std::size_t bytes);
void* TG_HAND_ON(memalign)(std::size_t alignment, std::size_t bytes);
void TG_HAND_ON(free)(void* at);

void* malloc(std::size_t bytes) {
  tg::conformance::note(__builtin_return_address(0));
  return TG_HAND_ON(malloc)(bytes);
}
void* calloc(std::size_t count, std::size_t bytes) {
  tg::conformance::note(__builtin_return_address(0));
  return TG_HAND_ON(calloc)(count, bytes);
}
void* realloc(void* at, std::size_t bytes) {
  tg::conformance::note(__builtin_return_address(0));
  return TG_HAND_ON(realloc)(at, bytes);
}
void* memalign(std::size_t alignment, std::size_t bytes) {
  tg::conformance::note(__builtin_return_address(0));
  return TG_HAND_ON(memalign)(alignment, bytes);
}
// What every allocation is aligned to needs no asking; coroutines' frames come so.
void* aligned_alloc(std::size_t alignment, std::size_t bytes) {
  tg::conformance::note(__builtin_return_address(0));
  if (alignment <= __STDCPP_DEFAULT_NEW_ALIGNMENT__) return TG_HAND_ON(malloc)(bytes);
  return TG_HAND_ON(memalign)(alignment, bytes);
}
int posix_memalign(void** at, std::size_t alignment, std::size_t bytes) {
  tg::conformance::note(__builtin_return_address(0));
  *at = TG_HAND_ON(memalign)(alignment, bytes);
  return *at == nullptr ? ENOMEM : 0;
}
void free(void* at) {
  if (at != nullptr) tg::conformance::note(__builtin_return_address(0));
  TG_HAND_ON(free)(at);
}
#ifdef TG_MIMALLOC
// The rest of the family must not ask the library about what is not its own.
std::size_t malloc_usable_size(void* at) {
  return mi_usable_size(at);
}
void* valloc(std::size_t bytes) {
  return memalign(tg::conformance::kPageBytes, bytes);
}
void* pvalloc(std::size_t bytes) {
  constexpr std::size_t kPage = tg::conformance::kPageBytes;
  return memalign(kPage, (bytes + kPage - 1) / kPage * kPage);
}
void* reallocarray(void* at, std::size_t count, std::size_t bytes) {
  std::size_t all = 0;
  if (!__builtin_mul_overflow(count, bytes, &all)) return realloc(at, all);
  errno = ENOMEM;
  return nullptr;
}
#endif

}  // extern "C"

// Ours, so that the caller is who asked for memory and not the C++ library.
void* operator new(std::size_t bytes) {
  tg::conformance::note(__builtin_return_address(0));
  void* at = TG_HAND_ON(malloc)(bytes > 0 ? bytes : 1);
  if (at == nullptr) throw std::bad_alloc();
  return at;
}
void* operator new[](std::size_t bytes) {
  tg::conformance::note(__builtin_return_address(0));
  void* at = TG_HAND_ON(malloc)(bytes > 0 ? bytes : 1);
  if (at == nullptr) throw std::bad_alloc();
  return at;
}
void operator delete(void* at) noexcept {
  tg::conformance::note(__builtin_return_address(0));
  TG_HAND_ON(free)(at);
}
void operator delete[](void* at) noexcept {
  tg::conformance::note(__builtin_return_address(0));
  TG_HAND_ON(free)(at);
}
void operator delete(void* at, std::size_t) noexcept {
  tg::conformance::note(__builtin_return_address(0));
  TG_HAND_ON(free)(at);
}
void operator delete[](void* at, std::size_t) noexcept {
  tg::conformance::note(__builtin_return_address(0));
  TG_HAND_ON(free)(at);
}
#endif
