#include "node/net/frame_link.h"

#include <array>

namespace tg::node {

void send(FrameLink& link, const wire::Frame& frame) {
  if (link.link->is_closed) return;
  wire::append_frame(link.queued, frame);
  if (link.queued.size() > kQueuedBytesMax) return close(link);
  link.news.cancel();
}

void close(FrameLink& link) {
  link.link->close();
  link.news.cancel();
}

awaitable<void> write_frames(std::shared_ptr<FrameLink> link) {
  std::string bytes;
  while (!link->link->is_closed) {
    if (link->queued.empty()) {
      error_code ignored;
      link->news.expires_at(std::chrono::steady_clock::time_point::max());
      co_await link->news.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
      continue;
    }
    bytes.clear();
    bytes.swap(link->queued);
    link->link->expire_after_ms(kFrameWriteMs);
    bool is_written = co_await write_all(link->link, bytes);
    if (!is_written) close(*link);
  }
}

awaitable<Result<wire::Frame>> read_frame(std::shared_ptr<FrameLink> link, i64 ms) {
  std::array<char, 16'384> bytes;
  for (;;) {
    Result<std::optional<wire::Frame>> next = link->reader.next();
    if (!next.ok()) co_return next.error();
    if (*next) co_return **std::move(next);
    link->link->expire_after_ms(ms);
    std::size_t count = co_await read_some(link->link, asio::buffer(bytes));
    if (count == 0) co_return Error{Code::kUnavailable, "the connection is lost"};
    link->reader.push(std::string_view(bytes.data(), count));
  }
}

}  // namespace tg::node
