#include "fleet/capability.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <sstream>

#include "base/bytes.h"

namespace tg::fleet {
namespace {

constexpr f64 kNsPerSecond = 1e9;
constexpr f64 kNanoPerSt = 1e9;
constexpr std::size_t kTerms = 5;
using Terms = std::array<f64, kTerms>;

// What a time consists of, in the order of StepEstimate's fields.
struct Equation {
  Terms terms{};
  f64 ns = 0;
};

std::vector<Equation> equations_of(const std::vector<CellResult>& cells) {
  std::vector<Equation> equations;
  for (const CellResult& r : cells) {
    f64 prompt = static_cast<f64>(r.cell.prompt);
    f64 batch = static_cast<f64>(r.cell.batch);
    if (r.tpot_ns_p50 > 0) {
      f64 keys = batch * (prompt + static_cast<f64>(r.cell.output) / 2);
      equations.push_back({{1, batch, batch, keys, 0}, static_cast<f64>(r.tpot_ns_p50)});
    }
    // A prompt alone: steps of at most 512 tokens, as engines cut them.
    if (r.cell.batch == 1 && r.ttft_ns_p50 > 0) {
      f64 steps = std::ceil(prompt / 512);
      equations.push_back(
          {{steps, prompt, 1, prompt, prompt * prompt / 2}, static_cast<f64>(r.ttft_ns_p50)});
    }
  }
  return equations;
}

bool meets(const CellResult& r, const Tier& tier) {
  return r.requests > 0 && r.failures == 0 && r.ttft_ns_p90 <= tier.ttft_ns_max &&
         r.tpot_ns_p90 <= tier.tpot_ns_max;
}

void conclude_energy(Capability& c, f64 watts, const std::string& meter) {
  f64 joules = 0, st = 0, busy_st = 0, busy_ns = 0;
  for (const CellResult& r : c.cells) {
    f64 cell_st = static_cast<f64>(r.nominal_nst) / kNanoPerSt;
    busy_st += cell_st;
    busy_ns += static_cast<f64>(r.wall_ns);
    if (r.joules < 0) continue;
    joules += r.joules;
    st += cell_st;
  }
  c.energy_source = "none";
  c.joules_per_st = -1;
  if (st > 0) {
    c.joules_per_st = joules / st;
    c.energy_source = meter;
  } else if (watts > 0 && busy_st > 0) {
    c.joules_per_st = watts * busy_ns / kNsPerSecond / busy_st;
    c.energy_source = "modelled";
  }
}

std::string cell_text(const Cell& cell) {
  return fmt::format("prompt {} batch {} output {}", cell.prompt, cell.batch, cell.output);
}

// Names are one word on their line's end; what breaks lines is replaced.
std::string word(const std::string& text) {
  std::string out = text.substr(0, 200);
  for (char& c : out) {
    if (static_cast<u8>(c) <= ' ' || c == 0x7f) c = '_';
  }
  return out.empty() ? "-" : out;
}

// The words of a line, one after another; the first failure stands.
class Words {
 public:
  explicit Words(const std::string& line) : in_(line) {}
  void expect(std::string_view name) {
    std::string read;
    in_ >> read;
    is_good_ = is_good_ && read == name;
  }
  template <typename T>
  void take(T& value) {
    in_ >> value;
    is_good_ = is_good_ && !in_.fail();
    if constexpr (std::is_floating_point_v<T>) is_good_ = is_good_ && std::isfinite(value);
  }
  template <typename T>
  void field(std::string_view name, T& value) {
    expect(name);
    take(value);
  }
  void cell(Cell& cell) {
    field("prompt", cell.prompt);
    field("batch", cell.batch);
    field("output", cell.output);
    is_good_ = is_good_ && cell.prompt > 0 && cell.batch > 0 && cell.output > 0;
  }
  bool done() {
    std::string rest;
    in_ >> rest;
    return is_good_ && rest.empty();
  }

 private:
  std::istringstream in_;
  bool is_good_ = true;
};

bool parse_line(const std::string& line, Capability& c) {
  Words words(line);
  std::string name;
  words.take(name);
  if (name == "supplier") {
    words.take(c.supplier);
  } else if (name == "device") {
    words.take(c.device);
  } else if (name == "model") {
    words.take(c.model);
  } else if (name == "program") {
    std::string hex;
    words.take(hex);
    Result<std::vector<u8>> bytes = from_hex(hex);
    if (!bytes.ok() || bytes->size() != c.program.size()) return false;
    std::copy(bytes->begin(), bytes->end(), c.program.begin());
  } else if (name == "time") {
    words.field("unix_ns", c.time.ns);
    words.field("seconds", c.seconds);
    words.field("seed", c.seed);
  } else if (name == "suite") {
    std::string suite;
    words.take(suite);
    words.field("planned", c.cells_planned);
    if (suite != kSuiteName) return false;
  } else if (name == "tier") {
    TierRate rate;
    words.take(rate.tier);
    words.field("st_per_second", rate.st_per_second);
    if (rate.st_per_second > 0) words.cell(rate.cell);
    c.tiers.push_back(rate);
  } else if (name == "step") {
    words.field("ns_per_step", c.step.ns_per_step);
    words.field("ns_per_token", c.step.ns_per_token);
    words.field("ns_per_row", c.step.ns_per_row);
    words.field("ns_per_key", c.step.ns_per_key);
    words.field("ns_per_pair", c.step.ns_per_pair);
    words.field("error", c.step.error);
  } else if (name == "energy") {
    words.field("joules_per_st", c.joules_per_st);
    words.field("source", c.energy_source);
  } else if (name == "quality") {
    words.field("probes", c.quality.probes);
    words.field("repeatable", c.quality.repeatable);
    words.field("compared", c.quality.compared_tokens);
    words.field("agreed", c.quality.agreed_tokens);
  } else if (name == "cell") {
    CellResult r;
    words.cell(r.cell);
    words.field("requests", r.requests);
    words.field("failures", r.failures);
    words.field("wall_ns", r.wall_ns);
    words.field("ttft_ns_p50", r.ttft_ns_p50);
    words.field("ttft_ns_p90", r.ttft_ns_p90);
    words.field("tpot_ns_p50", r.tpot_ns_p50);
    words.field("tpot_ns_p90", r.tpot_ns_p90);
    words.field("output_tokens", r.output_tokens);
    words.field("nominal_nst", r.nominal_nst);
    words.field("joules", r.joules);
    if (static_cast<i64>(c.cells.size()) >= kCellsMax) return false;
    c.cells.push_back(r);
  } else {
    return false;
  }
  return words.done();
}

}  // namespace

f64 CellResult::st_per_second() const {
  if (wall_ns <= 0) return 0;
  return static_cast<f64>(nominal_nst) / kNanoPerSt / (static_cast<f64>(wall_ns) / kNsPerSecond);
}

std::vector<Cell> suite_cells(i64 context_max, i64 batch_max) {
  constexpr i64 kDecode = 32;
  std::vector<Cell> cells;
  auto add = [&](i64 prompt, i64 batch, i64 output) {
    Cell cell{prompt, batch, output};
    bool fits = prompt + output <= context_max && batch <= batch_max;
    bool is_new = std::find(cells.begin(), cells.end(), cell) == cells.end();
    if (fits && is_new) cells.push_back(cell);
  };
  // The corners, then the lines between them, then the rest.
  i64 far = std::max<i64>(16, context_max / 2);
  add(32, 1, kDecode);
  add(far, 1, 1);
  add(32, 16, kDecode);
  add(far, 4, kDecode);
  for (i64 batch : {2, 4, 8, 32, 64}) add(32, batch, kDecode);
  for (i64 prompt = 64; prompt + 1 <= context_max; prompt *= 2) add(prompt, 1, 1);
  for (i64 prompt = 128; prompt + kDecode <= context_max; prompt *= 4) {
    for (i64 batch : {1, 4, 16}) add(prompt, batch, kDecode);
  }
  return cells;
}

// Coordinate descent with each coefficient held at 0 or above: five unknowns, a few dozen
// equations. Rows are divided by the measured time, so that short steps count as much as long ones.
StepEstimate fit_step(const std::vector<CellResult>& cells) {
  constexpr int kRounds = 2'000;
  std::vector<Equation> equations = equations_of(cells);
  Terms x{};
  std::vector<f64> residual(equations.size(), 1.0);
  for (Equation& e : equations) {
    for (f64& term : e.terms) term /= e.ns;
  }
  for (int round = 0; round < kRounds; ++round) {
    for (std::size_t k = 0; k < kTerms; ++k) {
      f64 square = 0, product = 0;
      for (std::size_t i = 0; i < equations.size(); ++i) {
        square += equations[i].terms[k] * equations[i].terms[k];
        product += equations[i].terms[k] * residual[i];
      }
      if (square <= 0) continue;
      f64 next = std::max(0.0, x[k] + product / square);
      f64 change = next - x[k];
      for (std::size_t i = 0; i < equations.size(); ++i)
        residual[i] -= change * equations[i].terms[k];
      x[k] = next;
    }
  }
  f64 error = 0;
  for (f64 r : residual) error += std::abs(r);
  StepEstimate step{.ns_per_step = x[0],
                    .ns_per_token = x[1],
                    .ns_per_row = x[2],
                    .ns_per_key = x[3],
                    .ns_per_pair = x[4]};
  step.error = equations.empty() ? 1 : error / static_cast<f64>(equations.size());
  return step;
}

void conclude(Capability& c, f64 watts, const std::string& meter) {
  c.tiers.clear();
  for (const Tier& tier : kTiers) {
    TierRate best{.tier = std::string(tier.name)};
    for (const CellResult& r : c.cells) {
      if (!meets(r, tier) || r.st_per_second() <= best.st_per_second) continue;
      best.st_per_second = r.st_per_second();
      best.cell = r.cell;
    }
    c.tiers.push_back(best);
  }
  c.step = fit_step(c.cells);
  conclude_energy(c, watts, meter);
}

std::string to_text(const Capability& c) {
  std::string out = "tokengrid-capability/1\n";
  out += "supplier " + word(c.supplier) + "\ndevice " + word(c.device) + "\nmodel " +
         word(c.model) + "\nprogram " + to_hex(c.program) + "\n";
  out += fmt::format("time unix_ns {} seconds {} seed {}\n", c.time.ns, c.seconds, c.seed);
  out += fmt::format("suite {} planned {}\n", kSuiteName, c.cells_planned);
  for (const TierRate& t : c.tiers) {
    out += fmt::format("tier {} st_per_second {:.6g}", t.tier, t.st_per_second);
    out += t.st_per_second > 0 ? " " + cell_text(t.cell) + "\n" : "\n";
  }
  out += fmt::format(
      "step ns_per_step {:.6g} ns_per_token {:.6g} ns_per_row {:.6g} ns_per_key {:.6g} "
      "ns_per_pair {:.6g} error {:.4g}\n",
      c.step.ns_per_step, c.step.ns_per_token, c.step.ns_per_row, c.step.ns_per_key,
      c.step.ns_per_pair, c.step.error);
  out += fmt::format("energy joules_per_st {:.6g} source {}\n", c.joules_per_st,
                     word(c.energy_source));
  out += fmt::format("quality probes {} repeatable {} compared {} agreed {}\n", c.quality.probes,
                     c.quality.repeatable, c.quality.compared_tokens, c.quality.agreed_tokens);
  for (const CellResult& r : c.cells) {
    out += fmt::format(
        "cell {} requests {} failures {} wall_ns {} ttft_ns_p50 {} ttft_ns_p90 {} tpot_ns_p50 {} "
        "tpot_ns_p90 {} output_tokens {} nominal_nst {} joules {:.6g}\n",
        cell_text(r.cell), r.requests, r.failures, r.wall_ns, r.ttft_ns_p50, r.ttft_ns_p90,
        r.tpot_ns_p50, r.tpot_ns_p90, r.output_tokens, r.nominal_nst, r.joules);
  }
  return out;
}

std::string sign(const Capability& capability, const tlog::NoteSigner& signer) {
  std::string text = to_text(capability);
  return tlog::to_text(tlog::Note{.text = text, .signatures = {signer.sign(text)}});
}

Result<Capability> parse_capability(std::string_view text) {
  if (text.size() > kCapabilityBytesMax)
    return Error{Code::kLimit, "a capability record is longer than its limit"};
  std::istringstream in{std::string(text)};
  std::string line;
  std::getline(in, line);
  if (line != "tokengrid-capability/1")
    return Error{Code::kInvalid, "no capability record: it begins '" + line.substr(0, 60) + "'"};
  Capability capability;
  // An empty line ends the text; signatures follow.
  while (std::getline(in, line) && !line.empty()) {
    if (!parse_line(line, capability))
      return Error{Code::kInvalid, "a capability record's line '" + line.substr(0, 100) + "'"};
  }
  return capability;
}

}  // namespace tg::fleet
