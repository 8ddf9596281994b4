#include "text/reply_parser.h"

#include <algorithm>
#include <span>
#include <utility>

#include "base/json_out.h"
#include "text/jinja/json.h"

namespace tg {
namespace {

using Kind = ReplyPart::Kind;

// A call's header (its name and markers) is never longer.
constexpr std::size_t kHeaderBytesMax = 512;

struct Marks {
  std::span<const std::string_view> openers;  // A call or a list of calls begins.
  std::span<const std::string_view> fillers;  // Stand between and after calls and mean nothing.
};

constexpr std::string_view kHermesOpeners[] = {"<tool_call>"};
constexpr std::string_view kHermesFillers[] = {"</tool_call>"};
constexpr std::string_view kMistralOpeners[] = {"[TOOL_CALLS]"};
constexpr std::string_view kMistralFillers[] = {"]", ","};
constexpr std::string_view kLlamaOpeners[] = {"<|python_tag|>"};
constexpr std::string_view kLlamaFillers[] = {";"};
constexpr std::string_view kFunctionaryOpeners[] = {"<function="};
constexpr std::string_view kFunctionaryFillers[] = {"</function>"};
constexpr std::string_view kKimiOpeners[] = {"<|tool_calls_section_begin|>", "<|tool_call_begin|>"};
constexpr std::string_view kKimiFillers[] = {"<|tool_call_end|>", "<|tool_calls_section_end|>"};
constexpr std::string_view kDeepSeekOpeners[] = {
    "<\xEF\xBD\x9Ctool\xE2\x96\x81"
    "calls\xE2\x96\x81"
    "begin\xEF\xBD\x9C>",
    "<\xEF\xBD\x9Ctool\xE2\x96\x81"
    "call\xE2\x96\x81"
    "begin\xEF\xBD\x9C>"};
constexpr std::string_view kDeepSeekFillers[] = {"```",
                                                 "<\xEF\xBD\x9Ctool\xE2\x96\x81"
                                                 "call\xE2\x96\x81"
                                                 "end\xEF\xBD\x9C>",
                                                 "<\xEF\xBD\x9Ctool\xE2\x96\x81"
                                                 "calls\xE2\x96\x81"
                                                 "end\xEF\xBD\x9C>"};
constexpr std::string_view kDeepSeekSeparator = "<\xEF\xBD\x9Ctool\xE2\x96\x81sep\xEF\xBD\x9C>";

constexpr std::string_view kMessage = "<|message|>";
constexpr std::string_view kChannelEnds[] = {"<|end|>", "<|call|>", "<|return|>", "<|start|>",
                                             "<|channel|>"};

Marks marks_of(CallSyntax syntax) {
  switch (syntax) {
    case CallSyntax::kHermes: return {kHermesOpeners, kHermesFillers};
    case CallSyntax::kMistral: return {kMistralOpeners, kMistralFillers};
    case CallSyntax::kLlama3: return {kLlamaOpeners, kLlamaFillers};
    case CallSyntax::kDeepSeek: return {kDeepSeekOpeners, kDeepSeekFillers};
    case CallSyntax::kKimi: return {kKimiOpeners, kKimiFillers};
    case CallSyntax::kFunctionary: return {kFunctionaryOpeners, kFunctionaryFillers};
    case CallSyntax::kHarmony:
    case CallSyntax::kNone: return {};
  }
  return {};
}

bool is_space(char c) {
  return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

// One newline after a tag and one before the next belong to the markup.
std::string_view without_outer_newlines(std::string_view text) {
  if (text.starts_with('\n')) text.remove_prefix(1);
  if (text.ends_with('\n')) text.remove_suffix(1);
  return text;
}

// `text` is the beginning of `mark`, but not all of it.
bool may_become(std::string_view text, std::string_view mark) {
  return text.size() < mark.size() && mark.starts_with(text);
}

bool may_become_any(std::string_view text, std::span<const std::string_view> marks) {
  return std::any_of(marks.begin(), marks.end(),
                     [text](std::string_view mark) { return may_become(text, mark); });
}

struct Found {
  std::size_t at = std::string_view::npos;
  std::size_t size = 0;
};

Found find_first(std::string_view text, std::span<const std::string_view> marks) {
  Found found;
  for (std::string_view mark : marks) {
    std::size_t at = text.find(mark);
    if (at < found.at) found = {at, mark.size()};
  }
  return found;
}

// Where the longest end of `text` that may become a mark begins.
std::size_t held_from(std::string_view text, std::span<const std::string_view> marks) {
  std::size_t longest = 0;
  for (std::string_view mark : marks) longest = std::max(longest, mark.size());
  std::size_t from = text.size() < longest ? 0 : text.size() - longest + 1;
  for (; from < text.size(); ++from) {
    if (may_become_any(text.substr(from), marks)) return from;
  }
  return text.size();
}

std::size_t space_from(std::string_view text) {
  std::size_t size = text.size();
  while (size > 0 && is_space(text[size - 1])) --size;
  return size;
}

std::string_view after_last(std::string_view text, std::string_view mark) {
  std::size_t at = text.rfind(mark);
  return at == text.npos ? text : text.substr(at + mark.size());
}

std::string_view before_first(std::string_view text, std::string_view mark) {
  return text.substr(0, text.find(mark));
}

// The tool's name in what stands before the arguments; "" if there is none, because the JSON holds
// it.
std::string name_in(CallSyntax syntax, std::string_view header) {
  header = trimmed(header);
  switch (syntax) {
    case CallSyntax::kMistral:
      header = before_first(before_first(header, "[ARGS]"), "[CALL_ID]");
      return std::string(header.starts_with('[') ? std::string_view() : trimmed(header));
    case CallSyntax::kDeepSeek: {
      header = after_last(header, kDeepSeekOpeners[1]);
      std::size_t separator = header.find(kDeepSeekSeparator);
      if (separator == header.npos) return "";
      std::string_view left = trimmed(header.substr(0, separator));
      std::string_view right = header.substr(separator + kDeepSeekSeparator.size());
      return std::string(left == "function" ? trimmed(before_first(right, "\n")) : left);
    }
    case CallSyntax::kKimi:
      header = before_first(after_last(header, kKimiOpeners[1]), "<|tool_call_argument_begin|>");
      header = trimmed(before_first(header, ":"));
      if (header.starts_with("functions.")) header.remove_prefix(10);
      return std::string(header);
    case CallSyntax::kFunctionary: return std::string(trimmed(before_first(header, ">")));
    case CallSyntax::kHermes:
    case CallSyntax::kLlama3:
    case CallSyntax::kHarmony:
    case CallSyntax::kNone: return "";
  }
  return "";
}

bool is_json(std::string_view text) {
  jinja::Heap heap;
  return jinja::parse_json(heap, text).ok();
}

void append_parameter(std::string& json, std::string_view key, std::string_view value) {
  if (json.size() > 1) json += ", ";
  append_json_string(json, key);
  json += ": ";
  std::string_view plain = trimmed(value);
  if (!plain.empty() && plain.front() != '"' && is_json(plain)) {
    json += plain;
  } else {
    append_json_string(json, value);
  }
}

struct XmlCall {
  std::string name;
  std::string arguments = "{";
};

// <function=NAME> <parameter=KEY> VALUE </parameter> ... </function>
XmlCall read_function(std::string_view text) {
  constexpr std::string_view kParameter = "<parameter=";
  XmlCall call;
  text = text.substr(text.find('=') + 1);
  call.name = trimmed(before_first(text, ">"));
  for (std::size_t at = text.find(kParameter); at != text.npos; at = text.find(kParameter)) {
    text = text.substr(at + kParameter.size());
    std::string_view key = trimmed(before_first(text, ">"));
    text = text.substr(std::min(text.size(), before_first(text, ">").size() + 1));
    std::string_view value = before_first(text, "</parameter>");
    append_parameter(call.arguments, key, without_outer_newlines(value));
    text = text.substr(value.size());
  }
  call.arguments += "}";
  return call;
}

// NAME <arg_key>KEY</arg_key> <arg_value>VALUE</arg_value> ...
XmlCall read_pairs(std::string_view text) {
  constexpr std::string_view kKey = "<arg_key>";
  constexpr std::string_view kValue = "<arg_value>";
  XmlCall call;
  call.name = trimmed(before_first(text, kKey));
  for (std::size_t at = text.find(kKey); at != text.npos; at = text.find(kKey)) {
    text = text.substr(at + kKey.size());
    std::string_view key = trimmed(before_first(text, "</arg_key>"));
    std::size_t value_at = text.find(kValue);
    if (value_at == text.npos) break;
    text = text.substr(value_at + kValue.size());
    std::string_view value = before_first(text, "</arg_value>");
    append_parameter(call.arguments, key, without_outer_newlines(value));
    text = text.substr(value.size());
  }
  call.arguments += "}";
  return call;
}

}  // namespace

ReplyParser::ReplyParser(Options options) {
  const ReplyFormat& format = options.format;
  if (format.calls == CallSyntax::kHarmony) {
    state_ = State::kChannelHeader;
  } else if (options.is_in_reasoning) {
    state_ = State::kReasoning;
    skips_space_ = true;
  } else if (!format.think_open.empty() || options.reads_calls) {
    state_ = State::kStart;
  }
  if (state_ != State::kPlain) options_ = std::make_unique<Options>(std::move(options));
}

void ReplyParser::push(std::string_view text) {
  pushed_ += static_cast<i64>(text.size());
  buffer_ += text;
  while (step()) {
  }
}

void ReplyParser::finish() {
  is_final_ = true;
  while (step()) {
  }
  // Cut between channels: markup.
  if (state_ == State::kChannelHeader) buffer_.clear();
  // Cut within a call: what its name announced stands; without a name it was text.
  if (!raw_.empty() || !buffer_.empty()) give_up_call();
}

std::vector<ReplyPart> ReplyParser::take() {
  return std::exchange(parts_, std::vector<ReplyPart>());
}

bool ReplyParser::step() {
  switch (state_) {
    case State::kPlain:
      add(Kind::kText, buffer_);
      buffer_.clear();
      return false;
    case State::kStart: return step_start();
    case State::kReasoning: return step_reasoning();
    case State::kText: return step_text();
    case State::kHeader: return step_header();
    case State::kCall: return step_call();
    case State::kXmlCall: return step_xml_call();
    case State::kAfterCall: return step_after_call();
    case State::kChannelHeader: return step_channel_header();
    case State::kChannelBody: return step_channel_body();
    case State::kDone: buffer_.clear(); return false;
  }
  return false;
}

std::string_view ReplyParser::rest_after_space() const {
  std::string_view rest = buffer_;
  while (!rest.empty() && is_space(rest.front())) rest.remove_prefix(1);
  return rest;
}

bool ReplyParser::step_start() {
  std::string_view rest = rest_after_space();
  const std::string& open = options_->format.think_open;
  bool may_grow = rest.empty() || (!open.empty() && may_become(rest, open));
  if (may_grow && !is_final_) return false;
  if (!open.empty() && rest.starts_with(open)) {
    buffer_.erase(0, buffer_.size() - rest.size() + open.size());
    state_ = State::kReasoning;
    skips_space_ = true;
    return true;
  }
  bool is_bare_call = options_->reads_calls && options_->format.calls == CallSyntax::kLlama3;
  if (is_bare_call && rest.starts_with('{')) {
    raw_ = buffer_.substr(0, buffer_.size() - rest.size());
    buffer_.erase(0, raw_.size());
    call_ = std::make_unique<CallObject>();
    is_bare_call_ = true;
    state_ = State::kCall;
    return true;
  }
  if (skips_space_) buffer_.erase(0, buffer_.size() - rest.size());
  skips_space_ = false;
  state_ = State::kText;
  return true;
}

bool ReplyParser::step_reasoning() {
  if (skips_space_) {
    buffer_.erase(0, buffer_.size() - rest_after_space().size());
    if (buffer_.empty()) return false;
    skips_space_ = false;
  }
  const std::string_view close[] = {options_->format.think_close};
  std::size_t at = buffer_.find(close[0]);
  if (at == buffer_.npos) {
    std::size_t end = is_final_ ? buffer_.size() : held_from(buffer_, close);
    if (!is_final_) end = space_from(std::string_view(buffer_).substr(0, end));
    add(Kind::kReasoning, std::string_view(buffer_).substr(0, end));
    buffer_.erase(0, end);
    return false;
  }
  add(Kind::kReasoning,
      std::string_view(buffer_).substr(0, space_from(std::string_view(buffer_).substr(0, at))));
  buffer_.erase(0, at + close[0].size());
  // A second think_open is text.
  options_->format.think_open.clear();
  skips_space_ = true;
  state_ = State::kStart;
  return true;
}

bool ReplyParser::step_text() {
  std::span<const std::string_view> openers = options_->reads_calls
                                                  ? marks_of(options_->format.calls).openers
                                                  : std::span<const std::string_view>();
  std::string_view text = buffer_;
  Found found = find_first(text, openers);
  if (found.at == text.npos) {
    std::size_t end = is_final_ ? text.size() : held_from(text, openers);
    // Space before a call is not text.
    if (!is_final_ && !openers.empty()) end = space_from(text.substr(0, end));
    add(Kind::kText, text.substr(0, end));
    buffer_.erase(0, end);
    return false;
  }
  add(Kind::kText, text.substr(0, space_from(text.substr(0, found.at))));
  raw_ = text.substr(found.at, found.size);
  buffer_.erase(0, found.at + found.size);
  state_ = State::kHeader;
  return true;
}

bool ReplyParser::step_header() {
  CallSyntax syntax = options_->format.calls;
  std::string_view rest = rest_after_space();
  if (syntax == CallSyntax::kHermes && !rest.empty() && !rest.starts_with('{')) {
    state_ = State::kXmlCall;
    return true;
  }
  std::size_t brace = buffer_.find('{');
  Found filler = find_first(buffer_, marks_of(syntax).fillers);
  // A filler before any JSON: a call of nothing. (DeepSeek's fence belongs to its header.)
  bool is_empty = filler.at < brace && filler.at != std::string::npos &&
                  syntax != CallSyntax::kDeepSeek && syntax != CallSyntax::kMistral;
  bool is_code = syntax == CallSyntax::kLlama3 && !rest.empty() && !rest.starts_with('{');
  if (is_empty || is_code || std::min(brace, buffer_.size()) > kHeaderBytesMax) {
    // Code for a built-in interpreter is text; its marker is not.
    if (is_code) raw_.clear();
    give_up_call();
    return true;
  }
  if (brace == buffer_.npos) return false;
  std::string header = buffer_.substr(0, brace);
  std::string name = name_in(syntax, header);
  buffer_.erase(0, brace);
  raw_ += header;
  state_ = State::kCall;
  if (name.empty()) {
    call_ = std::make_unique<CallObject>();
  } else {
    call_ = std::make_unique<CallObject>(name);
    begin_call(std::move(name));
  }
  return true;
}

bool ReplyParser::step_call() {
  if (buffer_.empty()) return false;
  std::size_t used = call_->push(buffer_);
  if (!is_call_begun_) raw_.append(buffer_, 0, used);
  buffer_.erase(0, used);
  if (is_call_named()) {
    if (!is_call_begun_) begin_call(call_->name());
    add(Kind::kCall, call_->take_arguments());
  }
  if (!call_->is_over()) return false;
  if (!is_call_begun_) {
    give_up_call();
  } else {
    end_call();
  }
  return true;
}

bool ReplyParser::is_call_named() const {
  if (!call_->has_name() || !is_bare_call_) return call_->has_name();
  const std::vector<std::string>& names = options_->tool_names;
  return std::find(names.begin(), names.end(), call_->name()) != names.end();
}

bool ReplyParser::step_xml_call() {
  constexpr std::string_view kClose = "</tool_call>";
  std::size_t at = buffer_.find(kClose);
  if (at == buffer_.npos) return false;
  std::string_view text = trimmed(std::string_view(buffer_).substr(0, at));
  XmlCall call = text.starts_with("<function=") ? read_function(text) : read_pairs(text);
  bool is_name = !call.name.empty() && call.name.find_first_of(" \n<>{}\"") == std::string::npos;
  if (!is_name) {
    give_up_call();
    return true;
  }
  buffer_.erase(0, at);
  begin_call(call.name);
  add(Kind::kCall, call.arguments);
  end_call();
  return true;
}

bool ReplyParser::step_after_call() {
  Marks marks = marks_of(options_->format.calls);
  buffer_.erase(0, buffer_.size() - rest_after_space().size());
  if (buffer_.empty()) return false;
  for (std::string_view filler : marks.fillers) {
    if (!buffer_.starts_with(filler)) continue;
    buffer_.erase(0, filler.size());
    return true;
  }
  bool may_grow = may_become_any(buffer_, marks.fillers) || may_become_any(buffer_, marks.openers);
  if (may_grow && !is_final_) return false;
  bool lists_objects = options_->format.calls == CallSyntax::kMistral ||
                       options_->format.calls == CallSyntax::kLlama3;
  if (lists_objects && buffer_.starts_with('{')) {
    call_ = std::make_unique<CallObject>();
    state_ = State::kCall;
    return true;
  }
  state_ = State::kText;
  return true;
}

void ReplyParser::begin_call(std::string name) {
  raw_.clear();
  is_call_begun_ = true;
  ++calls_;
  parts_.push_back({.kind = Kind::kCall, .is_new_call = true, .name = std::move(name)});
}

void ReplyParser::end_call() {
  call_.reset();
  is_call_begun_ = false;
  is_bare_call_ = false;
  bool is_last = options_->calls_max > 0 && calls_ >= options_->calls_max;
  state_ = is_last ? State::kDone : State::kAfterCall;
}

void ReplyParser::give_up_call() {
  bool is_text = !is_call_begun_;
  std::string text = std::exchange(raw_, std::string());
  if (is_final_) text += std::exchange(buffer_, std::string());
  if (is_text) add(Kind::kText, text);
  call_.reset();
  is_call_begun_ = false;
  is_bare_call_ = false;
  state_ = State::kText;
}

void ReplyParser::add(ReplyPart::Kind kind, std::string_view text) {
  if (text.empty()) return;
  bool joins = !parts_.empty() && parts_.back().kind == kind;
  if (joins) {
    parts_.back().text += text;
  } else {
    parts_.push_back({.kind = kind, .text = std::string(text)});
  }
}

// ---- channels -----------------------------------------------------------------------------------

bool ReplyParser::step_channel_header() {
  // A reply that does not begin with a marker is plain text.
  bool is_at_start = pushed_ == static_cast<i64>(buffer_.size());
  if (is_at_start && !buffer_.empty() && buffer_.front() != '<') {
    state_ = State::kPlain;
    return true;
  }
  std::size_t at = buffer_.find(kMessage);
  if (std::min(at, buffer_.size()) > kHeaderBytesMax) {
    give_up_call();
    return true;
  }
  if (at == buffer_.npos) return false;
  std::string header = buffer_.substr(0, at);
  buffer_.erase(0, at + kMessage.size());
  open_channel(header);
  state_ = State::kChannelBody;
  return true;
}

void ReplyParser::open_channel(std::string_view header) {
  constexpr std::string_view kRecipient = "to=functions.";
  std::size_t at = header.find(kRecipient);
  if (at != header.npos && options_->reads_calls) {
    std::string_view name = header.substr(at + kRecipient.size());
    name = name.substr(0, name.find_first_of(" <"));
    channel_ = Kind::kCall;
    begin_call(std::string(name));
    return;
  }
  bool is_analysis = header.find("analysis") != header.npos;
  channel_ = is_analysis ? Kind::kReasoning : Kind::kText;
}

bool ReplyParser::step_channel_body() {
  std::string_view text = buffer_;
  Found found = find_first(text, kChannelEnds);
  std::size_t end = found.at;
  if (found.at == text.npos) end = is_final_ ? text.size() : held_from(text, kChannelEnds);
  add(channel_, text.substr(0, end));
  buffer_.erase(0, end);
  if (found.at == text.npos) return false;
  buffer_.erase(0, found.size);
  state_ = State::kChannelHeader;
  if (channel_ == Kind::kCall) {
    end_call();
    if (state_ == State::kAfterCall) state_ = State::kChannelHeader;
  }
  return true;
}

}  // namespace tg
