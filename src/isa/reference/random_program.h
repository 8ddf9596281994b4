// For tests: random programs of every profile, as text. A program is a stack of blocks that read
// and write f32[T,64]; half of them are in a loop with layered weights, caches and states.
#pragma once

#include <random>
#include <string>

#include "base/types.h"

namespace tg::isa {

class RandomProgram {
 public:
  explicit RandomProgram(std::mt19937& random) : random_(random) {}

  std::string text() {
    layers_ = below(2) == 0 ? 0 : static_cast<i32>(2 + below(2));
    bool is_dense = below(5) == 0;
    line("%x0 = embed $embd, %ids -> f32[T,64]");
    x_ = "%x0";
    if (layers_ > 0) {
      line("%last = repeat l " + std::to_string(layers_) + " carry %x0 as %x");
      x_ = "%x";
    }
    std::size_t blocks = 1 + below(3);
    for (std::size_t i = 0; i < blocks; ++i) block(is_dense);
    if (layers_ > 0) {
      line("yield " + x_);
      x_ = "%last";
    }
    layers_ = 0;
    ends();
    return ".tgp least profile=TEXT,MOE,SPARSE,STATE,SPEC,EMBED,DIST,VISION\n"
           ".dim T<=64 S<=8 R<=64 C<=256\n.w $embd f16[96,64]\n" +
           declarations_ + ".func main (%ids i32[T], %pos i32[T], %rows i32[R], %bt batch" +
           inputs_ + ") -> " + results_ + "\n" + body_ + ".end\n";
  }

 private:
  u32 below(u32 n) { return static_cast<u32>(random_() % n); }
  template <std::size_t N>
  std::string one_of(const char* const (&words)[N]) {
    return words[below(N)];
  }
  std::string number(i32 n) { return std::to_string(n); }
  void line(const std::string& text) { body_ += text + "\n"; }

  // A new value's or symbol's name.
  std::string fresh(const std::string& stem) { return stem + number(names_++); }
  std::string weight(const std::string& type) {
    std::string name = fresh("$w");
    declarations_ +=
        ".w " + name + (layers_ > 0 ? "[" + number(layers_) + "] " : " ") + type + "\n";
    return name + (layers_ > 0 ? "[l]" : "");
  }
  std::string memory(const std::string& kind, const std::string& fields) {
    std::string name = fresh("$m");
    declarations_ += "." + kind + " " + name + " layers=" + number(std::max(layers_, 1)) + " " +
                     fields + (kind == "kv" ? " page=4\n" : "\n");
    return name + (layers_ > 0 ? "[l]" : "[0]");
  }
  std::string make(const std::string& expression, const std::string& type) {
    std::string name = fresh("%v");
    line(name + " = " + expression + " -> " + type);
    return name;
  }
  std::string codec() { return one_of({"f32", "f16", "q8_0", "q4_0", "bf16"}); }
  std::string project(i32 width) {
    std::string xq = one_of({"", "", " {xq=i8/32}", " {xq=mxfp4}", " {xq=bf16}"});
    std::string bias = below(3) == 0 ? ", " + weight("f32[" + number(width) + "]") : "";
    return make("linear " + x_ + ", " + weight(codec() + "[" + number(width) + ",64]") + bias + xq,
                "f32[T," + number(width) + "]");
  }
  // The block's result joins the stream.
  void join(const std::string& y, i32 width) {
    std::string back =
        make("linear " + y + ", " + weight("f16[64," + number(width) + "]"), "f32[T,64]");
    x_ = make("add " + x_ + ", " + back, "f32[T,64]");
  }

  void block(bool is_dense) {
    switch (below(is_dense ? 8 : 7)) {
      case 0: return attention();
      case 1: return latent();
      case 2: return experts();
      case 3: return convolution();
      case 4: return recurrence();
      case 5: return absorbed();
      case 6: return attention();
      default: return dense();
    }
  }

  std::string select() {
    i32 heads = static_cast<i32>(1 + below(3));
    std::string cache = memory("kv", "heads=1 dk=32 dv=0 fmt=" + one_of({"f16", "q8_0", "e4m3"}));
    line("kv_append " + cache + ", " + project(32) + ", %bt");
    std::string k = number(static_cast<i32>(1 + below(9)));
    std::string q = project(32 * heads);
    std::string w = project(heads);
    return ", " + make("index " + q + ", " + cache + ", " + w + ", %bt {heads=" + number(heads) +
                           " k=" + k + "}",
                       "i32[T," + k + "]");
  }

  void attention() {
    i32 kv_heads = static_cast<i32>(1 + below(2));
    i32 heads = kv_heads * static_cast<i32>(1 + below(3));
    std::string cache = memory("kv", "heads=" + number(kv_heads) + " dk=32 dv=64 fmt=" +
                                         one_of({"f32", "f16", "bf16", "e4m3", "q8_0", "q4_0"}));
    std::string k = project(32 * kv_heads);
    std::string v = project(64 * kv_heads);
    line("kv_append " + cache + ", " + k + ", " + v + ", %bt");
    std::string extra = below(3) == 0 ? ", " + weight("f32[" + number(heads) + "]") : "";
    std::string seen = one_of({"", " window=3", " mask=full", " mask=tree", " sel"});
    if (seen == " window=3" && layers_ > 0) seen = " window=cyc(2,0,5)";
    if (seen == " sel") {
      seen = "";
      extra += select();
    }
    std::string y = make("attn " + project(32 * heads) + ", " + cache + ", %bt" + extra +
                             " {heads=" + number(heads) + " scale=0.2" + seen + "}",
                         "f32[T," + number(64 * heads) + "]");
    join(y, 64 * heads);
  }

  void latent() {
    i32 heads = static_cast<i32>(1 + below(3));
    std::string cache =
        memory("kv", "heads=1 dk=64 dv=0 latent=32 fmt=" + one_of({"bf16", "q8_0"}));
    line("kv_append " + cache + ", " + project(64) + ", %bt");
    std::string sel = below(2) == 0 ? select() : "";
    std::string y = make("attn " + project(64 * heads) + ", " + cache + ", %bt" + sel +
                             " {heads=" + number(heads) + " scale=0.2}",
                         "f32[T," + number(32 * heads) + "]");
    join(y, 32 * heads);
  }

  void experts() {
    i32 count = static_cast<i32>(2u << below(3));
    i32 k = static_cast<i32>(1 + below(static_cast<u32>(count / 2)));
    std::string e = number(count);
    std::string ks = number(k);
    std::string groups = count > 2 && below(2) == 0 ? " groups=2 topk_groups=1" : "";
    std::string w = fresh("%v");
    std::string perm = fresh("%v");
    std::string logits = project(count);
    std::string bias = below(2) == 0 ? ", " + weight("f32[" + e + "]") : "";
    line(w + ", " + perm + " = route " + logits + bias + " {k=" + ks + groups +
         " score=" + one_of({"softmax", "sigmoid", "sqrt_softplus", "softmax_topk"}) +
         "} -> f32[T," + ks + "], perm[T," + ks + "," + e + "]");
    std::string up = make("grouped_linear " + x_ + ", " + weight(codec() + "[" + e + ",32,64]") +
                              ", " + perm + one_of({"", " {xq=i8/tok}", " {xq=bf16}"}),
                          "f32[" + ks + "*T,32]");
    std::string down_bias = below(2) == 0 ? ", " + weight("f32[" + e + ",64]") : "";
    std::string down = make("grouped_linear " + up + ", " + weight(codec() + "[" + e + ",64,32]") +
                                ", " + perm + down_bias,
                            "f32[" + ks + "*T,64]");
    join(make("combine " + down + ", " + perm + ", " + w, "f32[T,64]"), 64);
  }

  void convolution() {
    i32 taps = static_cast<i32>(2 + below(3));
    std::string state = memory(
        "state", "heads=1 dk=64 dv=" + number(taps - 1) + " fmt=" + one_of({"f32", "f16", "bf16"}));
    std::string bias = below(2) == 0 ? ", " + weight("f32[64]") : "";
    join(make("conv_state " + x_ + ", " + weight("f32[64," + number(taps) + "]") + ", " + state +
                  ", %bt" + bias,
              "f32[T,64]"),
         64);
  }

  // Values small enough for any number of steps.
  std::string small(i32 width) {
    return make("act " + project(width) + " {act=sigmoid}", "f32[T," + number(width) + "]");
  }
  std::string decay(i32 width) {
    return make("mul " + small(width) + " {alpha=-1}", "f32[T," + number(width) + "]");
  }

  void recurrence() {
    std::string rule = one_of({"gdn", "kda", "gla", "mamba2", "rwkv7"});
    bool wide = rule == "kda" || rule == "gla" || rule == "rwkv7";
    std::string state = memory("state", "heads=2 dk=8 dv=16 fmt=" + one_of({"f32", "f16", "bf16"}));
    std::string q = project(16);
    std::string k = make("mul " + small(16) + " {alpha=0.1}", "f32[T,16]");
    std::string v = project(32);
    std::string g = decay(wide ? 16 : 2);
    std::string rest;
    if (rule == "gdn" || rule == "kda" || rule == "mamba2") rest = ", " + small(2);
    if (rule == "rwkv7") rest = ", " + k + ", " + k;
    join(make("scan " + q + ", " + k + ", " + v + ", " + g + ", " + state + ", %bt" + rest +
                  " {heads=2 rule=" + rule + "}",
              "f32[T,32]"),
         32);
  }

  // Products per head with a weight, there and back.
  void absorbed() {
    std::string a = make("view " + x_, "f32[T,2,32]");
    std::string w = weight(codec() + "[2,64,32]");
    std::string b = make("bmm " + a + ", " + w, "f32[T,2,64]");
    std::string c = make("bmm " + b + ", " + w + " {trans=1}", "f32[T,2,32]");
    join(make("view " + c, "f32[T,64]"), 64);
  }

  void dense() {
    std::string seen = one_of({"", " mask=full", " mask=full window=3", " window=2"});
    std::string q = project(64);
    std::string k = project(32);
    std::string v = project(16);
    join(make("attn_dense " + q + ", " + k + ", " + v + ", %bt {heads=4 kv_heads=2 scale=0.2" +
                  seen + "}",
              "f32[T,32]"),
         32);
  }

  // What follows the stream: logits, and now and then pooling, proposals, images.
  void ends() {
    std::string rows = make("gather " + x_ + ", %rows", "f32[R,64]");
    std::string logits = make("linear " + rows + ", " + weight("q8_0[96,64]"), "f32[R,96]");
    results_ = logits;
    if (below(3) == 0) {
      inputs_ += ", %params params";
      std::string n = fresh("%v");
      std::string token = fresh("%v");
      line(n + ", " + token + " = spec_verify " + logits +
           ", %ids, %rows, %params, %bt -> i32[S], i32[S]");
      results_ += ", " + n + ", " + token;
    }
    if (below(3) == 0)
      results_ += ", " + make("pool " + x_ + ", %bt {pooling=" + one_of({"last", "mean", "max"}) +
                                  " norm=1}",
                              "f32[S,64]");
    if (below(3) == 0) image();
  }

  void image() {
    inputs_ += ", %image f32[S,3,8,8]";
    std::string bias = below(2) == 0 ? ", " + weight("f32[4]") : "";
    std::string c =
        make("conv2d %image, " + weight("f16[4,27]") + bias + " {kh=3 kw=3 pad=1 stride=2}",
             "f32[S,4,4,4]");
    std::string p = make("pool2d " + c + " {kind=mean size=2}", "f32[S,4,3,3]");
    results_ += ", " + make("interp2d " + p, "f32[S,4,5,2]");
    std::string rows = make("patchify " + c + " {patch=2}", "f32[4*S,16]");
    results_ += ", " + make("attn_dense " + rows + ", " + rows + ", " + rows +
                                ", %bt {heads=2 kv_heads=2 scale=0.2" +
                                one_of({"", " mask=full", " mask=full window=2"}) + "}",
                            "f32[4*S,16]");
  }

  std::mt19937& random_;
  i32 layers_ = 0;
  i32 names_ = 0;
  std::string x_;  // the stream's current value
  std::string declarations_, inputs_, body_, results_;
};

inline std::string random_program(std::mt19937& random) {
  return RandomProgram(random).text();
}

}  // namespace tg::isa
