// TG_ASSERT states what we believe of our own code. It stays on in release and ends the process: a
// broken invariant in a meter or a ledger must never become a wrong bill. Never used on outside
// input.
#pragma once

namespace tg {

// Prints the failed condition with its place and aborts.
[[noreturn]] void assert_failed(const char* condition, const char* file, int line);

}  // namespace tg

#define TG_ASSERT(condition)                               \
  do {                                                     \
    if (!(condition)) [[unlikely]]                         \
      ::tg::assert_failed(#condition, __FILE__, __LINE__); \
  } while (false)
