#include "sim/fluid.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "base/assert.h"
#include "base/json_out.h"
#include "sim/standard_work.h"

namespace tg::sim {

namespace {

constexpr f64 kSecond = 1e9;
constexpr f64 kDaySeconds = 86'400;
constexpr f64 kJoulesPerKwh = 3.6e6;
constexpr int kRounds = 40;
constexpr f64 kFullShare = 0.999;

// The share of the grid's carbon that is left when the sun stands as it does at `hour` UTC.
f64 sunless(const FluidZone& zone, f64 hour) {
  f64 sun = std::cos((hour - 6) / 24 * 2 * std::numbers::pi);
  return 1 - zone.solar * std::max(0.0, sun);
}

}  // namespace

FluidLoad fluid_load(const DeviceModel& d, const FluidTraffic& traffic, f64 rate) {
  FluidLoad out;
  const fleet::StepEstimate& e = d.step;
  f64 context = traffic.prompt + traffic.output / 2;
  f64 per_ns = rate / kSecond;
  f64 fresh = traffic.prompt * (1 - traffic.cached);
  f64 fresh_pairs = traffic.prompt_square * (1 - traffic.cached * traffic.cached) / 2;
  f64 running = 0;
  f64 step_ns = 0;
  for (int round = 0; round < kRounds; ++round) {
    step_ns = e.ns_per_step +
              running * (e.ns_per_token + e.ns_per_row + context * (e.ns_per_key + e.ns_per_pair));
    f64 room = std::max(1.0, static_cast<f64>(d.step_tokens_max) - running);
    // A prompt's last chunk is not full: prompts that are short have a step each.
    f64 chunks = std::ceil(fresh / room);
    f64 prompt_ns =
        chunks * step_ns + fresh * (e.ns_per_token + e.ns_per_key) + fresh_pairs * e.ns_per_pair;
    // Prompts that wait together share steps: the more there are, the less each pays for them.
    f64 together = std::clamp(room / fresh, 1.0, 1 + per_ns * prompt_ns * room / fresh);
    f64 own_ns = prompt_ns - chunks * step_ns * (1 - 1 / together);
    out.prompt_share = per_ns * own_ns;
    f64 share = std::min(out.prompt_share, kFullShare);
    // Steps per ns: those with prompts and those without; each gives a token to all who decode.
    f64 steps = share / (own_ns / chunks * together) + (1 - share) / std::max(1.0, step_ns);
    out.tpot_ns = 1 / steps;
    f64 wanted = per_ns * traffic.output * out.tpot_ns;
    f64 most = std::min(static_cast<f64>(d.running_max),
                        static_cast<f64>(d.keys_total) / (traffic.prompt + traffic.output));
    out.is_full = wanted > most || out.prompt_share >= kFullShare;
    f64 next = std::min(wanted, most);
    running = 0.5 * running + 0.5 * next;
    f64 spread = traffic.prompt_square / (traffic.prompt * traffic.prompt);
    out.wait_ns = per_ns * own_ns * own_ns * spread / (2 * (1 - share));
    // A step under way has half of itself to go, if anybody is on the device.
    f64 occupied = 1 - std::exp(-running);
    out.ttft_ns = prompt_ns + out.wait_ns + occupied * step_ns / 2;
  }
  out.running = running;
  out.rate = rate;
  out.busy = 1 - std::exp(-(running + out.prompt_share));
  return out;
}

f64 fluid_capacity(const DeviceModel& device, const FluidTraffic& traffic) {
  f64 low = 0;
  f64 high = 1;
  while (!fluid_load(device, traffic, high).is_full && high < 1e9) high *= 2;
  for (int i = 0; i < 50; ++i) {
    f64 middle = (low + high) / 2;
    (fluid_load(device, traffic, middle).is_full ? high : low) = middle;
  }
  return low;
}

namespace {

struct CellState {
  f64 capacity = 0;  // requests per second and device
  f64 assigned = 0;  // ... of this tick
  f64 backlog = 0;   // requests per device
  FluidLoad load;
};

class Day {
 public:
  explicit Day(const FluidDay& day) : day_(day) {
    const FluidTraffic& t = day.traffic;
    st_per_request_ = StandardWork().st(static_cast<i64>(t.prompt), 0, static_cast<i64>(t.output));
    for (const FluidCell& cell : day.cells) {
      TG_ASSERT(cell.zone < day.zones.size());
      CellState s;
      s.capacity = fluid_capacity(cell.device, t);
      states_.push_back(s);
      pool_.add({});
    }
    cached_.assign(states_.size(), static_cast<u32>(t.prompt * t.cached));
  }

  FluidResult run() {
    out_.hours.resize(24);
    i64 ticks = static_cast<i64>(kDaySeconds / day_.tick_s);
    for (i64 i = 0; i < ticks; ++i) tick(static_cast<f64>(i) * day_.tick_s);
    for (FluidHour& h : out_.hours) {
      if (h.requests > 0) {
        h.ttft_ms /= h.requests;
        h.tpot_ms /= h.requests;
        h.moved /= h.requests;
      }
      h.busy /= kDaySeconds / 24 / day_.tick_s;
    }
    for (f64* mean : {&out_.ttft_ms, &out_.tpot_ms, &out_.moved}) {
      *mean /= std::max(1.0, out_.requests);
    }
    for (std::size_t c = 0; c < states_.size(); ++c) {
      out_.unserved += states_[c].backlog * day_.cells[c].devices;
    }
    out_.st = out_.requests * st_per_request_;
    out_.tokens = out_.requests * (day_.traffic.prompt + day_.traffic.output);
    return out_;
  }

 private:
  // Requests per second of a zone.
  f64 demand(const FluidZone& zone, f64 at_s) const {
    f64 shares = 0;
    for (const FluidZone& z : day_.zones) shares += z.share;
    f64 hour = at_s / 3600;
    f64 wave = 1 + day_.swing * std::cos((hour - zone.peak_hour) / 24 * 2 * std::numbers::pi);
    f64 mean = day_.tokens / kDaySeconds / (day_.traffic.prompt + day_.traffic.output);
    return mean * zone.share / shares * wave;
  }

  void show(std::size_t c, f64 at_s) {
    const FluidCell& cell = day_.cells[c];
    CellState& s = states_[c];
    f64 rate = s.assigned + s.backlog / day_.tick_s;
    s.load = fluid_load(cell.device, day_.traffic, std::min(rate, s.capacity));
    const FluidZone& zone = day_.zones[cell.zone];
    dispatch::SupplierView v;
    v.zone = cell.zone;
    v.step = cell.device.step;
    v.step_tokens_max = cell.device.step_tokens_max;
    v.running_max = cell.device.running_max;
    v.keys_total = cell.device.keys_total;
    v.price = cell.device.price;
    v.power = {.watts = cell.device.watts_busy * day_.pue,
               .grams_per_joule = zone.grams_per_kwh * sunless(zone, at_s / 3600) / kJoulesPerKwh,
               .price_per_joule = zone.credits_per_kwh * 1e9 / kJoulesPerKwh};
    v.running = static_cast<i64>(s.load.running);
    v.keys = static_cast<i64>(s.load.running * (day_.traffic.prompt + day_.traffic.output / 2));
    v.keys_promised = v.keys;
    v.output_left = static_cast<i64>(s.load.running * day_.traffic.output / 2);
    v.prompt_share = s.load.prompt_share;
    v.ttft_band = 1;
    v.tpot_band = 1;
    f64 over = std::max(0.0, rate - s.capacity) * day_.tick_s;
    v.prompts_done_ns =
        static_cast<i64>(at_s * kSecond + s.load.wait_ns + over / s.capacity * kSecond);
    pool_.update(static_cast<u32>(c), v);
  }

  // Round trips differ by where a portion comes from.
  void look_from(const FluidZone& from) {
    for (u32 c = 0; c < pool_.size(); ++c) {
      dispatch::SupplierView v = pool_.at(c);
      f64 distance = std::abs(day_.zones[v.zone].east - from.east);
      v.rtt_ns = static_cast<i64>(1e6 + distance * day_.ns_per_east);
      pool_.update(c, v);
    }
  }

  void tick(f64 at_s) {
    std::vector<FluidHour>::iterator hour = out_.hours.begin() + static_cast<i64>(at_s / 3600);
    for (CellState& s : states_) s.assigned = 0;
    for (std::size_t c = 0; c < states_.size(); ++c) show(c, at_s);
    struct Portion {
      std::size_t zone;
      std::size_t cell;
      f64 rate;
      f64 rtt_ns;
    };
    std::vector<Portion> portions;
    for (std::size_t z = 0; z < day_.zones.size(); ++z) {
      look_from(day_.zones[z]);
      f64 rate = demand(day_.zones[z], at_s) / static_cast<f64>(day_.portions);
      for (i64 p = 0; p < day_.portions; ++p) {
        std::size_t c = choose_cell(at_s);
        states_[c].assigned += rate / day_.cells[c].devices;
        f64 rtt = static_cast<f64>(pool_.at(static_cast<u32>(c)).rtt_ns);
        portions.push_back({z, c, rate, rtt});
        i64 rtt_kept = pool_.at(static_cast<u32>(c)).rtt_ns;
        show(c, at_s);
        dispatch::SupplierView v = pool_.at(static_cast<u32>(c));
        v.rtt_ns = rtt_kept;
        pool_.update(static_cast<u32>(c), v);
      }
    }
    for (const Portion& p : portions) {
      f64 requests = p.rate * day_.tick_s;
      const CellState& s = states_[p.cell];
      f64 queued_ns = s.backlog / s.capacity * kSecond;
      f64 ttft_ms = (s.load.ttft_ns + queued_ns + p.rtt_ns) / 1e6;
      f64 moved = day_.cells[p.cell].zone == p.zone ? 0 : requests;
      hour->requests += requests;
      hour->ttft_ms += requests * ttft_ms;
      hour->tpot_ms += requests * s.load.tpot_ns / 1e6;
      hour->moved += moved;
      out_.requests += requests;
      out_.ttft_ms += requests * ttft_ms;
      out_.tpot_ms += requests * s.load.tpot_ns / 1e6;
      out_.moved += moved;
      const dispatch::TokenPrices& price = day_.cells[p.cell].device.price;
      out_.price +=
          requests * (day_.traffic.prompt * price.input + day_.traffic.output * price.output);
    }
    settle(at_s, *hour);
  }

  std::size_t choose_cell(f64 at_s) {
    dispatch::RouteRequest request;
    request.prompt_tokens = static_cast<i64>(day_.traffic.prompt);
    request.output_tokens = static_cast<i64>(day_.traffic.output);
    request.wishes.carbon_weight = day_.carbon_weight;
    dispatch::RouteSettings settings = day_.settings;
    settings.hold_ns = 0;
    dispatch::Moment moment{.now_ns = static_cast<i64>(at_s * kSecond),
                            .sequence = static_cast<u64>(out_.decisions),
                            .random = static_cast<u64>(out_.decisions)};
    ++out_.decisions;
    dispatch::Choice c = dispatch::choose(request, pool_, {cached_, 0}, settings, moment);
    TG_ASSERT(c.supplier != dispatch::kNobody);
    return c.supplier;
  }

  // What a cell could not do stays; what it did took energy.
  void settle(f64 at_s, FluidHour& hour) {
    f64 devices = 0;
    f64 busy = 0;
    f64 backlog = 0;
    for (std::size_t c = 0; c < states_.size(); ++c) {
      CellState& s = states_[c];
      const FluidCell& cell = day_.cells[c];
      f64 came = s.backlog + s.assigned * day_.tick_s;
      s.backlog = std::max(0.0, came - s.capacity * day_.tick_s);
      f64 watts = s.load.busy * cell.device.watts_busy + (1 - s.load.busy) * cell.device.watts_idle;
      f64 joules = watts * day_.pue * cell.devices * day_.tick_s;
      const FluidZone& zone = day_.zones[cell.zone];
      f64 grams = joules * zone.grams_per_kwh * sunless(zone, at_s / 3600) / kJoulesPerKwh;
      hour.joules += joules;
      hour.grams += grams;
      out_.joules += joules;
      out_.grams += grams;
      devices += cell.devices;
      busy += cell.devices * s.load.busy;
      backlog += s.backlog * cell.devices;
    }
    hour.busy += busy / devices;
    out_.backlog_most = std::max(out_.backlog_most, backlog);
  }

  const FluidDay& day_;
  dispatch::PoolView pool_;
  std::vector<CellState> states_;
  std::vector<u32> cached_;
  FluidResult out_;
  f64 st_per_request_ = 0;
};

}  // namespace

FluidResult play_day(const FluidDay& day) {
  TG_ASSERT(!day.zones.empty() && !day.cells.empty());
  TG_ASSERT(day.tick_s > 0 && day.portions > 0);
  return Day(day).run();
}

// Ten zones of a country from east to west: big loads in the east, cheap and clean power in the
// west. The names say what differs, not where it is.
FluidDay national_day(f64 tokens, f64 devices) {
  FluidDay day;
  day.tokens = tokens;
  day.traffic = {.prompt = 1000, .prompt_square = 1.5e6, .output = 300, .cached = 0.6};
  constexpr std::array<f64, 10> kShares = {18, 16, 14, 12, 10, 9, 8, 6, 4, 3};
  constexpr std::array<f64, 10> kPlaces = {8, 9, 12, 12, 10, 10, 10, 10, 10, 9};
  f64 places = 0;
  for (f64 p : kPlaces) places += p;
  for (std::size_t z = 0; z < kShares.size(); ++z) {
    f64 west = static_cast<f64>(z) / 9;
    FluidZone zone;
    zone.name = "zone-" + std::to_string(z + 1);
    zone.share = kShares[z];
    zone.peak_hour = 7 + west;  // 15 o'clock local time of UTC+8 in the east
    zone.grams_per_kwh = 620 - 380 * west;
    zone.solar = 0.2 + 0.4 * west;
    zone.credits_per_kwh = 0.11 - 0.06 * west;
    zone.east = 1 - west;
    day.zones.push_back(zone);
    constexpr std::array<f64, 3> kSpeeds = {1, 1.0 / 3, 0.15};
    constexpr std::array<f64, 3> kParts = {0.8, 0.15, 0.05};
    for (std::size_t k = 0; k < kSpeeds.size(); ++k) {
      FluidCell cell;
      cell.device = reference_device(kSpeeds[k]);
      cell.name = zone.name + "/" + cell.device.name;
      cell.devices = devices * kPlaces[z] / places * kParts[k];
      cell.zone = static_cast<u16>(z);
      day.cells.push_back(cell);
    }
  }
  return day;
}

std::string to_json(const FluidResult& r) {
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("requests").real(r.requests).key("tokens").real(r.tokens);
  json.key("st").real(r.st).key("joules").real(r.joules).key("grams_co2").real(r.grams);
  json.key("joules_per_st").real(r.st > 0 ? r.joules / r.st : 0);
  json.key("price").real(r.price).key("ttft_mean_ms").real(r.ttft_ms);
  json.key("tpot_mean_ms").real(r.tpot_ms).key("moved").real(r.moved);
  json.key("unserved").real(r.unserved).key("backlog_most").real(r.backlog_most);
  json.key("decisions").number(r.decisions).key("hours").begin_array();
  for (const FluidHour& h : r.hours) {
    json.begin_object().key("requests").real(h.requests).key("ttft_mean_ms").real(h.ttft_ms);
    json.key("tpot_mean_ms").real(h.tpot_ms).key("joules").real(h.joules);
    json.key("grams_co2").real(h.grams).key("busy").real(h.busy).key("moved").real(h.moved);
    json.end_object();
  }
  json.end_array().end_object();
  return out;
}

}  // namespace tg::sim
