// A small decoder with random weights, for this folder's tests and benches: program text, weight
// bytes in any codec, and batches of sequences over a paged cache.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "backend/packed_step.h"
#include "base/assert.h"
#include "env/random.h"
#include "isa/assemble.h"
#include "isa/codec.h"
#include "isa/program.h"
#include "isa/weights.h"

namespace tg::backend {

struct TinyShape {
  i64 d = 256, heads = 4, groups = 2, head_dim = 64, f = 512, vocabulary = 320, layers = 2;
  std::string codec = "q8_0";       // of the layers' matrices
  std::string head_codec = "q8_0";  // of the tied embedding
  std::string activations = "f32";
  std::string attention;  // further attributes of attn
  std::string xq;         // of every product; "": none
};

inline std::string tiny_llama_text(const TinyShape& s) {
  auto n = [](i64 value) { return std::to_string(value); };
  const std::string a = s.activations;
  const std::string c = s.codec;
  std::string head = ".tgp least profile=TEXT\n.cfg d=" + n(s.d) + " H=" + n(s.heads) +
                     " G=" + n(s.groups) + " D=" + n(s.head_dim) + " F=" + n(s.f) +
                     " V=" + n(s.vocabulary) + " L=" + n(s.layers) +
                     "\n.dim T<=512 S<=32 R<=64 C<=1024\n"
                     ".kv $kv layers=L heads=G dk=D dv=D fmt=f16 page=16\n";
  std::string weights = ".w $embd " + s.head_codec + "[V,d]\n.w $norm1[L] f32[d]\n" + ".w $wq[L] " +
                        c + "[H*D,d]\n.w $wk[L] " + c + "[G*D,d]\n.w $wv[L] " + c +
                        "[G*D,d]\n.w $bq[L] f32[H*D]\n.w $wo[L] " + c +
                        "[d,H*D]\n.w $norm2[L] f32[d]\n.w $wg[L] " + c + "[F,d]\n.w $wu[L] " + c +
                        "[F,d]\n.w $wd[L] " + c + "[d,F]\n.w $normf f32[d]\n.w $invf f32[D/2]\n";
  std::string scale = std::to_string(1.0 / std::sqrt(static_cast<f64>(s.head_dim)));
  std::string attn = "{heads=H mask=causal scale=" + scale + " " + s.attention + "}";
  std::string body =
      ".func main (%ids i32[T], %pos i32[T], %rows i32[R], %bt batch) -> %logits\n"
      "  %x0 = embed $embd, %ids -> A[T,d]\n"
      "  %xL = repeat l L carry %x0 as %x\n"
      "    %h = rmsnorm %x, $norm1[l] {eps=1e-5} -> A[T,d]\n"
      "    %q = linear %h, $wq[l], $bq[l] -> A[T,H*D]\n"
      "    %k = linear %h, $wk[l] -> A[T,G*D]\n"
      "    %v = linear %h, $wv[l] -> A[T,G*D]\n"
      "    %qr = rope %q, %pos, $invf {style=neox heads=H rot=D} -> A[T,H*D]\n"
      "    %kr = rope %k, %pos, $invf {style=neox heads=G rot=D} -> A[T,G*D]\n"
      "    kv_append $kv[l], %kr, %v, %bt\n"
      "    %a = attn %qr, $kv[l], %bt " +
      attn +
      " -> A[T,H*D]\n"
      "    %o = linear %a, $wo[l] -> A[T,d]\n"
      "    %r = add %x, %o -> A[T,d]\n"
      "    %h2 = rmsnorm %r, $norm2[l] {eps=1e-5} -> A[T,d]\n"
      "    %g = linear %h2, $wg[l] -> A[T,F]\n"
      "    %u = linear %h2, $wu[l] -> A[T,F]\n"
      "    %s = glu %g, %u {act=silu} -> A[T,F]\n"
      "    %m = linear %s, $wd[l] -> A[T,d]\n"
      "    %y = add %r, %m -> A[T,d]\n"
      "  yield %y\n"
      "  %xr = gather %xL, %rows -> A[R,d]\n"
      "  %xn = rmsnorm %xr, $normf {eps=1e-5} -> A[R,d]\n"
      "  %logits = linear %xn, $embd -> f32[R,V]\n"
      ".end\n";
  for (std::size_t at = body.find("-> A["); at != std::string::npos; at = body.find("-> A[")) {
    body.replace(at + 3, 1, a);
  }
  std::string rounding = s.xq.empty() ? "" : " {xq=" + s.xq + "}";
  for (std::size_t at = body.find("= linear "); at != std::string::npos;
       at = body.find("= linear ", at + 1)) {
    body.insert(body.find(" ->", at), rounding);
  }
  return head + weights + body;
}

inline isa::VerifiedProgram verified(const std::string& text) {
  Result<isa::Program> program = isa::assemble(text);
  if (!program) std::fprintf(stderr, "%s\n", program.error().message.c_str());
  Result<isa::VerifiedProgram> verified = isa::verify(std::move(program).value());
  if (!verified) std::fprintf(stderr, "%s\n", verified.error().message.c_str());
  return std::move(verified).value();
}

// Bytes for every weight a program declares: matrices about 1/sqrt(columns), norms about 1, rope
// frequencies as usual.
struct RandomWeights {
  std::vector<std::vector<u8>> storage;
  isa::WeightTable table;

  RandomWeights(const isa::Program& program, u64 seed) {
    SeededRandom random(seed);
    for (const isa::WeightDecl& weight : program.weights) {
      std::vector<std::span<const u8>>& layers = table.by_symbol.emplace_back();
      for (u32 layer = 0; layer < std::max<u32>(weight.layers, 1); ++layer) {
        storage.push_back(make(weight, random));
        layers.push_back(storage.back());  // Moving a vector keeps its elements' address.
      }
    }
  }

 private:
  static f32 value(const isa::WeightDecl& weight, i64 i, SeededRandom& random) {
    f32 noise = static_cast<f32>(random.uniform() * 2.0 - 1.0);
    i64 columns = weight.dims.back();
    if (weight.name == "invf") {
      return std::pow(10'000.0f, -static_cast<f32>(i) / static_cast<f32>(columns));
    }
    if (weight.dims.size() == 1) return 1.0f + 0.2f * noise;
    return noise * std::sqrt(3.0f / static_cast<f32>(columns));
  }

  static std::vector<u8> make(const isa::WeightDecl& weight, SeededRandom& random) {
    std::vector<u8> bytes;
    i64 columns = weight.dims.back();
    i64 rows = 1;
    for (std::size_t i = 0; i + 1 < weight.dims.size(); ++i) rows *= weight.dims[i];
    std::vector<f32> row(static_cast<std::size_t>(columns));
    std::vector<u8> packed(static_cast<std::size_t>(isa::row_bytes(weight.codec, columns)));
    for (i64 r = 0; r < rows; ++r) {
      for (i64 c = 0; c < columns; ++c) row[static_cast<std::size_t>(c)] = value(weight, c, random);
      isa::quantize_row(weight.codec, row, packed);
      bytes.insert(bytes.end(), packed.begin(), packed.end());
    }
    return bytes;
  }
};

}  // namespace tg::backend
