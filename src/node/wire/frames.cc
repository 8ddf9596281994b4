#include "node/wire/frames.h"

#include <cmath>

#include "node/wire/fields.h"

namespace tg::node::wire {
namespace {

constexpr std::size_t kIdsMax = 4 << 20;
constexpr std::size_t kListMax = 4'096;
constexpr std::size_t kBiasMax = 65'536;

// Each message's fields, once, for both directions. `F` is a FieldWriter over a const message or a
// FieldReader over one being filled.

template <typename F, typename M>
void fields(F& f, M& m, const ClientHello*) {
  f.number(m.version);
  f.number(m.session);
  f.digest(m.proof);
  f.text(m.name, kNameBytesMax);
}

template <typename F, typename M>
void fields(F& f, M& m, const NodeHello*) {
  f.number(m.version);
  f.number(m.instance);
  f.digest(m.proof);
  f.text(m.name, kNameBytesMax);
  f.text(m.model, kNameBytesMax);
  f.text(m.device, kNameBytesMax);
  f.text(m.key, kNameBytesMax);
  f.digest(m.program);
  f.number(m.context_max);
}

auto number_field() {
  return [](auto& f, auto& value) { f.number(value); };
}

template <typename F, typename S>
void sampling_fields(F& f, S& s) {
  f.number(s.temperature);
  f.number(s.top_k);
  f.number(s.top_p);
  f.number(s.min_p);
  f.number(s.repetition_penalty);
  f.number(s.presence_penalty);
  f.number(s.frequency_penalty);
  f.number(s.seed);
  f.number(s.logprobs);
  f.list(s.logit_bias, kBiasMax, [](auto& g, auto& bias) {
    g.number(bias.first);
    g.number(bias.second);
  });
}

constexpr std::size_t kShapeBytesMax = 1 << 20;
constexpr std::size_t kLayoutBytesMax = 1'024;

template <typename F, typename S>
void shape_fields(F& f, S& s) {
  f.choice(s.text_kind, grammar::GrammarKind::kGbnf);
  f.text(s.text, kShapeBytesMax);
  f.number(s.may_be_text);
  f.number(s.is_single_call);
  for (auto* text : {&s.text_open, &s.think_open, &s.think_close, &s.written, &s.calls.mark,
                     &s.calls.open, &s.calls.middle, &s.calls.close, &s.calls.next, &s.calls.end}) {
    f.text(*text, kLayoutBytesMax);
  }
  f.list(s.tools, kListMax, [](auto& g, auto& tool) {
    g.text(tool.name, kLayoutBytesMax);
    g.text(tool.parameters, kShapeBytesMax);
  });
}

// Shared and immutable in the request, so that it is read into one of its own.
template <typename F, typename R>
void optional_shape(F& f, R& request) {
  bool has_shape = request.shape != nullptr;
  f.number(has_shape);
  if (!has_shape) return;
  if constexpr (std::is_const_v<R>) {
    shape_fields(f, *request.shape);
  } else {
    grammar::ReplyShape shape;
    shape_fields(f, shape);
    request.shape = std::make_shared<const grammar::ReplyShape>(std::move(shape));
  }
}

template <typename F, typename M>
void fields(F& f, M& m, const Submit*) {
  auto& r = m.request;
  f.number(r.id);
  f.list(r.prompt, kIdsMax, number_field());
  f.number(r.max_tokens);
  sampling_fields(f, r.sampling);
  f.number(r.cache_salt);
  f.list(r.stop_tokens, kListMax, number_field());
  f.choice(r.service, fleet::ServiceClass::kBatch);
  f.number(r.deadline_ns);
  f.number(r.funded_tokens);
  f.number(r.is_funding_final);
  f.number(r.is_embedding);
  optional_shape(f, r);
}

template <typename F, typename M>
void fields(F& f, M& m, const Cancel*) {
  f.number(m.id);
}

template <typename F, typename M>
void fields(F& f, M& m, const Extend*) {
  f.number(m.id);
  f.number(m.funded_tokens);
  f.number(m.is_final);
}

template <typename F, typename M>
void fields(F& f, M& m, const Ack*) {
  f.number(m.id);
  f.number(m.events);
}

template <typename F, typename M>
void fields(F& f, M& m, const Resume*) {
  f.number(m.id);
  f.number(m.events);
}

template <typename F, typename M>
void fields(F& f, M& m, const Gone*) {
  f.number(m.id);
}

auto logprob_field() {
  return [](auto& f, auto& value) {
    f.number(value.id);
    f.number(value.logprob);
  };
}

template <typename F, typename U>
void usage_fields(F& f, U& u) {
  f.number(u.prompt_tokens);
  f.number(u.cached_tokens);
  f.number(u.output_tokens);
  f.number(u.steps);
  f.number(u.actual_atto_st);
  f.number(u.attributed_ns);
  f.number(u.queue_ns);
  f.number(u.first_token_ns);
  f.number(u.total_ns);
  f.number(u.energy_uj);
  f.number(u.is_energy_measured);
}

template <typename F, typename M>
void fields(F& f, M& m, const Event*) {
  auto& e = m.event;
  f.number(m.number);
  f.number(e.request);
  f.choice(e.kind, fleet::SupplierEvent::Kind::kFinished);
  f.list(e.tokens, kIdsMax, number_field());
  f.list(e.logprobs, kIdsMax, logprob_field());
  f.list(e.top_logprobs, kIdsMax,
         [](auto& g, auto& list) { g.list(list, kListMax, logprob_field()); });
  f.choice(e.reason, fleet::FinishReason::kFunds);
  f.choice(e.fault, fleet::Fault::kInvalid);
  f.text(e.error, kErrorBytesMax);
  usage_fields(f, e.usage);
  f.number(e.is_estimated);
  f.list(e.embedding, kIdsMax, number_field());
  f.text(m.statement, kSignatureBytesMax);
  f.text(m.signature, kSignatureBytesMax);
}

template <typename F, typename M>
void fields(F& f, M& m, const Load*) {
  auto& l = m.load;
  f.number(l.running);
  f.number(l.waiting);
  f.number(l.kv_pages_total);
  f.number(l.kv_pages_free);
  f.number(l.context_max);
  f.number(l.steps);
  f.number(l.prompt_tokens);
  f.number(l.cached_tokens);
  f.number(l.output_tokens);
  f.number(l.step.ns_per_step);
  f.number(l.step.ns_per_token);
  f.number(l.step.ns_per_row);
  f.number(l.step.ns_per_key);
  f.number(l.step.ns_per_pair);
  f.number(l.step.error);
  f.number(l.is_up);
  f.number(l.is_draining);
  f.number(l.slots);
  f.number(l.energy.request_joules);
  f.number(l.energy.idle_joules);
  f.choice(l.energy.source, fleet::EnergySource::kMeasured);
}

template <typename F, typename M>
void fields(F& f, M& m, const Ping*) {
  f.number(m.stamp);
}

template <typename F, typename M>
void fields(F& f, M& m, const Pong*) {
  f.number(m.stamp);
}

template <typename F, typename M>
void fields(F& f, M& m, const Refusal*) {
  f.text(m.reason, kErrorBytesMax);
}

template <std::size_t kIndex = 0>
Result<Frame> decode_as(std::size_t type, std::span<const u8> bytes) {
  if constexpr (kIndex < std::variant_size_v<Frame>) {
    if (type != kIndex) return decode_as<kIndex + 1>(type, bytes);
    using Message = std::variant_alternative_t<kIndex, Frame>;
    Message message;
    FieldReader reader(bytes);
    fields(reader, message, static_cast<const Message*>(nullptr));
    TG_TRY(reader.end());
    return Frame(std::move(message));
  } else {
    return Error{Code::kCorrupt, "a node's frame has type " + std::to_string(type)};
  }
}

}  // namespace

void append_frame(std::string& out, const Frame& frame) {
  std::size_t start = out.size();
  FieldWriter writer(out);
  writer.number(u32{0});
  writer.number(static_cast<u8>(frame.index()));
  std::visit(
      [&](const auto& message) {
        fields(writer, message, static_cast<decltype(&message)>(nullptr));
      },
      frame);
  u32 length = static_cast<u32>(out.size() - start - sizeof(u32));
  TG_ASSERT(length <= kFrameBytesMax);
  std::memcpy(out.data() + start, &length, sizeof(length));
}

Digest proof_of(std::string_view token, std::string_view role, std::span<const u8> exporter) {
  std::vector<u8> bytes(role.begin(), role.end());
  bytes.insert(bytes.end(), exporter.begin(), exporter.end());
  return hmac_sha256(as_bytes(token), bytes);
}

Result<Frame> decode_frame(std::span<const u8> bytes) {
  if (bytes.empty()) return Error{Code::kCorrupt, "a node's frame is empty"};
  return decode_as(bytes[0], bytes.subspan(1));
}

Result<std::optional<Frame>> FrameReader::next() {
  std::span<const u8> rest = as_bytes(bytes_).subspan(taken_);
  u32 length = 0;
  if (rest.size() < sizeof(length)) return std::optional<Frame>();
  std::memcpy(&length, rest.data(), sizeof(length));
  if (length > kFrameBytesMax) {
    return Error{Code::kLimit, "a node's frame of " + std::to_string(length) + " bytes"};
  }
  if (rest.size() - sizeof(length) < length) {
    bytes_.erase(0, taken_);
    taken_ = 0;
    return std::optional<Frame>();
  }
  taken_ += sizeof(length) + length;
  TG_ASSIGN(Frame frame, decode_frame(rest.subspan(sizeof(length), length)));
  return std::optional<Frame>(std::move(frame));
}

}  // namespace tg::node::wire
