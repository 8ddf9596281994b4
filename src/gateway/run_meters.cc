#include "gateway/run_meters.h"

#include "base/json_out.h"

namespace tg::gateway {

constexpr std::size_t kMetersMax = 100'000;

void RunMeters::count(const HoldOpen& what, const Settled& settled) {
  Whose whose(what.account, what.key, what.project);
  if (meters_.size() >= kMetersMax && meters_.count(whose) == 0) meters_.erase(meters_.begin());
  Meter& meter = meters_[whose];
  ++meter.requests;
  meter.prompt_tokens += what.prompt_tokens;
  meter.output_tokens += settled.output_tokens;
  meter.nominal_nst += settled.nominal_nst;
  meter.charged += settled.charged;
}

void RunMeters::Report::add_open(const HoldOpen& what, i64 output_tokens, i64 posted) {
  Meter& meter = all_[Whose(what.account, what.key, what.project)];
  ++meter.open;
  meter.prompt_tokens += what.prompt_tokens;
  meter.output_tokens += output_tokens;
  meter.charged += posted;
}

RunMeters::Report RunMeters::report(AccountRef account) const {
  Report out;
  for (auto meter = meters_.lower_bound(Whose(account, "", ""));
       meter != meters_.end() && std::get<0>(meter->first) == account; ++meter)
    out.all_.insert(*meter);
  return out;
}

std::string RunMeters::Report::text(bool in_money) const {
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("unit").string(in_money ? "ucredit" : "nano_st");
  json.key("meters").begin_array();
  for (const auto& [whose, meter] : all_) {
    json.begin_object().key("key").string(std::get<1>(whose));
    json.key("project").string(std::get<2>(whose)).key("open").number(meter.open);
    json.key("requests").number_u64(meter.requests);
    json.key("prompt_tokens").number(meter.prompt_tokens);
    json.key("output_tokens").number(meter.output_tokens);
    json.key("nominal_nst").number(meter.nominal_nst).key("charged").number(meter.charged);
    json.end_object();
  }
  json.end_array().end_object();
  return out;
}

}  // namespace tg::gateway
