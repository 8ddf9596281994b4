#include "grammar/stacks.h"

#include <algorithm>
#include <bit>

namespace tg::grammar {
namespace {

constexpr i32 kUnknown = -2;
constexpr i32 kBottom = 0;  // The empty set of frames.

u64 hash_of(std::span<const Place> places) {
  u64 hash = 0x9E3779B97F4A7C15u;
  for (const Place& p : places) {
    hash ^= u64{static_cast<u32>(p.state)} << 32 | static_cast<u32>(p.frame);
    hash *= 0xD6E8FEB86659FD93u;
    hash ^= hash >> 32;
  }
  return hash;
}

void sort_unique(std::vector<Place>& places) {
  std::sort(places.begin(), places.end());
  places.erase(std::unique(places.begin(), places.end()), places.end());
}

void set_bit(std::span<u64> words, TokenId id) {
  words[id / 64] |= u64{1} << (id % 64);
}

}  // namespace

i32 PlaceSets::name(std::span<const Place> places) {
  u64 hash = hash_of(places);
  u64 mask = slots_.size() - 1;
  u64 slot = hash & mask;
  for (; slots_[slot] >= 0; slot = (slot + 1) & mask) {
    i32 set = slots_[slot];
    if (hashes_[set] == hash && std::ranges::equal(of(set), places)) return set;
  }
  i32 set = static_cast<i32>(size());
  slots_[slot] = set;
  hashes_.push_back(hash);
  // `places` may be part of places_, which moves when it grows.
  std::vector<Place> copy(places.begin(), places.end());
  places_.insert(places_.end(), copy.begin(), copy.end());
  begins_.push_back(places_.size());
  if (hashes_.size() * 2 > slots_.size()) grow();
  return set;
}

void PlaceSets::grow() {
  slots_.assign(slots_.size() * 2, -1);
  u64 mask = slots_.size() - 1;
  for (std::size_t set = 0; set < hashes_.size(); ++set) {
    u64 slot = hashes_[set] & mask;
    while (slots_[slot] >= 0) slot = (slot + 1) & mask;
    slots_[slot] = static_cast<i32>(set);
  }
}

StackPool::StackPool(const Machine& machine, const TokenTable& tokens)
    : machine_(machine),
      tokens_(tokens),
      classes_(static_cast<i64>(machine.class_bytes.size())),
      returns_(machine.rule_start.size()),
      path_(static_cast<std::size_t>(std::max(tokens.plain().depth_max, tokens.rest().depth_max)) +
            1) {
  TG_ASSERT(frames_.name({}) == kBottom);
  depths_.push_back(0);
  returns_[machine.root].push_back({machine.end_state, kBottom});
  called_.push_back(machine.root);
  if (machine.is_root_nullable) places_.push_back({machine.end_state, kBottom});
  enter_rules();
  start_ = name_config();
}

i32 StackPool::step(i32 config, u8 byte) {
  std::size_t cell = static_cast<std::size_t>(config * classes_ + machine_.class_of[byte]);
  i32 next = rows_[cell];
  if (next != kUnknown) return next;
  next = compute_step(config, byte);
  rows_[cell] = next;
  return next;
}

i32 StackPool::run(i32 config, std::string_view bytes) {
  for (char c : bytes) {
    if (config == kDead) return kDead;
    config = step(config, static_cast<u8>(c));
  }
  return config;
}

i32 StackPool::compute_step(i32 config, u8 byte) {
  places_.clear();
  for (const Place& p : configs_.of(config)) {
    i32 next = machine_.next(p.state, byte);
    if (next >= 0) places_.push_back({next, p.frame});
  }
  if (places_.empty()) return kDead;
  return close();
}

// Completes places_ with what needs no byte: returns, then calls.
i32 StackPool::close() {
  follow_returns();
  if (static_cast<i64>(places_.size()) > kClosureMax) return kDead;
  std::size_t count = places_.size();
  for (std::size_t i = 0; i < count; ++i) add_calls(places_[i]);
  enter_rules();
  return name_config();
}

// A final state returns to every place its frame names; those may return in turn.
void StackPool::follow_returns() {
  sort_unique(places_);
  std::vector<Place> seen = places_;
  for (std::size_t i = 0; i < places_.size(); ++i) {
    Place at = places_[i];
    if (!machine_.states[at.state].is_final || at.state == machine_.end_state) continue;
    if (static_cast<i64>(places_.size()) > kClosureMax) return;
    for (const Place& back : frames_.of(at.frame)) {
      std::vector<Place>::iterator spot = std::lower_bound(seen.begin(), seen.end(), back);
      if (spot != seen.end() && *spot == back) continue;
      seen.insert(spot, back);
      places_.push_back(back);
    }
  }
}

// What place calls is collected by rule, so that a rule is entered once, with all its returns.
void StackPool::add_calls(Place place) {
  for (const Call& call : machine_.calls_of(place.state)) {
    std::vector<Place>& returns = returns_[call.rule];
    if (returns.empty()) {
      called_.push_back(call.rule);
      std::push_heap(called_.begin(), called_.end(), [&](i32 a, i32 b) {
        return machine_.rule_position[a] > machine_.rule_position[b];
      });
    }
    if (!machine_.is_done(call.target)) {
      returns.push_back({call.target, place.frame});
      continue;
    }
    // Returning there would return from there at once: the caller's own returns do.
    std::span<const Place> own = frames_.of(place.frame);
    returns.insert(returns.end(), own.begin(), own.end());
  }
}

// In an order in which callers come first, every rule's returns are complete when it is entered.
void StackPool::enter_rules() {
  while (!called_.empty()) {
    std::pop_heap(called_.begin(), called_.end(), [&](i32 a, i32 b) {
      return machine_.rule_position[a] > machine_.rule_position[b];
    });
    i32 rule = called_.back();
    called_.pop_back();
    i32 frame = name_frame(returns_[rule]);
    returns_[rule].clear();
    if (frame == kDead) continue;
    Place place = {machine_.rule_start[rule], frame};
    places_.push_back(place);
    add_calls(place);
  }
}

i32 StackPool::name_frame(std::vector<Place>& returns) {
  sort_unique(returns);
  i32 depth = 0;
  for (const Place& p : returns) depth = std::max(depth, depths_[p.frame] + 1);
  if (depth > kStackDepthMax) return kDead;
  i32 frame = frames_.name(returns);
  if (frame == static_cast<i32>(depths_.size())) depths_.push_back(depth);
  return frame;
}

// Only places where a byte can be read, and the end, matter from here on. Places of one state are
// one place whose frame returns where any of theirs does.
i32 StackPool::name_config() {
  std::erase_if(places_, [&](const Place& p) {
    const Machine::State& s = machine_.states[p.state];
    return s.edges_begin == s.edges_end && p.state != machine_.end_state;
  });
  sort_unique(places_);
  std::vector<Place> merged;
  for (std::size_t i = 0; i < places_.size();) {
    std::size_t end = i;
    while (end < places_.size() && places_[end].state == places_[i].state) ++end;
    Place place = places_[i];
    if (end - i > 1) {
      std::vector<Place> returns;
      for (; i < end; ++i) {
        std::span<const Place> more = frames_.of(places_[i].frame);
        returns.insert(returns.end(), more.begin(), more.end());
      }
      place.frame = name_frame(returns);
    }
    i = end;
    merged.push_back(place);
  }
  if (merged.empty()) return kDead;
  i32 config = configs_.name(merged);
  if (config == static_cast<i32>(set_of_.size())) {
    set_of_.push_back(-1);
    rows_.insert(rows_.end(), static_cast<std::size_t>(classes_), kUnknown);
  }
  return config;
}

bool StackPool::can_end(i32 config) const {
  // The end state is the highest of all.
  return configs_.of(config).back().state == machine_.end_state;
}

void StackPool::walk(const TokenTrie& trie, i32 config, std::vector<TokenId>& ids) {
  path_[0] = config;
  u32 count = static_cast<u32>(trie.nodes.size());
  for (u32 i = 0; i < count;) {
    const TokenTrie::Node& node = trie.nodes[i];
    i32 next = step(path_[node.depth - 1], node.byte);
    if (next == kDead) {
      i = node.skip;
      continue;
    }
    path_[node.depth] = next;
    for (TokenId id = node.token; id >= 0; id = tokens_.same(id)) ids.push_back(id);
    ++i;
  }
}

const TokenSet& StackPool::tokens_of(i32 config) {
  if (set_of_[config] >= 0) return sets_[set_of_[config]];
  TokenSet set;
  i32 most = 0;
  for (const Place& p : configs_.of(config)) {
    const Machine::State& state = machine_.states[p.state];
    set.plain_chars = std::max<i32>(set.plain_chars, state.plain_free);
    most = std::max<i32>(most, state.plain_most);
  }
  if (set.plain_chars < std::min(most, kPlainCharsMax)) walk(tokens_.plain(), config, set.ids);
  walk(tokens_.rest(), config, set.ids);
  if (static_cast<i64>(set.ids.size()) > tokens_.words() * 2) {
    set.words.assign(static_cast<std::size_t>(tokens_.words()), 0);
    for (TokenId id : set.ids) set_bit(set.words, id);
    set.ids.clear();
  }
  set.ids.shrink_to_fit();
  mask_bytes_ += static_cast<i64>(set.words.size() * 8 + set.ids.size() * 4 + sizeof(TokenSet));
  set_of_[config] = static_cast<i32>(sets_.size());
  sets_.push_back(std::move(set));
  return sets_.back();
}

void StackPool::fill_mask(i32 config, std::span<u64> mask) {
  TG_ASSERT(static_cast<i64>(mask.size()) >= tokens_.words());
  const TokenSet& set = tokens_of(config);
  std::span<const u64> plain = tokens_.plain_mask(set.plain_chars);
  std::copy(plain.begin(), plain.end(), mask.begin());
  std::fill(mask.begin() + tokens_.words(), mask.end(), 0);
  for (std::size_t i = 0; i < set.words.size(); ++i) mask[i] |= set.words[i];
  for (TokenId id : set.ids) set_bit(mask, id);
  if (!can_end(config)) return;
  for (TokenId id : tokens_.ends()) set_bit(mask, id);
}

i32 StackPool::adopt(const StackPool& from, i32 config) {
  std::vector<i32> names(static_cast<std::size_t>(from.frames_.size()), kUnknown);
  places_.clear();
  for (const Place& p : from.configs_.of(config))
    places_.push_back({p.state, adopt_frame(from, p.frame, names)});
  return name_config();
}

// Frames below come first; no deeper than kStackDepthMax.
i32 StackPool::adopt_frame(const StackPool& from, i32 frame, std::vector<i32>& names) {
  if (names[frame] != kUnknown) return names[frame];
  std::vector<Place> returns;
  for (const Place& p : from.frames_.of(frame))
    returns.push_back({p.state, adopt_frame(from, p.frame, names)});
  names[frame] = name_frame(returns);
  return names[frame];
}

}  // namespace tg::grammar
