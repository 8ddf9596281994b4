// The protocol between a gateway and a node, version 2: frames of a length (u32), a type (u8) and
// fields, little-endian, over TLS. The gateway connects; both sides prove with the first frame that
// they know the join token, bound to this TLS session, so that a man in the middle has nothing to
// pass on. A session outlives its connections: events are numbered and kept until they are
// acknowledged, and a gateway that comes back says how many it has.
//
//   gateway                         node
//   ClientHello  ─────────────────▶
//                ◀─────────────────  NodeHello, then Load ten times a second or on change
//   Submit, Cancel, Extend ───────▶
//                ◀─────────────────  Event (numbered per request)
//   Ack (events taken)  ──────────▶
//   Resume (after reconnecting) ──▶  the events from there on, or Gone
//   Ping ─────────────────────────▶ Pong
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/hash.h"
#include "base/result.h"
#include "fleet/supplier.h"

namespace tg::node::wire {

inline constexpr u16 kVersion = 3;
inline constexpr std::size_t kFrameBytesMax = 16 << 20;
inline constexpr std::size_t kNameBytesMax = 256;
inline constexpr std::size_t kErrorBytesMax = 4'096;
inline constexpr std::size_t kSignatureBytesMax = 4'096;

struct ClientHello {
  u16 version = kVersion;
  u64 session = 0;  // random; the same for every connection of one gateway to this node
  Digest proof{};
  std::string name;  // of the gateway, for the node's log
};

struct NodeHello {
  u16 version = kVersion;
  u64 instance = 0;  // random at the node's start: requests of another instance are gone
  Digest proof{};
  std::string name;
  std::string model;
  std::string device;
  std::string key;  // verifies what the node signs, as tlog::VerifierKey writes it
  Digest program{};
  i64 context_max = 0;
};

struct Submit {
  fleet::SupplyRequest request;  // without events and wishes
};

struct Cancel {
  u64 id = 0;
};

struct Extend {
  u64 id = 0;
  i64 funded_tokens = 0;
  bool is_final = false;
};

struct Ack {
  u64 id = 0;
  u32 events = 0;  // taken so far, from the first on
};

struct Resume {
  u64 id = 0;
  u32 events = 0;
};

struct Gone {
  u64 id = 0;
};

struct Event {
  u32 number = 0;  // from 0, per request
  fleet::SupplierEvent event;
  std::string statement;  // kFinished: what the node signs of its usage (usage_statement.h)
  std::string signature;  // one line of a signed note
};

struct Load {
  fleet::SupplierLoad load;
};

struct Ping {
  u64 stamp = 0;
};

struct Pong {
  u64 stamp = 0;
};

// The peer is told why it is left before the connection closes.
struct Refusal {
  std::string reason;
};

using Frame = std::variant<ClientHello, NodeHello, Submit, Cancel, Extend, Ack, Resume, Gone, Event,
                           Load, Ping, Pong, Refusal>;

// Appends the frame with its length.
void append_frame(std::string& out, const Frame& frame);

// What a hello proves: HMAC of the token over the sender's role and the TLS session's exporter.
Digest proof_of(std::string_view token, std::string_view role, std::span<const u8> exporter);
inline constexpr std::string_view kGatewayRole = "gateway";
inline constexpr std::string_view kNodeRole = "node";

// Cuts a byte stream into frames. Bytes may come in any pieces.
class FrameReader {
 public:
  void push(std::string_view bytes) { bytes_ += bytes; }
  // The next frame; none if it is not whole yet. kCorrupt or kLimit ends the connection.
  Result<std::optional<Frame>> next();

 private:
  std::string bytes_;
  std::size_t taken_ = 0;
};

// One frame's type and fields, without the length.
Result<Frame> decode_frame(std::span<const u8> bytes);

}  // namespace tg::node::wire
