#include "base/assert.h"
#include "base/log.h"
#include "base/types.h"
#include "node/net/link.h"
#include "node/net/loop_state.h"

namespace tg::node {

static awaitable<void> sweep_deadlines(Loop::State* state) {
  asio::steady_timer timer(state->io);
  for (;;) {
    error_code ignored;
    timer.expires_after(std::chrono::nanoseconds(Deadlines::kSweepEveryNs));
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    sweep(state->deadlines);
  }
}

Loop::Loop(Thread thread) : state_(std::make_unique<State>()) {
  spawn(state_->io, sweep_deadlines(state_.get()));
  if (thread == Thread::kLent) return;
  state_->thread = std::thread([state = state_.get()] { state->io.run(); });
}

Loop::~Loop() {
  state_->work.reset();
  state_->io.stop();
  if (state_->thread.joinable()) state_->thread.join();
}

boost::asio::io_context& Loop::context() {
  return state_->io;
}

void Loop::run_for_ms(i64 ms) {
  TG_ASSERT(!state_->thread.joinable());
  state_->io.run_for(std::chrono::milliseconds(ms));
}

void Loop::end() {
  TG_ASSERT(!state_->thread.joinable());
  state_->io.end();
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
