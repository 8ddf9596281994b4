#include "isa/assemble.h"

#include <algorithm>
#include <optional>

#include "base/bytes.h"
#include "isa/assemble_function.h"
#include "isa/attribute_text.h"
#include "isa/limits.h"

namespace tg::isa {

namespace {

class Assembler {
 public:
  Status line(std::string_view text, i64 number);
  Result<Program> finish(i64 lines);

 private:
  Status directive(TokenCursor& cursor, std::string_view name);
  Status tgp(TokenCursor& cursor);
  Status cfg(TokenCursor& cursor);
  Status dim(TokenCursor& cursor);
  Status kv(TokenCursor& cursor, bool is_state);
  Status weight(TokenCursor& cursor);
  Status constant(TokenCursor& cursor);
  Status meta(TokenCursor& cursor);
  Status begin_function(TokenCursor& cursor);
  Status end_function(TokenCursor& cursor);
  Status declare(const TokenCursor& cursor, std::string_view name, SymbolRef ref);
  Status kv_field(TokenCursor& cursor, KvDecl& decl);

  Program program_;
  Config config_;
  SymbolTable symbols_;
  std::optional<FunctionAssembler> function_;
  bool has_header_ = false;
  bool wants_least_ = false;  // its version is the least that it needs
};

Status Assembler::line(std::string_view text, i64 number) {
  TG_ASSIGN(std::vector<Token> tokens, tokenize_line(text, number));
  TokenCursor cursor(std::move(tokens), number);
  if (cursor.at_end()) return {};
  if (cursor.peek().kind == TokenKind::kDirective) {
    std::string_view name = cursor.next().text;
    return directive(cursor, name);
  }
  if (!function_) return cursor.unexpected("a directive outside .func");
  return function_->statement(cursor);
}

Status Assembler::directive(TokenCursor& cursor, std::string_view name) {
  if (name == "end") return end_function(cursor);
  if (function_) return cursor.error("." + std::string(name) + " inside .func");
  if (name == "tgp") return tgp(cursor);
  if (!has_header_) return cursor.error("expected .tgp first, found ." + std::string(name));
  if (name == "cfg") return cfg(cursor);
  if (name == "dim") return dim(cursor);
  if (name == "kv") return kv(cursor, false);
  if (name == "state") return kv(cursor, true);
  if (name == "w") return weight(cursor);
  if (name == "const") return constant(cursor);
  if (name == "meta") return meta(cursor);
  if (name == "func") return begin_function(cursor);
  return cursor.error("unknown directive ." + std::string(name));
}

Status Assembler::tgp(TokenCursor& cursor) {
  if (has_header_) return cursor.error(".tgp is given twice");
  has_header_ = true;
  TG_ASSIGN(std::string_view version, cursor.take(TokenKind::kWord, "a version"));
  wants_least_ = version == "least";
  if (wants_least_) version = "1.0";
  std::size_t dot = version.find('.');
  if (dot == std::string_view::npos) return cursor.error("version '" + std::string(version) + "'");
  TG_ASSIGN(i64 major, parse_digits(cursor, version.substr(0, dot)));
  TG_ASSIGN(i64 minor, parse_digits(cursor, version.substr(dot + 1)));
  if (major > UINT16_MAX || minor > UINT16_MAX)
    return cursor.error("version '" + std::string(version) + "'");
  program_.isa_major = static_cast<u16>(major);
  program_.isa_minor = static_cast<u16>(minor);
  TG_TRY(cursor.expect_word("profile"));
  TG_TRY(cursor.expect("="));
  do {
    TG_ASSIGN(std::string_view word, cursor.take(TokenKind::kWord, "a profile"));
    std::optional<Profile> profile = profile_by_name(word);
    if (!profile) return cursor.error("V18: unknown profile '" + std::string(word) + "'");
    program_.profiles |= 1u << static_cast<u32>(*profile);
  } while (cursor.accept(","));
  return cursor.expect_end();
}

Status Assembler::cfg(TokenCursor& cursor) {
  while (!cursor.at_end()) {
    TG_ASSIGN(std::string_view name, cursor.take(TokenKind::kWord, "a name"));
    if (name == "T" || name == "S" || name == "R")
      return cursor.error("'" + std::string(name) + "' is a step symbol");
    TG_TRY(cursor.expect("="));
    TG_ASSIGN(i64 value, parse_integer(cursor, config_, INT64_MAX));
    if (!config_.emplace(name, value).second)
      return cursor.error("'" + std::string(name) + "' is given twice");
  }
  return {};
}

Status Assembler::dim(TokenCursor& cursor) {
  while (!cursor.at_end()) {
    TG_ASSIGN(std::string_view name, cursor.take(TokenKind::kWord, "a step symbol"));
    Bounds& b = program_.bounds;
    i64* bound = name == "T"   ? &b.tokens
                 : name == "S" ? &b.sequences
                 : name == "R" ? &b.rows
                 : name == "C" ? &b.context
                               : nullptr;
    if (bound == nullptr) return cursor.error("unknown step symbol '" + std::string(name) + "'");
    TG_TRY(cursor.expect("<="));
    TG_ASSIGN(*bound, parse_integer(cursor, config_, UINT32_MAX));
  }
  return {};
}

Status Assembler::declare(const TokenCursor& cursor, std::string_view name, SymbolRef ref) {
  if (!symbols_.emplace(name, ref).second)
    return cursor.error("V6: $" + std::string(name) + " is declared twice");
  return {};
}

Status Assembler::kv_field(TokenCursor& cursor, KvDecl& decl) {
  TG_ASSIGN(std::string_view field, cursor.take(TokenKind::kWord, "a field"));
  TG_TRY(cursor.expect("="));
  if (field == "fmt") {
    TG_ASSIGN(std::string_view format, cursor.take(TokenKind::kWord, "a format"));
    std::optional<DType> dtype = dtype_by_name(format);
    if (!dtype) return cursor.error("unknown type '" + std::string(format) + "'");
    decl.format = *dtype;
    return {};
  }
  u32* target = field == "layers"   ? &decl.layers
                : field == "heads"  ? &decl.heads
                : field == "dk"     ? &decl.dk
                : field == "dv"     ? &decl.dv
                : field == "page"   ? &decl.page_tokens
                : field == "latent" ? &decl.latent
                                    : nullptr;
  bool paged = field == "page" || field == "latent";
  if (target == nullptr || (paged && decl.is_state))
    return cursor.error("unknown field '" + std::string(field) + "'");
  TG_ASSIGN(i64 value, parse_integer(cursor, config_, UINT32_MAX));
  *target = static_cast<u32>(value);
  return {};
}

Status Assembler::kv(TokenCursor& cursor, bool is_state) {
  TG_ASSIGN(std::string_view name, cursor.take(TokenKind::kSymbol, "a cache name"));
  KvDecl decl{.name = std::string(name), .is_state = is_state};
  if (is_state) {
    decl.format = DType::kF32;
    decl.page_tokens = 0;
  }
  while (!cursor.at_end()) TG_TRY(kv_field(cursor, decl));
  u32 index = static_cast<u32>(program_.kv.size());
  TG_TRY(declare(cursor, name, {OperandKind::kKv, index, decl.layers}));
  program_.kv.push_back(std::move(decl));
  return {};
}

Status Assembler::weight(TokenCursor& cursor) {
  TG_ASSIGN(std::string_view name, cursor.take(TokenKind::kSymbol, "a weight name"));
  WeightDecl decl{.name = std::string(name)};
  if (cursor.accept("[")) {
    TG_ASSIGN(i64 layers, parse_integer(cursor, config_, kLayersMax));
    decl.layers = static_cast<u32>(layers);
    TG_TRY(cursor.expect("]"));
    if (layers == 0) return cursor.error("V6: weight $" + decl.name + " has 0 layers");
  }
  TG_ASSIGN(std::string_view codec, cursor.take(TokenKind::kWord, "a codec"));
  std::optional<DType> dtype = dtype_by_name(codec);
  if (!dtype) return cursor.error("unknown codec '" + std::string(codec) + "'");
  decl.codec = *dtype;
  TG_ASSIGN(decl.dims, parse_shape(cursor, config_));
  TG_TRY(cursor.expect_end());
  u32 index = static_cast<u32>(program_.weights.size());
  TG_TRY(declare(cursor, name, {OperandKind::kWeight, index, decl.layers}));
  program_.weights.push_back(std::move(decl));
  return {};
}

static Result<u32> parse_signed(TokenCursor& cursor, const Config& config) {
  bool minus = cursor.accept("-");
  TG_ASSIGN(i64 value, parse_integer(cursor, config, UINT32_MAX));
  if (minus && value > i64{INT32_MAX} + 1) return cursor.error("-" + std::to_string(value));
  return static_cast<u32>(minus ? -value : value);
}

Status Assembler::constant(TokenCursor& cursor) {
  TG_ASSIGN(std::string_view name, cursor.take(TokenKind::kSymbol, "a constant's name"));
  ConstDecl decl{.name = std::string(name)};
  TG_ASSIGN(std::string_view word, cursor.take(TokenKind::kWord, "a type"));
  std::optional<DType> dtype = dtype_by_name(word);
  if (!dtype || (*dtype != DType::kF32 && *dtype != DType::kI32))
    return cursor.error("V4: a constant is f32 or i32, not '" + std::string(word) + "'");
  decl.dtype = *dtype;
  TG_ASSIGN(decl.dims, parse_shape(cursor, config_));
  TG_TRY(cursor.expect("="));
  while (!cursor.at_end()) {
    if (decl.dtype == DType::kF32) {
      TG_ASSIGN(u32 bits, parse_real(cursor));
      append_u32(decl.bytes, bits);
    } else {
      TG_ASSIGN(u32 bits, parse_signed(cursor, config_));
      append_u32(decl.bytes, bits);
    }
    cursor.accept(",");
  }
  u32 index = static_cast<u32>(program_.constants.size());
  TG_TRY(declare(cursor, name, {OperandKind::kConst, index, 0}));
  program_.constants.push_back(std::move(decl));
  return {};
}

Status Assembler::meta(TokenCursor& cursor) {
  TG_ASSIGN(std::string_view key, cursor.take(TokenKind::kText, "a quoted key"));
  TG_ASSIGN(std::string_view value, cursor.take(TokenKind::kText, "a quoted value"));
  program_.meta.emplace_back(key, value);
  return cursor.expect_end();
}

Status Assembler::begin_function(TokenCursor& cursor) {
  function_.emplace(config_, symbols_);
  return function_->header(cursor);
}

Status Assembler::end_function(TokenCursor& cursor) {
  if (!function_) return cursor.error(".end outside .func");
  TG_TRY(cursor.expect_end());
  TG_ASSIGN(Function function, function_->finish(cursor));
  program_.functions.push_back(std::move(function));
  function_.reset();
  return {};
}

Result<Program> Assembler::finish(i64 lines) {
  if (function_) return at_line(lines, "the last .func has no .end");
  if (!has_header_) return at_line(lines, "no .tgp line");
  // Provenance is a set: sorted by key, like every table of the canonical form.
  std::sort(program_.meta.begin(), program_.meta.end());
  if (wants_least_) program_.isa_minor = minor_needed(program_);
  return std::move(program_);
}

}  // namespace

Result<Program> assemble(std::string_view text) {
  if (static_cast<i64>(text.size()) > kTextBytesMax)
    return Error{Code::kLimit, "assembly: " + std::to_string(text.size()) + " bytes, at most " +
                                   std::to_string(kTextBytesMax)};
  Assembler assembler;
  i64 number = 0;
  for (std::size_t at = 0; at <= text.size();) {
    std::size_t end = std::min(text.find('\n', at), text.size());
    TG_TRY(assembler.line(text.substr(at, end - at), ++number));
    at = end + 1;
  }
  return assembler.finish(number);
}

}  // namespace tg::isa
