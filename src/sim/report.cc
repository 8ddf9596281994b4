#include "sim/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "base/checked.h"
#include "base/json_out.h"

namespace tg::sim {

namespace {

struct Column {
  const char* name;
  f64 Summary::*value;
  int digits;
};

constexpr std::array<Column, 15> kColumns{{
    {"ttft_p99_s", &Summary::ttft_p99, 3},
    {"ttft_p50_s", &Summary::ttft_p50, 3},
    {"ttft_mean_s", &Summary::ttft_mean, 3},
    {"ttft_p90_s", &Summary::ttft_p90, 3},
    {"tpot_mean_s", &Summary::tpot_mean, 4},
    {"tpot_p99_s", &Summary::tpot_p99, 4},
    {"request_p50_s", &Summary::request_p50, 2},
    {"request_p99_s", &Summary::request_p99, 2},
    {"goodput", &Summary::goodput, 3},
    {"late", &Summary::late, 4},
    {"hit", &Summary::hit, 3},
    {"price_per_st", &Summary::price_per_st, 2},
    {"joules_per_st", &Summary::joules_per_st, 4},
    {"utilisation", &Summary::utilisation, 3},
    {"coverage", &Summary::coverage, 3},
}};
// What the table shows, by index of kColumns.
constexpr std::array<std::size_t, 8> kShown = {0, 1, 4, 8, 10, 11, 12, 14};

std::vector<f64> values_of(const Cell& cell, f64 Summary::*value) {
  std::vector<f64> out;
  for (const Summary& s : cell.runs) out.push_back(s.*value);
  return out;
}

// Two-sided 95 % quantiles of Student's t by degrees of freedom.
f64 student(std::size_t freedom) {
  constexpr std::array<f64, 10> kTable = {12.706, 4.303, 3.182, 2.776, 2.571,
                                          2.447,  2.365, 2.306, 2.262, 2.228};
  if (freedom == 0) return 0;
  return freedom <= kTable.size() ? kTable[freedom - 1] : 1.96 + 2.5 / static_cast<f64>(freedom);
}

// As text, for 64 bits and a float's digits are too few for what is to balance.
void write_money(const MoneyResult& m, JsonWriter& json) {
  json.key("money").begin_object().key("tenants").number(m.tenants);
  json.key("requests").number(m.requests).key("refused").number(m.refused);
  json.key("cut").number(m.cut).key("slices").number(m.slices);
  json.key("transfers").number_u64(m.transfers);
  auto amount = [&](const char* name, u128 nst) { json.key(name).string(to_string(nst)); };
  amount("held_nst", m.held);
  amount("charged_nst", m.charged);
  amount("released_nst", m.released);
  amount("paid_to_suppliers_nst", m.paid);
  amount("fees_nst", m.fees);
  amount("unpaid_nst", m.unpaid);
  amount("left_nst", m.left);
  json.end_object();
}

// Nothing where all are standard.
void write_classes(const Summary& s, JsonWriter& json) {
  constexpr std::array<const char*, kClasses> kNames = {"interactive", "standard", "batch"};
  if (s.classes[0].requests == 0 && s.classes[2].requests == 0) return;
  json.key("classes").begin_object();
  for (std::size_t c = 0; c < kClasses; ++c) {
    const ClassResult& r = s.classes[c];
    json.key(kNames[c]).begin_object().key("requests").number(r.requests);
    json.key("ttft_p50_s").real(r.ttft_p50).key("ttft_p99_s").real(r.ttft_p99).end_object();
  }
  json.end_object();
}

void write_summary(const Summary& s, JsonWriter& json) {
  json.key("requests").number(s.requests).key("done").number(s.done);
  json.key("refused").number(s.refused).key("retried").number(s.retried);
  json.key("interrupted").number(s.interrupted).key("unfunded").number(s.unfunded);
  json.key("cut").number(s.cut).key("seconds").real(s.seconds);
  for (const Column& c : kColumns) json.key(c.name).real(s.*c.value);
  json.key("price").real(s.price).key("st").real(s.st).key("joules").real(s.joules);
  json.key("joules_idle").real(s.joules_idle).key("joules_requests").real(s.joules_requests);
  json.key("grams_co2").real(s.grams);
  json.key("decisions").number_u64(s.decisions).key("decision_us").real(s.decision_us);
  write_classes(s, json);
  if (s.money.is_on) write_money(s.money, json);
  if (s.replicas_most > 0) {
    json.key("replicas_most").number(s.replicas_most).key("ready_s").real(s.ready_s);
    json.key("replica_hours").real(s.replica_hours);
  }
}

std::string escape_xml(const std::string& text) {
  std::string out;
  for (char c : text) {
    if (c == '<')
      out += "&lt;";
    else if (c == '&')
      out += "&amp;";
    else
      out += c;
  }
  return out;
}

}  // namespace

Estimate estimate(std::span<const f64> values) {
  Estimate e;
  if (values.empty()) return e;
  f64 n = static_cast<f64>(values.size());
  for (f64 v : values) e.mean += v / n;
  if (values.size() == 1) return e;
  f64 squares = 0;
  for (f64 v : values) squares += (v - e.mean) * (v - e.mean);
  e.half = student(values.size() - 1) * std::sqrt(squares / (n - 1) / n);
  return e;
}

std::string to_json(const Summary& summary) {
  std::string out;
  JsonWriter json(out);
  json.begin_object();
  write_summary(summary, json);
  json.end_object();
  return out;
}

std::string to_json(std::span<const SupplierResult> suppliers) {
  std::string out;
  JsonWriter json(out);
  json.begin_array();
  for (const SupplierResult& s : suppliers) {
    json.begin_object().key("name").string(s.name).key("requests").number(s.requests);
    json.key("utilisation").real(s.utilisation).key("joules").real(s.joules);
    json.key("prompt_tokens").number(s.prompt_tokens);
    json.key("cached_tokens").number(s.cached_tokens);
    json.key("output_tokens").number(s.output_tokens);
    json.key("preemptions").number(s.preemptions);
    json.key("steps").number(s.steps).end_object();
  }
  json.end_array();
  return out;
}

std::string to_json(std::span<const Cell> cells) {
  std::string out;
  JsonWriter json(out);
  json.begin_array();
  for (const Cell& cell : cells) {
    json.begin_object().key("policy").string(dispatch::policy_name(cell.policy));
    json.key("load").real(cell.load).key("seeds").number(static_cast<i64>(cell.runs.size()));
    for (const Column& c : kColumns) {
      Estimate e = estimate(values_of(cell, c.value));
      json.key(c.name).begin_object().key("mean").real(e.mean);
      json.key("half").real(e.half).end_object();
    }
    json.key("runs").begin_array();
    for (const Summary& s : cell.runs) json.raw(to_json(s));
    json.end_array().end_object();
  }
  json.end_array();
  return out;
}

std::string to_table(std::span<const Cell> cells) {
  std::string out = fmt::format("{:<20} {:>6}", "policy", "load");
  for (std::size_t i : kShown) out += fmt::format(" {:>18}", kColumns[i].name);
  out += "\n";
  for (const Cell& cell : cells) {
    out += fmt::format("{:<20} {:>6.2f}", dispatch::policy_name(cell.policy), cell.load);
    for (std::size_t i : kShown) {
      Estimate e = estimate(values_of(cell, kColumns[i].value));
      std::string text = fmt::format("{:.{}f}", e.mean, kColumns[i].digits);
      if (e.half > 0) text += fmt::format(" ±{:.{}f}", e.half, kColumns[i].digits);
      // Counted in characters: the sign has two bytes.
      out += fmt::format(" {:>{}}", text, e.half > 0 ? 19 : 18);
    }
    out += "\n";
  }
  return out;
}

std::string money_text(std::span<const Cell> cells) {
  std::string out;
  for (const Cell& cell : cells) {
    MoneyResult m;
    for (const Summary& s : cell.runs) {
      if (s.money.is_on) m.add(s.money);
    }
    if (!m.is_on) continue;
    out += fmt::format(
        "{} x{:.2f}: {} requests, {} refused and {} cut for lack of funds; {} transfers held {} "
        "nano-ST, {} charged and {} released; of the charges {} to suppliers and {} fees; {} "
        "delivered unpaid\n",
        dispatch::policy_name(cell.policy), cell.load, m.requests, m.refused, m.cut, m.transfers,
        to_string(m.held), to_string(m.charged), to_string(m.released), to_string(m.paid),
        to_string(m.fees), to_string(m.unpaid));
  }
  return out;
}

std::string to_csv(const Cell& cell, u64 seed, std::span<const RequestResult> requests) {
  std::string out;
  auto seconds = [](i64 ns) { return static_cast<f64>(ns) * 1e-9; };
  for (const RequestResult& r : requests) {
    out += fmt::format("{},{},{},{:.6f},{:.6f},{:.6f},{:.6f},{:.6f},{},{},{},{},{}\n",
                       dispatch::policy_name(cell.policy), cell.load, seed, seconds(r.arrived_ns),
                       seconds(r.sent_ns), r.forecast_ns * 1e-9, seconds(r.first_ns),
                       seconds(r.done_ns), r.supplier, r.open, r.attempts, r.prompt_tokens,
                       r.output_tokens);
  }
  return out;
}

std::string to_svg(std::span<const Cell> cells, const std::string& title) {
  constexpr f64 kWidth = 720, kHeight = 420, kLeft = 60, kRight = 170, kTop = 30, kBottom = 40;
  std::map<dispatch::Policy, std::vector<std::pair<f64, f64>>> lines;
  f64 x_least = 1e300, x_most = 0, y_least = 1e300, y_most = 1e-3;
  for (const Cell& cell : cells) {
    f64 y = std::max(1e-3, estimate(values_of(cell, &Summary::ttft_p99)).mean);
    lines[cell.policy].emplace_back(cell.load, y);
    x_least = std::min(x_least, cell.load);
    x_most = std::max(x_most, cell.load);
    y_least = std::min(y_least, y);
    y_most = std::max(y_most, y);
  }
  if (lines.empty()) return {};
  f64 x_span = std::max(1e-9, x_most - x_least);
  f64 y_span = std::max(1e-9, std::log(y_most / y_least));
  auto x_of = [&](f64 x) { return kLeft + (x - x_least) / x_span * (kWidth - kLeft - kRight); };
  auto y_of = [&](f64 y) {
    return kHeight - kBottom - std::log(y / y_least) / y_span * (kHeight - kTop - kBottom);
  };
  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" "
      "font-family=\"sans-serif\" "
      "font-size=\"11\"><rect width=\"100%\" height=\"100%\" fill=\"white\"/>"
      "<text x=\"{}\" y=\"18\" font-size=\"13\">{}</text>\n",
      kWidth, kHeight, kLeft, escape_xml(title));
  for (f64 tick = std::pow(10, std::floor(std::log10(y_least))); tick <= y_most; tick *= 10) {
    for (f64 m : {1.0, 2.0, 5.0}) {
      f64 y = tick * m;
      if (y < y_least || y > y_most) continue;
      out += fmt::format(
          "<line x1=\"{0}\" x2=\"{1}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\" stroke=\"#ddd\"/>"
          "<text x=\"{3}\" y=\"{4:.1f}\" text-anchor=\"end\">{5} s</text>\n",
          kLeft, kWidth - kRight, y_of(y), kLeft - 6, y_of(y) + 4, y);
    }
  }
  std::vector<f64> loads;
  for (const Cell& cell : cells) loads.push_back(cell.load);
  std::sort(loads.begin(), loads.end());
  loads.erase(std::unique(loads.begin(), loads.end()), loads.end());
  for (f64 load : loads) {
    out += fmt::format("<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{:.2f}</text>\n",
                       x_of(load), kHeight - kBottom + 16, load);
  }
  int index = 0;
  for (auto& [policy, points] : lines) {
    std::sort(points.begin(), points.end());
    bool is_ours = policy == dispatch::Policy::kPredicted;
    std::string color = is_ours ? "#c00" : fmt::format("hsl({},45%,50%)", (index * 47) % 360);
    out += fmt::format("<polyline fill=\"none\" stroke=\"{}\" stroke-width=\"{}\" points=\"", color,
                       is_ours ? 3 : 1.2);
    for (const auto& [x, y] : points) out += fmt::format("{:.1f},{:.1f} ", x_of(x), y_of(y));
    out += "\"/>\n";
    out += fmt::format("<text x=\"{}\" y=\"{}\" fill=\"{}\">{}</text>\n", kWidth - kRight + 10,
                       kTop + 12 + index * 16, color, dispatch::policy_name(policy));
    ++index;
  }
  return out + "</svg>\n";
}

}  // namespace tg::sim
