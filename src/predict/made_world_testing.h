// A model and devices that obey known utilisations, so that what was learnt from their times can be
// held against the truth.
#pragma once

#include <string>
#include <vector>

#include "predict/evaluation.h"

namespace tg::predict {

class MadeWorld {
 public:
  struct Options {
    std::string engine = "engine";
    f64 memory = 2e11;  // bytes of a device
    std::vector<f64> devices = {1, 2, 4, 8};
  };
  MadeWorld() : MadeWorld(Options{}) {}
  explicit MadeWorld(Options options) : options_(std::move(options)) {
    model_.layers = model_.full_layers = 40;
    model_.hidden = 4096;
    model_.kv_heads = 8;
    model_.dense_parameters = 10e9;
    model_.head_parameters = 5e8;
    model_.kv_elements = 2048;
    model_.decode_pair_flops = model_.prompt_pair_flops = 4 * 4096;
  }

  const ModelShape& model() const { return model_; }

  DeviceSpec device(const std::string& name, f64 bandwidth, f64 flops) const {
    return {.name = name,
            .memory_bandwidth = bandwidth,
            .memory_capacity = options_.memory,
            .bf16_flops = flops,
            .fp8_flops = 2 * flops,
            .fp4_flops = 4 * flops,
            .int8_flops = 2 * flops,
            .near_bandwidth = 4e11,
            .far_bandwidth = 5e10,
            .power = 700};
  }

  // Steps that take known multiples of what the data sheet says.
  std::vector<MeasuredCase> measure(const std::string& name, f64 bandwidth, f64 flops) const {
    DeviceSpec d = device(name, bandwidth, flops);
    std::vector<MeasuredCase> out;
    for (f64 devices : options_.devices) {
      for (f64 concurrency : {1.0, 4.0, 16.0, 64.0, 256.0}) {
        for (f64 prompt : {128.0, 1024.0, 8192.0})
          out.push_back(one(d, devices, concurrency, prompt));
      }
    }
    return out;
  }

 private:
  MeasuredCase one(const DeviceSpec& d, f64 devices, f64 concurrency, f64 prompt) const {
    Setting s;
    s.model = "made";
    s.system = d.name;
    s.engine = options_.engine;
    s.prompt = prompt;
    s.output = 512;
    s.concurrency = concurrency;
    s.decode = s.prefill = {.devices = devices, .tensor_parallel = devices};
    MeasuredCase m{make_case(s, model_, d)};
    const Basis& b = m.c.basis;
    m.tpot_ms = 1e3 * (1.4 * b.tpot[kDense] + 2 * b.tpot[kAttention] + 5 * b.tpot[kLayers] +
                       0.7 * b.tpot[kPromptGemm] + 2 * b.tpot[kLinkBytes]);
    m.ttft_ms = 1e3 * (1.2 * b.ttft[kOwnGemm] + 2 * b.ttft[kOwnLayers] + b.ttft[kQueuedWork] +
                       b.ttft[kDecodeStep]);
    return m;
  }

  Options options_;
  ModelShape model_;
};

}  // namespace tg::predict
