#include "gateway/net/tending.h"

#include <unistd.h>

#include <chrono>
#include <utility>

#include "base/log.h"
#include "gateway/net/mail.h"

namespace tg::gateway {
namespace {

void log_exception(std::exception_ptr failure) {
  if (failure) log_error("gateway", "tending ended with an exception");
}

void take_turn(GatewayState& state, Tended& tended, u32 readable) {
  tended.work->turn(readable);
  deliver_near(state);
}

awaitable<void> watch(GatewayState* state, Tended* tended, int fd, u32 bit) {
  // The descriptor closes what it owns, and the mailbox keeps its own.
  asio::posix::stream_descriptor watched(state->io, ::dup(fd));
  for (;;) {
    error_code error;
    co_await watched.async_wait(asio::posix::stream_descriptor::wait_read,
                                asio::redirect_error(asio::use_awaitable, error));
    if (error) co_return;
    take_turn(*state, *tended, bit);
  }
}

}  // namespace

awaitable<void> tend(GatewayState* state, Tended* tended) {
  std::vector<int> fds = tended->work->borrow(tended);
  if (fds.empty()) co_return;
  tended->is_borrowed = true;
  for (std::size_t i = 0; i < fds.size(); ++i) {
    asio::co_spawn(state->io, watch(state, tended, fds[i], u32{1} << i), log_exception);
  }
  asio::steady_timer timer(state->io);
  for (;;) {
    take_turn(*state, *tended, LentWork::kAllReadable);
    error_code ignored;
    timer.expires_after(std::chrono::nanoseconds(LentWork::kTurnEveryNs));
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
}

void turn_soon(GatewayState& state, Tended* tended) {
  if (tended == nullptr || !tended->is_borrowed || tended->is_due) return;
  tended->is_due = true;
  asio::post(state.io, [&state, tended] {
    tended->is_due = false;
    take_turn(state, *tended, 0);
  });
}

void Tended::look_soon() {
  turn_soon(state, this);
}

void give_back(GatewayState& state) {
  state.supplier_events->set_near(nullptr);
  for (const std::unique_ptr<Tended>& tended : state.tended) {
    if (std::exchange(tended->is_borrowed, false)) tended->work->give_back();
  }
}

}  // namespace tg::gateway
