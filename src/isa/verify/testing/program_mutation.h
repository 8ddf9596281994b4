// For tests: a little language that changes a Program, so that a table can say what no text can.
//
//   PATH = VALUE, PATH += VALUE     numbers, enum words and "strings" (\xNN for a byte)
//   resize VECTOR N                 new elements are copies of the last, new letters are a
//   erase VECTOR I, copy VECTOR I [N], swap VECTOR I J
//   attr OP KEY = WORD...           sets or adds an attribute, in its place
//
// A path starts at the program (weights[0].dims[1], functions[0].results[0],
// cost.windows[0].window), at a value of main (%q.dims[1].t) or at an instruction of main
// (rope#1.in[0].index; #0 is the first and may be left out). Statements are separated by ';'.
#pragma once

#include <charconv>
#include <cstring>
#include <functional>
#include <sstream>

#include "isa/verify/testing/rule_table.h"

namespace tg::isa {

// Something that a path leads to: a number, a string, a vector or a struct.
struct Node {
  void* number = nullptr;
  std::size_t bytes = 0;
  std::string* text = nullptr;
  std::function<Node(std::string_view)> field;
  std::function<Node(std::size_t)> element;
  std::function<std::size_t()> size;
  std::function<void(std::size_t)> resize, erase;
  std::function<void(std::size_t, std::size_t)> copy, swap;

  i64 get() const {
    i64 value = 0;
    std::memcpy(&value, number, bytes);
    int unused = static_cast<int>(64 - 8 * bytes);
    return static_cast<i64>(static_cast<u64>(value) << unused) >> unused;
  }
  void set(i64 value) const { std::memcpy(number, &value, bytes); }
};

template <typename T>
Node node(T& value);

template <typename T>
Node vector_node(std::vector<T>& v) {
  Node out;
  out.element = [&v](std::size_t i) { return i < v.size() ? node(v[i]) : Node{}; };
  out.size = [&v] { return v.size(); };
  out.resize = [&v](std::size_t n) { v.resize(n, v.empty() ? T{} : T(v.back())); };
  out.erase = [&v](std::size_t i) { v.erase(v.begin() + static_cast<i64>(i)); };
  out.copy = [&v](std::size_t i, std::size_t n) {
    T one = v[i];
    v.insert(v.begin() + static_cast<i64>(i), n, one);
  };
  out.swap = [&v](std::size_t i, std::size_t j) { std::swap(v[i], v[j]); };
  return out;
}

#define TG_FIELD(member) \
  if (name == #member) return node(s.member)

inline Node field_of(Dim& s, std::string_view name) {
  TG_FIELD(constant);
  TG_FIELD(t);
  TG_FIELD(s);
  TG_FIELD(r);
  return {};
}
inline Node field_of(Type& s, std::string_view name) {
  TG_FIELD(kind);
  TG_FIELD(dtype);
  TG_FIELD(dims);
  return {};
}
inline Node field_of(Bounds& s, std::string_view name) {
  TG_FIELD(tokens);
  TG_FIELD(sequences);
  TG_FIELD(rows);
  TG_FIELD(context);
  return {};
}
inline Node field_of(WeightDecl& s, std::string_view name) {
  TG_FIELD(name);
  TG_FIELD(codec);
  TG_FIELD(layers);
  TG_FIELD(dims);
  return {};
}
inline Node field_of(KvDecl& s, std::string_view name) {
  TG_FIELD(name);
  TG_FIELD(layers);
  TG_FIELD(heads);
  TG_FIELD(dk);
  TG_FIELD(dv);
  TG_FIELD(format);
  TG_FIELD(page_tokens);
  TG_FIELD(latent);
  TG_FIELD(is_state);
  return {};
}
inline Node field_of(ConstDecl& s, std::string_view name) {
  TG_FIELD(name);
  TG_FIELD(dtype);
  TG_FIELD(dims);
  TG_FIELD(bytes);
  return {};
}
inline Node field_of(Operand& s, std::string_view name) {
  TG_FIELD(kind);
  TG_FIELD(mode);
  TG_FIELD(layer);
  TG_FIELD(index);
  return {};
}
inline Node field_of(Attribute& s, std::string_view name) {
  TG_FIELD(key);
  TG_FIELD(words);
  return {};
}
inline Node field_of(Instruction& s, std::string_view name) {
  TG_FIELD(op);
  TG_FIELD(version);
  TG_FIELD(out);
  TG_FIELD(in);
  TG_FIELD(attributes);
  return {};
}
inline Node field_of(Function& s, std::string_view name) {
  TG_FIELD(name);
  TG_FIELD(when_fresh);
  TG_FIELD(parameters);
  TG_FIELD(results);
  TG_FIELD(value_types);
  TG_FIELD(body);
  return {};
}
inline Node field_of(unit::WindowCost& s, std::string_view name) {
  TG_FIELD(window);
  TG_FIELD(attn_flops_per_pair);
  TG_FIELD(ew_flops_per_pair);
  TG_FIELD(kv_rd_bytes_per_key);
  TG_FIELD(kind);
  return {};
}
inline Node field_of(unit::ExpertCost& s, std::string_view name) {
  TG_FIELD(experts);
  TG_FIELD(active);
  TG_FIELD(layers);
  TG_FIELD(bytes_per_expert);
  return {};
}
inline Node field_of(unit::CostMatrix& s, std::string_view name) {
  TG_FIELD(per_pass);
  TG_FIELD(per_token);
  TG_FIELD(per_row);
  TG_FIELD(per_sequence);
  TG_FIELD(head_bytes);
  TG_FIELD(windows);
  TG_FIELD(experts);
  return {};
}
inline Node field_of(std::pair<std::string, std::string>& s, std::string_view name) {
  if (name == "key") return node(s.first);
  if (name == "value") return node(s.second);
  return {};
}
inline Node field_of(Program& s, std::string_view name) {
  TG_FIELD(isa_major);
  TG_FIELD(isa_minor);
  TG_FIELD(profiles);
  TG_FIELD(bounds);
  TG_FIELD(weights);
  TG_FIELD(kv);
  TG_FIELD(constants);
  TG_FIELD(functions);
  TG_FIELD(cost);
  TG_FIELD(entry_costs);
  TG_FIELD(meta);
  return {};
}
#undef TG_FIELD

template <typename T>
struct IsVector : std::false_type {};
template <typename T>
struct IsVector<std::vector<T>> : std::true_type {};

template <typename T>
Node node(T& value) {
  Node out;
  if constexpr (std::is_integral_v<T> || std::is_enum_v<T>) {
    out.number = &value;
    out.bytes = sizeof(T);
  } else if constexpr (std::is_same_v<T, std::string>) {
    out.text = &value;
  } else if constexpr (std::is_same_v<T, unit::Counters>) {
    out.element = [&value](std::size_t i) { return i < value.size() ? node(value[i]) : Node{}; };
  } else if constexpr (IsVector<T>::value) {
    out = vector_node(value);
  } else {
    out.field = [&value](std::string_view name) { return field_of(value, name); };
  }
  return out;
}

// Runs the statements on a program; what it cannot do is a test's failure.
class ProgramMutation {
 public:
  explicit ProgramMutation(Program& program) : program_(program) {}

  void run(const std::string& statements) {
    std::stringstream in(statements);
    for (std::string one; std::getline(in, one, ';');) {
      std::stringstream words(one);
      std::vector<std::string> list;
      for (std::string word; words >> word;) list.push_back(word);
      if (!list.empty() && !statement(list, one)) ADD_FAILURE() << "cannot do: " << one;
    }
  }

 private:
  bool statement(const std::vector<std::string>& w, const std::string& whole) {
    if (w[0] == "attr") return w.size() >= 4 && attribute(w);
    if (w.size() >= 3 && (w[1] == "=" || w[1] == "+=")) return assign(w, whole);
    if (w.size() < 3) return false;
    Node target = path(w[1]);
    std::size_t i = static_cast<std::size_t>(number(w[2]));
    if (w[0] == "resize" && target.text != nullptr) return target.text->resize(i, 'a'), true;
    if (w[0] == "resize" && target.resize) return target.resize(i), true;
    bool inside = target.size && i < target.size();
    if (w[0] == "erase" && inside && target.erase) return target.erase(i), true;
    std::size_t j = w.size() > 3 ? static_cast<std::size_t>(number(w[3])) : 1;
    if (w[0] == "copy" && inside && target.copy) return target.copy(i, j), true;
    if (w[0] == "swap" && inside && j < target.size()) return target.swap(i, j), true;
    return false;
  }

  bool assign(const std::vector<std::string>& w, const std::string& whole) {
    Node target = path(w[0]);
    if (target.text != nullptr) {
      std::size_t first = whole.find('"');
      *target.text = unescape(whole.substr(first + 1, whole.rfind('"') - first - 1));
      return true;
    }
    if (target.number == nullptr) return false;
    target.set(w[1] == "=" ? number(w[2]) : target.get() + number(w[2]));
    return true;
  }

  bool attribute(const std::vector<std::string>& w) {
    Instruction* op = instruction(w[1]);
    std::optional<AttributeKey> key = attribute_by_name(w[2]);
    if (op == nullptr || !key) return false;
    Attribute made{*key, {}};
    for (std::size_t i = 4; i < w.size(); ++i) made.words.push_back(static_cast<u32>(number(w[i])));
    std::erase_if(op->attributes, [&](const Attribute& a) { return a.key == *key; });
    std::vector<Attribute>::iterator place = op->attributes.begin();
    while (place != op->attributes.end() && place->key < *key) ++place;
    op->attributes.insert(place, made);
    return true;
  }

  Instruction* instruction(std::string_view selector) {
    std::size_t hash = std::min(selector.find('#'), selector.size());
    std::optional<Opcode> op = opcode_by_name(selector.substr(0, hash));
    i64 skip = hash < selector.size() ? number(std::string(selector.substr(hash + 1))) : 0;
    if (!op) return nullptr;
    for (Instruction& i : program_.functions[0].body) {
      if (i.op == *op && skip-- == 0) return &i;
    }
    return nullptr;
  }

  Node value(std::string_view name) {
    Function& f = program_.functions[0];
    for (std::size_t i = 0; i < f.value_names.size(); ++i) {
      if (f.value_names[i] == name) return node(f.value_types[i]);
    }
    return {};
  }

  Node root(std::string_view name) {
    if (name.starts_with('%')) return value(name.substr(1));
    Instruction* op = instruction(name);
    return op != nullptr ? node(*op) : field_of(program_, name);
  }

  Node path(std::string_view text) {
    std::size_t at = std::min(text.find_first_of(".["), text.size());
    Node here = root(text.substr(0, at));
    while (at < text.size()) {
      bool index = text[at] == '[';
      std::size_t end = std::min(text.find_first_of(index ? "]" : ".[", at + 1), text.size());
      std::string part(text.substr(at + 1, end - at - 1));
      if (index && here.element) {
        here = here.element(static_cast<std::size_t>(number(part)));
      } else if (!index && here.field) {
        here = here.field(part);
      } else {
        return {};
      }
      at = index ? end + 1 : end;
    }
    return here;
  }

  static i64 number(const std::string& text) { return std::strtoll(text.c_str(), nullptr, 0); }

  static std::string unescape(std::string text) {
    for (std::size_t k = text.find("\\x"); k != std::string::npos; k = text.find("\\x", k + 1))
      text.replace(k, 4, 1, static_cast<char>(std::stoi(text.substr(k + 2, 2), nullptr, 16)));
    return text;
  }

  Program& program_;
};

}  // namespace tg::isa
