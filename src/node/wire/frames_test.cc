// Frames survive the wire in any pieces; what is no frame is refused, not read.
#include "node/wire/frames.h"

#include <gtest/gtest.h>

#include "base/bytes.h"

namespace tg::node::wire {
namespace {

std::vector<Frame> samples() {
  Submit submit;
  submit.request.id = 7;
  submit.request.prompt = {1, 2, 3};
  submit.request.max_tokens = 9;
  submit.request.sampling.temperature = 0.25f;
  submit.request.sampling.seed = ~u64{0};
  submit.request.sampling.logit_bias = {{5, -1.5f}};
  submit.request.stop_tokens = {2};
  submit.request.service = fleet::ServiceClass::kBatch;
  Submit shaped = submit;
  shaped.request.is_embedding = true;
  shaped.request.shape = std::make_shared<const grammar::ReplyShape>(grammar::ReplyShape{
      .text_kind = grammar::GrammarKind::kJsonSchema,
      .text = "{}",
      .tools = {{"f", "{}"}},
      .calls =
          {.mark = "<c>", .open = "<c>", .middle = ":", .close = "</c>", .next = "", .end = ""},
      .is_single_call = true,
      .think_open = "<t>",
      .think_close = "</t>",
      .written = "<c>"});
  Event tokens{.number = 3, .event = {.request = 7, .tokens = {4, 5}}};
  tokens.event.logprobs = {{4, -0.5f}, {5, -1.0f}};
  tokens.event.top_logprobs = {{{4, -0.5f}}, {}};
  Event last{.number = 4, .event = {.request = 7}, .statement = "s", .signature = "t"};
  last.event.kind = fleet::SupplierEvent::Kind::kFinished;
  last.event.usage.energy_uj = 1'234;
  last.event.usage.is_energy_measured = true;
  last.event.reason = fleet::FinishReason::kError;
  last.event.fault = fleet::Fault::kBusy;
  last.event.error = "no";
  last.event.embedding = {0.5f, -1.0f};
  last.event.usage.actual_atto_st = (static_cast<u128>(5) << 64) + 6;
  Load load{.load = {.running = 2, .step = {.ns_per_step = 1.5}, .is_draining = true}};
  ClientHello client{.session = 5, .proof = sha256("a"), .name = "gw"};
  NodeHello node{.instance = 6, .proof = sha256("b"), .name = "n", .context_max = 100};
  return {client,  node,   submit, shaped, Cancel{7}, Extend{7, 3}, Ack{7, 2},         Resume{7, 1},
          Gone{7}, tokens, last,   load,   Ping{1},   Pong{1},      Refusal{"because"}};
}

TEST(Frames, ComeBackTheSameInAnyPieces) {
  std::string bytes;
  for (const Frame& frame : samples()) append_frame(bytes, frame);
  for (std::size_t piece : {1u, 13u, 1'000'000u}) {
    FrameReader reader;
    std::string again;
    i64 count = 0;
    for (std::size_t at = 0; at < bytes.size(); at += piece) {
      reader.push(std::string_view(bytes).substr(at, piece));
      for (;;) {
        Result<std::optional<Frame>> next = reader.next();
        ASSERT_TRUE(next.ok()) << next.error().message;
        if (!*next) break;
        append_frame(again, **next);
        ++count;
      }
    }
    EXPECT_EQ(again, bytes);
    EXPECT_EQ(count, static_cast<i64>(samples().size()));
  }
}

TEST(Frames, EveryTruncationAndSurplusIsRefused) {
  for (const Frame& frame : samples()) {
    std::string bytes;
    append_frame(bytes, frame);
    std::span<const u8> whole = as_bytes(bytes).subspan(4);
    EXPECT_TRUE(decode_frame(whole).ok());
    for (std::size_t size = 0; size < whole.size(); ++size)
      EXPECT_FALSE(decode_frame(whole.subspan(0, size)).ok()) << frame.index() << " " << size;
    bytes += '\0';
    EXPECT_FALSE(decode_frame(as_bytes(bytes).subspan(4)).ok()) << frame.index();
  }
}

TEST(Frames, LengthsTypesAndEnumsOutOfRangeAreRefused) {
  FrameReader reader;
  reader.push(std::string("\xff\xff\xff\xff", 4));
  EXPECT_EQ(reader.next().error().code, Code::kLimit);
  EXPECT_FALSE(decode_frame(std::vector<u8>{200}).ok());
  std::string bytes;
  Event event{.event = {.request = 1}};
  append_frame(bytes, event);
  // The kind follows length, type, number and request.
  bytes[4 + 1 + 4 + 8] = 9;
  EXPECT_FALSE(decode_frame(as_bytes(bytes).subspan(4)).ok());
  // A list that claims more than there is.
  bytes[4 + 1 + 4 + 8] = 0;
  bytes[4 + 1 + 4 + 8 + 1 + 2] = 1;
  EXPECT_FALSE(decode_frame(as_bytes(bytes).subspan(4)).ok());
}

TEST(Frames, ProofsDependOnTokenRoleAndSession) {
  std::vector<u8> session(32, 1);
  std::vector<u8> other(32, 2);
  Digest proof = proof_of("token", kGatewayRole, session);
  EXPECT_NE(proof, proof_of("token", kNodeRole, session));
  EXPECT_NE(proof, proof_of("tokem", kGatewayRole, session));
  EXPECT_NE(proof, proof_of("token", kGatewayRole, other));
}

}  // namespace
}  // namespace tg::node::wire
