// Each family is the larger of its memory and its compute time, rounded off where they meet.
// Constants are orders of magnitude that only set the scale of the learned weights.
#include "predict/roofline.h"

#include <algorithm>
#include <cmath>

#include "base/assert.h"

namespace tg::predict {

namespace {

constexpr f64 kBandwidthShare = 0.75;  // of the data sheet that large reads reach
constexpr f64 kComputeShare = 0.55;
constexpr f64 kPairShare = 0.4;
constexpr f64 kMemoryShare = 0.9;  // of capacity that weights and keys may fill
constexpr f64 kLatency = 1e-5;     // s, an exchange between devices; also a few launches
constexpr f64 kMilli = 1e-3;
constexpr f64 kActivationPasses = 10;   // times that a layer's activations cross memory
constexpr f64 kInstanceDevicesMax = 8;  // a wider "aggregated" instance is a pool of separate ones
constexpr f64 kUnstatedInstances = 4;  // decoding ones of a pool that states none: a typical number

struct Format {
  f64 bytes;
  Math math;
};

Format format_of(std::string_view mode) {
  bool has_four = mode.find("fp4") != std::string_view::npos;
  if (mode.find("w4a16") != std::string_view::npos) return {0.53, Math::kBf16};
  if (mode.find("w4afp8") != std::string_view::npos) return {0.53, Math::kFp8};
  if (mode.find("int4") != std::string_view::npos) return {0.53, Math::kBf16};
  if (has_four) return {0.5625, Math::kFp4};
  if (mode.find("fp8") != std::string_view::npos) return {1, Math::kFp8};
  if (mode.find("int8") != std::string_view::npos) return {1, Math::kInt8};
  return {2, Math::kBf16};
}

std::string_view stored_mode(StoredAs stored) {
  switch (stored) {
    case StoredAs::kUnstated: return "";
    case StoredAs::kFp8: return "fp8";
    case StoredAs::kFp4: return "nvfp4";
    case StoredAs::kInt4: return "int4";
    case StoredAs::kMxFp4: return "mxfp4";
  }
  return "";
}

f64 rounded_max(f64 a, f64 b) {
  return std::sqrt(a * a + b * b);
}

// What a step of decoding does, per device of an instance.
struct Decode {
  const Setting& setting;
  const ModelShape& model;
  const DeviceSpec& device;
  WeightFormat format;
  Layout layout;
  f64 in_flight = 1;  // requests on one instance
  f64 context = 1;    // keys behind a sequence, on average
  f64 fit = 1;        // requests whose keys fit into an instance
  f64 together = 1;   // requests decoded together on one instance
  f64 batch = 1;      // of them on one attention replica
};

f64 near_or_far(const DeviceSpec& device, f64 devices) {
  return devices <= device.near_devices ? device.near_bandwidth : device.far_bandwidth;
}

f64 kv_split(const ModelShape& model, const Layout& layout) {
  if (model.is_latent) return 1;
  return std::min(layout.tensor_parallel, static_cast<f64>(model.kv_heads));
}

f64 weight_bytes(const ModelShape& m, const WeightFormat& format, f64 replicas) {
  return m.dense_parameters * format.dense_bytes * replicas + m.head_parameters * 4 +
         static_cast<f64>(m.expert_layers * m.experts) * m.expert_parameters * format.expert_bytes;
}

// Pools are published with sizes of 1 where nobody noted them: as many devices as weights need.
Layout with_room_for_weights(Layout layout, const ModelShape& model, const WeightFormat& format,
                             const DeviceSpec& device) {
  constexpr f64 kDevicesMax = 1024;
  constexpr f64 kReserve = 1.1;  // beyond the weights, for keys
  f64 needed = weight_bytes(model, format, 1) * kReserve;
  f64 each = device.memory_capacity * kMemoryShare;
  while (each > 0 && layout.devices * each < needed && layout.devices < kDevicesMax)
    layout = {layout.devices * 2, layout.tensor_parallel, layout.data_parallel * 2, true};
  return layout;
}

// Requests that fit into what the weights leave.
f64 requests_that_fit(const Decode& d) {
  const ModelShape& m = d.model;
  if (d.device.memory_capacity <= 0) return d.in_flight;
  f64 weights = weight_bytes(m, d.format, d.layout.devices / d.layout.tensor_parallel);
  f64 room =
      (d.device.memory_capacity * kMemoryShare * d.layout.devices - weights) / d.layout.devices;
  f64 per_key = static_cast<f64>(m.full_layers) *
                (m.kv_elements * d.format.kv_bytes / kv_split(m, d.layout) + m.index_elements);
  f64 per_request = per_key * (d.setting.prompt + d.setting.output);
  if (per_request <= 0) return d.in_flight;
  return std::max(1.0, room / per_request * d.layout.data_parallel);
}

Decode make_decode(const Setting& s, const ModelShape& model, const DeviceSpec& device,
                   const Layout& layout) {
  Decode d{.setting = s,
           .model = model,
           .device = device,
           .format = weight_format(s, model),
           .layout = layout};
  f64 instances = s.is_split && !s.states_instances ? std::min(kUnstatedInstances, s.concurrency)
                                                    : s.decode_instances;
  d.in_flight = s.concurrency / instances;
  d.context = s.prompt + s.output / 2;
  d.fit = requests_that_fit(d);
  d.together = std::min(d.in_flight, d.fit);
  d.batch = d.together / layout.data_parallel;
  return d;
}

struct Pair {
  f64 memory;
  f64 compute;
};

Pair dense_time(const Decode& d) {
  const ModelShape& m = d.model;
  f64 bytes = m.dense_parameters * d.format.dense_bytes / d.layout.tensor_parallel +
              m.head_parameters * 2 / d.layout.devices;
  f64 flops = 2 * (m.dense_parameters + m.head_parameters) * d.batch / d.layout.tensor_parallel;
  return {bytes / d.device.memory_bandwidth, flops / d.device.flops(d.format.dense_math)};
}

Pair expert_time(const Decode& d) {
  const ModelShape& m = d.model;
  f64 layers = static_cast<f64>(m.expert_layers);
  f64 hit =
      experts_hit(static_cast<f64>(m.experts), static_cast<f64>(m.experts_active), d.together);
  f64 bytes = layers * m.expert_parameters * d.format.expert_bytes * hit / d.layout.devices;
  f64 flops = 2 * layers * static_cast<f64>(m.experts_active) * m.expert_parameters * d.together /
              d.layout.devices;
  return {bytes / d.device.memory_bandwidth, flops / d.device.flops(d.format.expert_math)};
}

Pair attention_time(const Decode& d) {
  const ModelShape& m = d.model;
  f64 full = static_cast<f64>(m.full_layers), windowed = static_cast<f64>(m.window_layers);
  f64 chosen =
      m.selected_keys > 0 ? std::min(d.context, static_cast<f64>(m.selected_keys)) : d.context;
  f64 near = std::min(d.context, m.window > 0 ? static_cast<f64>(m.window) : d.context);
  f64 bytes = d.batch * (m.kv_elements * d.format.kv_bytes * (full * chosen + windowed * near) +
                         full * d.context * m.index_elements);
  f64 flops = d.batch * full * chosen * m.decode_pair_flops / d.layout.tensor_parallel;
  return {bytes / (d.device.memory_bandwidth * kv_split(m, d.layout)), flops / d.device.bf16_flops};
}

void fill_links(const Decode& d, std::array<f64, kTpotTerms>& out) {
  const ModelShape& m = d.model;
  f64 n = d.layout.devices, tp = d.layout.tensor_parallel;
  f64 layers = static_cast<f64>(m.layers), hidden = static_cast<f64>(m.hidden);
  f64 link = near_or_far(d.device, n);
  constexpr f64 kExchanges = 2, kBytes = 2, kBothWays = 2, kThereAndBack = 3;
  if (n > 1) out[kLinkLatency] = kExchanges * layers * kLatency;
  out[kLinkHops] = kExchanges * layers * kLatency * std::log2(n);
  out[kLinkBytes] =
      kExchanges * layers * d.batch * hidden * kBytes * kBothWays * (tp - 1) / tp / link;
  if (d.layout.splits_experts)
    out[kExpertExchange] = static_cast<f64>(m.expert_layers) * d.together / n *
                           static_cast<f64>(m.experts_active) * hidden * kThereAndBack / link *
                           (n - 1) / n;
}

// Seconds of one prompt on one instance, by family.
struct Prompt {
  f64 gemm = 0, attention = 0, memory = 0, link = 0, layers = 0, weights = 0;
  f64 total() const { return gemm + attention + memory + link + layers; }
};

f64 prompt_pairs(const ModelShape& m, f64 n) {
  f64 full = static_cast<f64>(m.full_layers);
  f64 seen = m.selected_keys > 0 ? n * std::min(n, static_cast<f64>(m.selected_keys)) : n * n / 2;
  f64 near = std::min(n, m.window > 0 ? static_cast<f64>(m.window) : n);
  return full * seen + static_cast<f64>(m.window_layers) * n * near;
}

Prompt prompt_time(const Decode& d, const Layout& layout) {
  const ModelShape& m = d.model;
  f64 n = d.setting.prompt, tp = layout.tensor_parallel;
  f64 layers = static_cast<f64>(m.layers), hidden = static_cast<f64>(m.hidden);
  f64 expert_flops = 2 * static_cast<f64>(m.expert_layers * m.experts_active) *
                     m.expert_parameters * n / layout.devices * layout.data_parallel;
  f64 expert_bytes = static_cast<f64>(m.expert_layers * m.experts) * m.expert_parameters *
                     d.format.expert_bytes / layout.devices;
  Prompt out;
  out.gemm = (2 * m.dense_parameters * n / tp / d.device.flops(d.format.dense_math) +
              expert_flops / d.device.flops(d.format.expert_math)) /
             kComputeShare;
  out.attention =
      prompt_pairs(m, n) * m.prompt_pair_flops / (d.device.bf16_flops * tp) / kPairShare;
  out.memory = layers * n * hidden * 2 * kActivationPasses / d.device.memory_bandwidth / tp;
  out.link =
      2 * layers * n * hidden * 2 * 2 * (tp - 1) / tp / near_or_far(d.device, layout.devices);
  out.layers = layers * kLatency;
  out.weights =
      (m.dense_parameters * d.format.dense_bytes / tp + expert_bytes) / d.device.memory_bandwidth;
  return out;
}

void fill_tpot(const Decode& d, const Prompt& prompt, Basis& out) {
  const ModelShape& m = d.model;
  Pair dense = dense_time(d), experts = expert_time(d), keys = attention_time(d);
  f64 state = d.batch * m.state_bytes * 2 / (d.device.memory_bandwidth * d.layout.tensor_parallel);
  std::array<f64, kTpotTerms>& t = out.tpot;
  t[kDense] = rounded_max(dense.memory / kBandwidthShare, dense.compute / kComputeShare);
  t[kExperts] = rounded_max(experts.memory / kBandwidthShare, experts.compute / kComputeShare);
  t[kAttention] = rounded_max(keys.memory / kBandwidthShare, keys.compute / kPairShare) +
                  state / kBandwidthShare;
  fill_links(d, t);
  t[kLayers] = static_cast<f64>(m.layers) * kLatency;
  t[kExpertLayers] = static_cast<f64>(m.expert_layers) * kLatency;
  t[kStep] = kMilli;
  t[kSequences] = d.together * kLatency;
  if (m.is_latent) t[kLatentLayers] = static_cast<f64>(m.layers) * kLatency;
  for (std::size_t i = 0; i < kPromptGemm; ++i) out.decode_total += t[i];
  t[kPromptGemm] = out.interference * prompt.gemm;
  t[kPromptAttention] = out.interference * prompt.attention;
  t[kPromptMemory] = out.interference * prompt.memory;
  t[kPromptLink] = out.interference * prompt.link;
  t[kPromptLayers] = out.interference * prompt.layers;
  out.shares = {dense.memory / out.decode_total,
                experts.memory / out.decode_total,
                keys.memory / out.decode_total,
                (dense.compute + experts.compute) / out.decode_total,
                (t[kLinkLatency] + t[kLinkBytes]) / out.decode_total,
                out.interference * prompt.total() / out.decode_total};
}

void fill_ttft(const Decode& d, const Prompt& prompt, const Layout& layout, Basis& out) {
  std::array<f64, kTtftTerms>& t = out.ttft;
  f64 queued = d.setting.concurrency / (layout.data_parallel * d.setting.prefill_instances);
  t[kOwnGemm] = prompt.gemm;
  t[kOwnAttention] = prompt.attention;
  t[kOwnMemory] = prompt.memory;
  t[kOwnLink] = prompt.link;
  t[kOwnLayers] = prompt.layers;
  t[kOwnWeights] = prompt.weights;
  t[kQueuedWork] = queued * prompt.total() * 0.1;
  t[kQueuedRoot] = std::sqrt(queued) * prompt.total();
  t[kDecodeStep] = out.decode_total;
  t[kConstant] = 10 * kMilli;
  t[kArrivals] = d.setting.concurrency * kLatency * 10;
  f64 service = d.setting.output * out.decode_total;
  t[kMemoryQueue] = std::min(out.overflow, 10.0) * service * 0.5;
}

}  // namespace

std::string_view term_name(TpotTerm term) {
  constexpr std::array<std::string_view, kTpotTerms> kNames = {
      "dense",       "experts",         "attention",   "link_latency",     "link_hops",
      "link_bytes",  "expert_exchange", "layers",      "expert_layers",    "step",
      "sequences",   "latent_layers",   "prompt_gemm", "prompt_attention", "prompt_memory",
      "prompt_link", "prompt_layers"};
  return kNames[term];
}

std::string_view term_name(TtftTerm term) {
  constexpr std::array<std::string_view, kTtftTerms> kNames = {
      "own_gemm",    "own_attention", "own_memory",  "own_link", "own_layers", "own_weights",
      "queued_work", "queued_root",   "decode_step", "constant", "arrivals",   "memory_queue"};
  return kNames[term];
}

f64 experts_hit(f64 experts, f64 active, f64 tokens) {
  if (experts <= 0) return 0;
  return experts * (1 - std::pow(std::max(0.0, 1 - active / experts), tokens));
}

WeightFormat weight_format(const Setting& s, const ModelShape& m) {
  std::string_view stored = stored_mode(m.stored_as);
  std::string_view dense = s.gemm_mode;
  if (dense.empty() && s.precision == "fp4") dense = "nvfp4";
  if (dense.empty()) dense = s.precision.empty() ? stored : std::string_view(s.precision);
  std::string_view experts = s.expert_mode.empty() ? dense : std::string_view(s.expert_mode);
  Format d = format_of(dense), e = format_of(experts);
  WeightFormat out{.dense_bytes = d.bytes,
                   .expert_bytes = e.bytes,
                   .kv_bytes = d.math == Math::kFp8 || d.math == Math::kFp4 ? 1.0 : 2.0,
                   .dense_math = d.math,
                   .expert_math = e.math};
  if (m.experts == 0) return out;
  // Mixtures keep attention wider than their experts: 16 bits where the file says so, and in files
  // of four-bit floats most of the rest stays at eight.
  bool is_four = d.bytes < 1;
  bool is_wide = m.stored_as == StoredAs::kMxFp4 || (is_four && m.stored_as == StoredAs::kInt4);
  if (is_wide) {
    out.dense_bytes = 2;
    out.dense_math = Math::kBf16;
    out.expert_bytes = std::min(out.expert_bytes, 0.53);
  } else if (is_four) {
    out.dense_bytes = d.math == Math::kBf16 ? 2 : 1.5;
    out.dense_math = d.math == Math::kBf16 ? Math::kBf16 : Math::kFp8;
  }
  return out;
}

Basis make_basis(const Setting& s, const ModelShape& model, const DeviceSpec& device) {
  TG_ASSERT(s.concurrency >= 1 && s.prompt >= 1 && s.output >= 1);
  TG_ASSERT(s.decode.devices >= 1 && s.prefill.devices >= 1);
  Basis out;
  bool is_wide = !s.is_split && s.decode.devices > kInstanceDevicesMax;
  out.is_pool = s.is_split || is_wide;
  out.is_draft_likely = model.has_draft_layers && model.is_latent && s.campaign == Campaign::kSheet;
  Layout decode = s.decode, prefill = s.prefill;
  if (is_wide) {
    decode = {s.decode.devices, 1, s.decode.devices, true};
    prefill = decode;
  }
  if (s.is_split) {
    WeightFormat format = weight_format(s, model);
    decode = with_room_for_weights(decode, model, format, device);
    prefill = with_room_for_weights(prefill, model, format, device);
  }
  Decode d = make_decode(s, model, device, decode);
  Prompt prompt = prompt_time(d, prefill);
  out.batch = d.batch;
  out.overflow = std::max(0.0, d.in_flight / d.fit - 1);
  out.prompt_total = prompt.total();
  out.interference = out.is_pool ? 0 : d.together / s.output / prefill.data_parallel;
  fill_tpot(d, prompt, out);
  fill_ttft(d, prompt, prefill, out);
  return out;
}

}  // namespace tg::predict
