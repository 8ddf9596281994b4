// What loop.h hides.
#pragma once

#include <thread>

#include "base/types.h"
#include "node/loop.h"
#include "node/net/asio.h"

namespace tg::node {

struct Loop::State {
  asio::io_context io{1};
  asio::executor_work_guard<asio::io_context::executor_type> work{io.get_executor()};
  std::thread thread;
};

// Starts a coroutine that must not throw; if one does all the same, it is logged.
void spawn(asio::io_context& io, awaitable<void> work);
// Waits; false if the wait was cut short because the timer was cancelled.
awaitable<bool> sleep_ms(asio::steady_timer* timer, i64 ms);

}  // namespace tg::node
