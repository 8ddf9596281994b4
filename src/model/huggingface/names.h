// Names of a checkpoint's tensors taken apart: "model.layers.3.mlp.up_proj.weight" is the part
// "weight" of module "model.layers.{l}.mlp.up_proj" in layer 3.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/types.h"
#include "model/huggingface/families.h"

namespace tg::checkpoint {

struct Place {
  const TensorRow* row = nullptr;
  i64 layer = -1;           // -1: the module is not in a layer
  i64 expert = -1;          // -1: nor of an expert
  std::string_view ending;  // "weight", "bias", "qweight", ..; empty for rows of whole names
};

// The rows of one family by module.
class Names {
 public:
  explicit Names(const Family& family);
  // Where the tensor of this name belongs; row is nullptr if no row of the family has it.
  Place find(std::string_view name) const;

 private:
  const TensorRow* row_of(std::string_view module, Place& place) const;

  std::map<std::string_view, const TensorRow*> rows_;
};

// "blk.{l}.attn_q" with the layer's number.
std::string in_layer(std::string_view pattern, i64 layer);

// What a checkpoint of the family calls the GGUF tensor or key:
// "model.layers.3.mlp.up_proj.weight", "hidden_size". Empty if the tables do not say.
std::string stored_name(const Family& family, std::string_view gguf_name);

}  // namespace tg::checkpoint
