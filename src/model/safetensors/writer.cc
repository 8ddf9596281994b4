// Offsets are known before the header is written, so one pass makes the header and one the data.
#include "model/safetensors/writer.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/json_out.h"

namespace tg::safetensors {
namespace {

constexpr u64 kHeaderAlignment = 8;

void write_entry(const NewTensor& tensor, u64 begin, JsonWriter& out) {
  u64 bytes = element_bytes(tensor.dtype);
  for (i64 dim : tensor.dims) bytes *= static_cast<u64>(dim);
  TG_ASSERT(bytes == tensor.data.size());
  out.key(tensor.name).begin_object().key("dtype").string(name(tensor.dtype));
  out.key("shape").begin_array();
  for (i64 dim : tensor.dims) out.number(dim);
  out.end_array().key("data_offsets").begin_array();
  out.number_u64(begin).number_u64(begin + bytes).end_array().end_object();
}

std::string header_json(const std::vector<NewTensor>& tensors,
                        const std::map<std::string, std::string>& metadata) {
  std::string json;
  JsonWriter out(json);
  out.begin_object();
  if (!metadata.empty()) {
    out.key(kMetadataKey).begin_object();
    for (const std::pair<const std::string, std::string>& entry : metadata)
      out.key(entry.first).string(entry.second);
    out.end_object();
  }
  u64 offset = 0;
  for (const NewTensor& tensor : tensors) {
    write_entry(tensor, offset, out);
    offset += tensor.data.size();
  }
  out.end_object();
  json.append((kHeaderAlignment - json.size() % kHeaderAlignment) % kHeaderAlignment, ' ');
  return json;
}

}  // namespace

std::vector<u8> encode(const std::vector<NewTensor>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::string json = header_json(tensors, metadata);
  std::vector<u8> out;
  append_u64(out, json.size());
  std::span<const u8> raw = as_bytes(json);
  out.insert(out.end(), raw.begin(), raw.end());
  for (const NewTensor& tensor : tensors)
    out.insert(out.end(), tensor.data.begin(), tensor.data.end());
  return out;
}

}  // namespace tg::safetensors
