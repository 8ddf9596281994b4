#include "base/log.h"
#include "base/types.h"
#include "node/net/loop_state.h"

namespace tg::node {

Loop::Loop() : state_(std::make_unique<State>()) {
  state_->thread = std::thread([state = state_.get()] { state->io.run(); });
}

Loop::~Loop() {
  state_->work.reset();
  state_->io.stop();
  state_->thread.join();
}

static void log_exception(std::exception_ptr failure) {
  if (!failure) return;
  try {
    std::rethrow_exception(failure);
  } catch (const std::exception& error) {
    log_error("node", "a connection ended with an exception: {}", error.what());
  }
}

void spawn(asio::io_context& io, awaitable<void> work) {
  asio::co_spawn(io, std::move(work), log_exception);
}

awaitable<bool> sleep_ms(asio::steady_timer* timer, i64 ms) {
  error_code error;
  timer->expires_after(std::chrono::milliseconds(ms));
  co_await timer->async_wait(asio::redirect_error(asio::use_awaitable, error));
  co_return !error;
}

}  // namespace tg::node
