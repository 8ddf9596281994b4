// What loop.h hides.
#pragma once

#include <thread>

#include "base/types.h"
#include "env/deadlines.h"
#include "node/loop.h"
#include "node/net/asio.h"

namespace tg::node {

// Asio ends a context when it is destroyed; a shared one ends before who refers to it does.
class EndableContext final : public asio::io_context {
 public:
  EndableContext() : asio::io_context(1) {}
  void end() { shutdown(); }
};

struct Loop::State {
  Deadlines deadlines;  // of links
  EndableContext io;
  asio::executor_work_guard<asio::io_context::executor_type> work{io.get_executor()};
  std::thread thread;
};

// Starts a coroutine that must not throw; if one does all the same, it is logged.
void spawn(asio::io_context& io, awaitable<void> work);
// Waits; false if the wait was cut short because the timer was cancelled.
awaitable<bool> sleep_ms(asio::steady_timer* timer, i64 ms);

}  // namespace tg::node
