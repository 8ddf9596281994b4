#include "gateway/dialect/embedding_reply.h"

#include <bit>
#include <cmath>

#include "base/assert.h"
#include "base/json_out.h"

namespace tg::gateway {
namespace {

void append_base64(std::string& out, std::span<const u8> bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    u32 word = 0;
    for (std::size_t k = 0; k < 3; ++k) word = word << 8 | (k < count ? bytes[i + k] : 0u);
    for (std::size_t k = 0; k < 4; ++k)
      out += k <= count ? kDigits[word >> (18 - 6 * k) & 63] : '=';
  }
}

class EmbeddingWriter final : public ReplyWriter {
 public:
  EmbeddingWriter(const EmbeddingFields& fields, ReplyHead head)
      : fields_(fields), head_(std::move(head)) {}

  // No request for vectors is a stream.
  std::string_view stream_type() const override { return "application/json"; }
  void begin(std::string&) override { TG_ASSERT(false); }
  void part(std::string&, const StreamPart&) override { TG_ASSERT(false); }
  void end_choice(std::string&, i64, const Finish&, i64) override { TG_ASSERT(false); }
  void end(std::string&, const UsageReport&) override { TG_ASSERT(false); }
  void fail(std::string&, const ApiError&) override { TG_ASSERT(false); }
  void ping(std::string&) override { TG_ASSERT(false); }

  std::string whole(const std::vector<WholeChoice>& choices, const UsageReport& usage) override {
    std::string out;
    JsonWriter json(out);
    json.begin_object();
    switch (head_.api) {
      case Api::kOllamaEmbed: write_embed(json, choices, usage); break;
      case Api::kOllamaEmbeddings:
        json.key("embedding");
        write_floats(json, *choices.at(0).embedding);
        break;
      default: write_list(json, choices, usage); break;
    }
    json.end_object();
    return out;
  }

 private:
  void write_list(JsonWriter& json, const std::vector<WholeChoice>& choices,
                  const UsageReport& usage) const {
    json.key("object").string("list").key("data").begin_array();
    for (const WholeChoice& choice : choices) {
      json.begin_object().key("object").string("embedding").key("index").number(choice.index);
      json.key("embedding");
      if (fields_.is_base64) {
        json.string(base64_of(shortened(*choice.embedding, fields_.dimensions)));
      } else {
        write_floats(json, *choice.embedding);
      }
      json.end_object();
    }
    json.end_array().key("model").string(head_.model);
    json.key("usage").begin_object().key("prompt_tokens").number(usage.prompt_tokens);
    json.key("total_tokens").number(usage.prompt_tokens);
    json.key("tokengrid").raw(tokengrid_json(usage)).end_object();
  }

  void write_embed(JsonWriter& json, const std::vector<WholeChoice>& choices,
                   const UsageReport& usage) const {
    json.key("model").string(head_.model).key("embeddings").begin_array();
    for (const WholeChoice& choice : choices) write_floats(json, *choice.embedding);
    json.end_array().key("total_duration").number(usage.total_ns).key("load_duration").number(0);
    json.key("prompt_eval_count").number(usage.prompt_tokens);
    json.key("tokengrid").raw(tokengrid_json(usage));
  }

  void write_floats(JsonWriter& json, const std::vector<f32>& vector) const {
    json.begin_array();
    for (f32 value : shortened(vector, fields_.dimensions)) json.real(value);
    json.end_array();
  }

  EmbeddingFields fields_;
  ReplyHead head_;
};

}  // namespace

std::vector<f32> shortened(const std::vector<f32>& vector, i64 dimensions) {
  if (dimensions == 0 || dimensions >= static_cast<i64>(vector.size())) return vector;
  std::vector<f32> out(vector.begin(), vector.begin() + dimensions);
  f64 squares = 0;
  for (f32 value : out) squares += static_cast<f64>(value) * static_cast<f64>(value);
  if (squares == 0) return out;
  for (f32& value : out) value = static_cast<f32>(static_cast<f64>(value) / std::sqrt(squares));
  return out;
}

std::string base64_of(const std::vector<f32>& vector) {
  std::string out;
  std::vector<u8> bytes;
  for (f32 value : vector) {
    u32 bits = std::bit_cast<u32>(value);
    for (int shift = 0; shift < 32; shift += 8) bytes.push_back(static_cast<u8>(bits >> shift));
  }
  append_base64(out, bytes);
  return out;
}

std::unique_ptr<ReplyWriter> make_embedding_writer(const EmbeddingFields& fields, ReplyHead head) {
  return std::make_unique<EmbeddingWriter>(fields, std::move(head));
}

}  // namespace tg::gateway
