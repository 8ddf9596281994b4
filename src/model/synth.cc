// The header (synth_header.cc), then each tensor's blocks in portions, from a stream of its own.
#include "model/synth.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "base/bytes.h"
#include "env/random.h"
#include "isa/dtype.h"
#include "model/random_blocks.h"

namespace tg::model {
namespace {

constexpr u64 kPortionBlocks = 4'096;

// FNV-1a, to give every tensor a stream of its own whatever the order of the file.
u64 stream_of(u64 seed, std::string_view name) {
  u64 hash = 0xCBF2'9CE4'8422'2325;
  for (char c : name) hash = (hash ^ static_cast<u8>(c)) * 0x0000'0100'0000'01B3;
  return hash ^ (seed * 0x9E37'79B9'7F4A'7C15);
}

class Filler {
 public:
  Filler(const SynthOptions& options, gguf::Writer& out, u64 total)
      : options_(options), out_(out), total_(total) {}

  Status fill(const gguf::TensorDecl& tensor) {
    TG_ASSIGN(u64 bytes, gguf::tensor_bytes(tensor));
    SeededRandom random(stream_of(options_.seed, tensor.name));
    if (tensor.name.starts_with("rope_")) return append(divisors(tensor));
    u64 portion = kPortionBlocks * static_cast<u64>(isa::info(tensor.codec).block_bytes);
    for (u64 done = 0; done < bytes; done += buffer_.size()) {
      buffer_.resize(std::min(portion, bytes - done));
      tensor.name.ends_with("norm.weight")
          ? fill_random_gains(random, buffer_)
          : fill_random(tensor.codec, random, buffer_, options_.shape.deviation);
      TG_TRY(append(buffer_));
    }
    return {};
  }

 private:
  Status append(std::span<const u8> bytes) {
    TG_TRY(out_.append(bytes));
    done_ += bytes.size();
    if (options_.progress) options_.progress(done_, total_);
    return {};
  }

  // Those of Llama 3.1 are what its release defines; those of LongRoPE rise evenly.
  std::vector<u8> divisors(const gguf::TensorDecl& tensor) const {
    i64 pairs = tensor.dims[0];
    std::vector<f32> values =
        banded_divisors(kLlama31Scaling, static_cast<f64>(options_.shape.rope_base), 2 * pairs);
    f32 rise = tensor.name == kLongDivisors ? 3.0f : 0.25f;
    if (tensor.name != kDivisorTensor)
      for (i64 i = 0; i < pairs; ++i)
        values[static_cast<std::size_t>(i)] =
            1 + rise * static_cast<f32>(i) / static_cast<f32>(pairs);
    std::vector<u8> bytes;
    for (f32 value : values) append_u32(bytes, std::bit_cast<u32>(value));
    return bytes;
  }

  const SynthOptions& options_;
  gguf::Writer& out_;
  u64 total_;
  u64 done_ = 0;
  std::vector<u8> buffer_;
};

Result<u64> data_bytes(const gguf::Header& header) {
  u64 total = 0;
  for (const gguf::TensorDecl& tensor : header.tensors) {
    TG_ASSIGN(u64 bytes, gguf::tensor_bytes(tensor));
    total += bytes;
  }
  return total;
}

}  // namespace

Status synthesize(const SynthOptions& options) {
  TG_ASSIGN(gguf::Header header, synth_header(options.shape, options.codec, options.no_data));
  TG_ASSIGN(u64 total, data_bytes(header));
  TG_ASSIGN(gguf::Writer writer, gguf::Writer::create(options.path, header));
  if (options.no_data) return writer.finish();
  Filler filler(options, writer, total);
  for (const gguf::TensorDecl& tensor : header.tensors) TG_TRY(filler.fill(tensor));
  return writer.finish();
}

}  // namespace tg::model
