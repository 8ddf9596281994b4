// From a model's raw reply to what it means: text, reasoning, calls of tools. Text comes in pieces
// of any size, parts go out as soon as they are certain; what may be the beginning of a marker is
// held back. The same reply gives the same parts, however it is cut.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/call_object.h"
#include "text/reply_format.h"

namespace tg {

struct ReplyPart {
  enum class Kind : u8 { kText, kReasoning, kCall };
  Kind kind = Kind::kText;
  bool is_new_call = false;  // kCall: a call begins; without it, its arguments go on.
  std::string name;          // Of a new call.
  std::string text;          // Text, reasoning, or a piece of the call's arguments (JSON).

  bool operator==(const ReplyPart&) const = default;
};

class ReplyParser {
 public:
  struct Options {
    ReplyFormat format;
    bool reads_calls = false;
    // What a reply without marker must name to be a call (kLlama3).
    std::vector<std::string> tool_names;
    bool is_in_reasoning = false;  // The prompt ended with the format's think_open.
    i64 calls_max = 0;             // 0: no limit. Nothing is read after the last call.
  };

  // Everything is text.
  ReplyParser() = default;
  explicit ReplyParser(Options options);

  void push(std::string_view text);
  // No text will follow; what was held back becomes a part.
  void finish();
  // Parts since the last take, neighbours of one kind joined.
  std::vector<ReplyPart> take();

  // Bytes pushed that are not held back: their parts were made, or they are markup.
  i64 decided() const { return pushed_ - static_cast<i64>(buffer_.size() + raw_.size()); }
  // Calls whose name is known.
  i64 calls() const { return calls_; }
  // What comes now is reasoning.
  bool is_reasoning() const {
    return state_ == State::kReasoning ||
           (state_ == State::kChannelBody && channel_ == ReplyPart::Kind::kReasoning);
  }
  // calls_max calls are complete.
  bool is_done() const { return state_ == State::kDone; }

 private:
  enum class State : u8 {
    kPlain,  // Nothing is looked for.
    kStart,  // Before the first character that is no space.
    kReasoning,
    kText,
    kHeader,   // After a marker that begins a call.
    kCall,     // In the JSON of a call.
    kXmlCall,  // In a call with XML-like parameters, read at its end.
    kAfterCall,
    kChannelHeader,  // Harmony: up to <|message|>.
    kChannelBody,
    kDone,
  };

  // One step of the state machine; false if more text is needed.
  bool step();
  bool step_start();
  bool step_reasoning();
  bool step_text();
  bool step_header();
  bool step_call();
  bool step_xml_call();
  bool step_after_call();
  bool step_channel_header();
  bool step_channel_body();

  void begin_call(std::string name);
  void end_call();
  void add(ReplyPart::Kind kind, std::string_view text);
  // What looked like a call is text after all.
  void give_up_call();
  bool is_call_named() const;
  void open_channel(std::string_view header);
  std::string_view rest_after_space() const;

  std::unique_ptr<Options> options_;  // Null in kPlain, which never ends.
  State state_ = State::kPlain;
  bool is_final_ = false;
  std::string buffer_;  // Not looked at yet.
  std::string raw_;     // Of a call without name so far; becomes text if it never gets one.
  std::unique_ptr<CallObject> call_;
  bool is_call_begun_ = false;
  bool is_bare_call_ = false;  // Nothing but its name says that it is a call.
  bool skips_space_ = false;
  ReplyPart::Kind channel_ = ReplyPart::Kind::kText;
  std::vector<ReplyPart> parts_;
  i64 pushed_ = 0;
  i64 calls_ = 0;
};

}  // namespace tg
