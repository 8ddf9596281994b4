// A method per part of a layer; a role that no method names is absent.
#include "model/architecture/layer_roles.h"

#include "base/assert.h"

namespace tg::model {
namespace {

using Roles = std::array<RoleInfo, kRoles>;

class Table {
 public:
  Table(const DecoderShape& shape, const DecoderTraits& traits) : s_(shape), traits_(traits) {}

  Roles write(i64 layer) {
    add(kNorm1, "norm1", "attn_norm.weight", {s_.width});
    traits_.attention == AttentionKind::kLatent ? latent() : grouped();
    add(kWo, "wo", "attn_output.weight", {s_.width, s_.heads * s_.value_dim});
    bias(kBo, "bo", "attn_output.bias", {s_.width}, Biases::kAll);
    if (traits_.has_post_norms) add(kPost1, "post1", "post_attention_norm.weight", {s_.width});
    add(kNorm2, "norm2", traits_.second_norm, {s_.width});
    s_.has_experts(layer) ? experts() : dense();
    if (traits_.has_post_norms) add(kPost2, "post2", "post_ffw_norm.weight", {s_.width});
    return std::move(roles_);
  }

 private:
  void add(Role role, std::string_view symbol, std::string_view tensor, std::vector<i64> dims,
           Need need = Need::kRequired) {
    roles_[role] = {symbol, tensor, need, std::move(dims)};
  }
  // A bias that files must hold if the architecture asks for `kind` of them.
  void bias(Role role, std::string_view symbol, std::string_view tensor, std::vector<i64> dims,
            Biases kind) {
    add(role, symbol, tensor, std::move(dims),
        traits_.required_biases >= kind ? Need::kRequired : Need::kOptional);
  }

  void grouped();
  void head_norms();
  void latent();
  void dense();
  void experts();
  void shared_expert();

  const DecoderShape& s_;
  const DecoderTraits& traits_;
  Roles roles_;
};

void Table::grouped() {
  i64 q = s_.heads * s_.key_dim;
  i64 k = s_.kv_heads * s_.key_dim;
  i64 v = s_.kv_heads * s_.value_dim;
  if (traits_.is_qkv_fused) {
    add(kWqkv, "wqkv", "attn_qkv.weight", {q + k + v, s_.width});
    bias(kBqkv, "bqkv", "attn_qkv.bias", {q + k + v}, Biases::kQkv);
  } else {
    add(kWq, "wq", "attn_q.weight", {q, s_.width});
    bias(kBq, "bq", "attn_q.bias", {q}, Biases::kQkv);
    add(kWk, "wk", "attn_k.weight", {k, s_.width});
    bias(kBk, "bk", "attn_k.bias", {k}, Biases::kQkv);
    add(kWv, "wv", "attn_v.weight", {v, s_.width});
    bias(kBv, "bv", "attn_v.bias", {v}, Biases::kQkv);
  }
  Need need = traits_.has_qk_norm ? Need::kRequired : Need::kOptional;
  add(kQNorm, "qnorm", "attn_q_norm.weight", {s_.key_dim}, need);
  add(kKNorm, "knorm", "attn_k_norm.weight", {s_.key_dim}, need);
  if (traits_.has_sinks) add(kSinks, "sinks", "attn_sinks.weight", {s_.heads});
}

void Table::latent() {
  const LatentShape& l = s_.latent;
  i64 q = s_.heads * s_.key_dim;
  if (l.query_rank > 0) {
    add(kWqa, "wqa", "attn_q_a.weight", {l.query_rank, s_.width});
    add(kQaNorm, "qanorm", "attn_q_a_norm.weight", {l.query_rank});
    add(kWqb, "wqb", "attn_q_b.weight", {q, l.query_rank});
  } else {
    add(kWq, "wq", "attn_q.weight", {q, s_.width});
  }
  add(kWkva, "wkva", "attn_kv_a_mqa.weight", {l.rank + s_.rotated, s_.width});
  add(kKvaNorm, "kvanorm", "attn_kv_a_norm.weight", {l.rank});
  add(kWkb, "wkb", "attn_k_b.weight", {s_.heads, l.rank, l.nope});
  add(kWvb, "wvb", "attn_v_b.weight", {s_.heads, s_.value_dim, l.rank});
}

void Table::dense() {
  if (traits_.is_gate_up_fused) {
    add(kWu, "wgu", "ffn_up.weight", {2 * s_.ffn, s_.width});
    bias(kBu, "bgu", "ffn_up.bias", {2 * s_.ffn}, Biases::kAll);
  } else {
    add(kWg, "wg", "ffn_gate.weight", {s_.ffn, s_.width});
    bias(kBg, "bg", "ffn_gate.bias", {s_.ffn}, Biases::kAll);
    add(kWu, "wu", "ffn_up.weight", {s_.ffn, s_.width});
    bias(kBu, "bu", "ffn_up.bias", {s_.ffn}, Biases::kAll);
  }
  add(kWd, "wd", "ffn_down.weight", {s_.width, s_.ffn});
  bias(kBd, "bd", "ffn_down.bias", {s_.width}, Biases::kAll);
}

void Table::experts() {
  const ExpertShape& e = s_.experts;
  add(kRouter, "router", "ffn_gate_inp.weight", {e.count, s_.width});
  bias(kBrouter, "brouter", "ffn_gate_inp.bias", {e.count}, Biases::kAll);
  add(kSelect, "select", "exp_probs_b.bias", {e.count}, Need::kOptional);
  add(kEg, "eg", "ffn_gate_exps.weight", {e.count, e.ffn, s_.width});
  bias(kBeg, "beg", "ffn_gate_exps.bias", {e.count, e.ffn}, Biases::kAll);
  add(kEu, "eu", "ffn_up_exps.weight", {e.count, e.ffn, s_.width});
  bias(kBeu, "beu", "ffn_up_exps.bias", {e.count, e.ffn}, Biases::kAll);
  add(kEd, "ed", "ffn_down_exps.weight", {e.count, s_.width, e.ffn});
  bias(kBed, "bed", "ffn_down_exps.bias", {e.count, s_.width}, Biases::kAll);
  if (e.shared_ffn > 0) shared_expert();
}

void Table::shared_expert() {
  i64 ffn = s_.experts.shared_ffn;
  add(kSg, "sg", "ffn_gate_shexp.weight", {ffn, s_.width});
  add(kSu, "su", "ffn_up_shexp.weight", {ffn, s_.width});
  add(kSd, "sd", "ffn_down_shexp.weight", {s_.width, ffn});
}

}  // namespace

std::array<RoleInfo, kRoles> layer_roles(const DecoderShape& shape, const DecoderTraits& traits,
                                         i64 layer) {
  TG_ASSERT(layer >= 0 && layer < shape.layers);
  return Table(shape, traits).write(layer);
}

}  // namespace tg::model
