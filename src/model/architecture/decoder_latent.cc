// Attention over latent rows (DeepSeek-V2, 2024). A cached row is the normalised latent and the
// rotated part of the key that all heads share. main absorbs the key's matrix into the query and
// applies the value's matrix to the mixed latents, so that all heads attend one row; prefill makes
// each head's keys and values from the rows of the step, which is less work while none are cached.
#include <algorithm>

#include "isa/limits.h"
#include "model/architecture/decoder_draft.h"

namespace tg::model {

std::string_view DecoderDraft::latent_attention(const Run& run) {
  latent_query(run);
  latent_row(run);
  text_.line(fmt::format("  kv_append {}, {}, %bt", cache(run), value("lat")));
  entry_ == Entry::kMain ? attend_cached(run) : attend_fresh(run);
  linear(run, "o", "a", kWo, kBo, s_.width);
  return "o";
}

void DecoderDraft::latent_query(const Run& run) {
  i64 width = s_.heads * s_.key_dim;
  if (s_.latent.query_rank > 0) {
    linear(run, "qa", "h", kWqa, kRoles, s_.latent.query_rank);
    norm(run, "qan", "qa", kQaNorm, 0, s_.latent.query_rank);
    linear(run, "q", "qan", kWqb, kRoles, width);
  } else {
    linear(run, "q", "h", kWq, kRoles, width);
  }
  instruction(value("qr"), "rope", fmt::format("{}, %pos, $invf", value("q")),
              rope_attributes(run, s_.heads, s_.latent.nope), tokens(width));
}

void DecoderDraft::latent_row(const Run& run) {
  i64 width = s_.latent.rank + s_.rotated;
  linear(run, "kva", "h", kWkva, kRoles, width);
  view("c", "kva", 0, tokens(s_.latent.rank));
  norm(run, "cn", "c", kKvaNorm, 0, s_.latent.rank);
  view("kp", "kva", s_.latent.rank, tokens(s_.rotated));
  instruction(value("kr"), "rope", fmt::format("{}, %pos, $invf", value("kp")),
              rope_attributes(run, 1, 0), tokens(s_.rotated));
  instruction(value("lat"), "concat", fmt::format("{}, {}", value("cn"), value("kr")), "",
              tokens(width));
}

void DecoderDraft::attend_cached(const Run& run) {
  i64 h = s_.heads;
  i64 width = s_.latent.rank + s_.rotated;
  view("qh", "qr", 0, tokens(h, s_.key_dim));
  view("qn", "qh", 0, tokens(h, s_.latent.nope));
  view("qp", "qh", s_.latent.nope, tokens(h, s_.rotated));
  instruction(value("ql"), "bmm", fmt::format("{}, {}", value("qn"), weight(run, kWkb)), "",
              tokens(h, s_.latent.rank));
  instruction(value("qc"), "concat", fmt::format("{}, {}", value("ql"), value("qp")), "",
              tokens(h, width));
  view("qf", "qc", 0, tokens(h * width));
  instruction(value("al"), "attn", fmt::format("{}, {}, %bt", value("qf"), cache(run)),
              fmt::format("heads={} mask=causal scale={}", h, s_.attention_scale),
              tokens(h * s_.latent.rank));
  view("ah", "al", 0, tokens(h, s_.latent.rank));
  instruction(value("av"), "bmm", fmt::format("{}, {}", value("ah"), weight(run, kWvb)), "",
              tokens(h, s_.value_dim));
  view("a", "av", 0, tokens(h * s_.value_dim));
}

void DecoderDraft::attend_fresh(const Run& run) {
  i64 h = s_.heads;
  view("c1", "cn", 0, tokens(1, s_.latent.rank));
  instruction(value("kn"), "bmm", fmt::format("{}, {}", value("c1"), weight(run, kWkb)), "trans=1",
              tokens(h, s_.latent.nope));
  instruction(value("vh"), "bmm", fmt::format("{}, {}", value("c1"), weight(run, kWvb)), "",
              tokens(h, s_.value_dim));
  std::set<i64> joined;
  std::string copies = join_copies("kr", h, s_.rotated, joined);
  instruction(value("krh"), "view", copies, "", tokens(h, s_.rotated));
  instruction(value("kh"), "concat", fmt::format("{}, {}", value("kn"), value("krh")), "",
              tokens(h, s_.key_dim));
  view("k", "kh", 0, tokens(h * s_.key_dim));
  view("v", "vh", 0, tokens(h * s_.value_dim));
  instruction(value("a"), "attn_dense",
              fmt::format("{}, {}, {}, %bt", value("qr"), value("k"), value("v")),
              fmt::format("heads={} kv_heads={} mask=causal scale={}", h, h, s_.attention_scale),
              tokens(h * s_.value_dim));
}

// A concat takes so many operands, so copies are joined in rounds.
std::string DecoderDraft::join_copies(std::string_view x, i64 copies, i64 width,
                                      std::set<i64>& joined) {
  constexpr i64 kParts = 16;
  static_assert(kParts <= isa::kOperandsMax);
  if (copies == 1) return value(x);
  std::string name = value(fmt::format("{}{}", x, copies));
  if (!joined.insert(copies).second) return name;
  i64 part = (copies + kParts - 1) / kParts;
  std::vector<std::string> operands;
  for (i64 done = 0; done < copies; done += part) {
    part = std::min(part, copies - done);
    operands.push_back(join_copies(x, part, width, joined));
  }
  instruction(name, "concat", fmt::format("{}", fmt::join(operands, ", ")), "",
              tokens(copies * width));
  return name;
}

}  // namespace tg::model
