// A TLS link that carries frames both ways: one coroutine reads, one writes what has been queued.
#pragma once

#include "node/net/tls.h"
#include "node/wire/frames.h"

namespace tg::node {

struct FrameLink {
  FrameLink(std::shared_ptr<Link> on, asio::io_context& io) : link(std::move(on)), news(io) {}

  std::shared_ptr<Link> link;
  wire::FrameReader reader;
  std::string queued;
  asio::steady_timer news;  // cancelled when there is something to write, or nothing ever again
};

inline constexpr std::size_t kQueuedBytesMax = 64 << 20;
inline constexpr i64 kFrameWriteMs = 10'000;

// Queues a frame. A peer that takes nothing for too long loses its link.
void send(FrameLink& link, const wire::Frame& frame);
void close(FrameLink& link);
// Writes what is queued until the link closes.
awaitable<void> write_frames(std::shared_ptr<FrameLink> link);
// The next frame; an error when the link is closed, broken, silent for `ms` or speaks nonsense.
awaitable<Result<wire::Frame>> read_frame(std::shared_ptr<FrameLink> link, i64 ms);

}  // namespace tg::node
