#include "text/word_trie.h"

#include <algorithm>
#include <cassert>

#include "text/utf8.h"

namespace bertx::wordpiece {
namespace {

constexpr std::int32_t kWordRoot = 0, kSuffixRoot = 1, kNone = -1;
constexpr std::string_view kSuffixMark = "##";

// A token as the trie spells it, with its first bytes as a number that orders as they do.
struct Entry {
  std::uint64_t head;
  std::string_view spelling;
  std::int32_t token;

  bool operator<(const Entry& other) const {
    if (head != other.head) return head < other.head;
    if (const int order = spelling.compare(other.spelling); order != 0) return order < 0;
    return token < other.token;
  }
};

std::uint64_t head_of(std::string_view spelling) {
  std::uint64_t head = 0;
  for (std::size_t i = 0; i < 8; ++i) {
    head = head << 8 | (i < spelling.size() ? static_cast<unsigned char>(spelling[i]) : 0u);
  }
  return head;
}

}  // namespace

// Grows the trie breadth first, so that failures, which lead to shallower nodes, are ready when they are needed.
struct WordTrie::Builder {
  // A node whose subtree is entries [first, last), all alike in their first `depth` bytes.
  struct Pending {
    std::int32_t node;
    std::uint32_t first, last, depth;
  };

  WordTrie& trie;
  std::vector<Entry> entries;
  std::vector<Pending> queue;
  // A ring of the free places, which begins and ends at 0. Places below 256 are not used but for the roots, so that
  // a place less a byte is a base >= 0.
  std::vector<std::int32_t> next_free, previous_free;
  std::int32_t frontier = 256;  // every place from here on is free

  explicit Builder(WordTrie& target) : trie(target) {
    grow(1 << 10);
    trie.nodes_[kWordRoot].parent = trie.nodes_[kSuffixRoot].parent = kNone;
  }

  void run(const std::vector<std::string>& vocabulary, int max_chars) {
    entries.reserve(vocabulary.size());
    for (const bool suffixes : {false, true}) {
      const auto first = static_cast<std::uint32_t>(entries.size());
      collect(vocabulary, suffixes, max_chars);
      std::sort(entries.begin() + first, entries.end());
      queue.push_back({suffixes ? kSuffixRoot : kWordRoot, first, static_cast<std::uint32_t>(entries.size()), 0});
    }
    for (std::size_t i = 0; i < queue.size(); ++i) expand(queue[i]);
    const auto used =
        std::find_if(trie.nodes_.rbegin(), trie.nodes_.rend(), [](const Node& n) { return n.parent != -2; });
    trie.nodes_.resize(static_cast<std::size_t>(trie.nodes_.rend() - used) + 256);  // so base + byte is always inside
    trie.nodes_.shrink_to_fit();
  }

  void collect(const std::vector<std::string>& vocabulary, bool suffixes, int max_chars) {
    for (std::size_t i = 0; i < vocabulary.size(); ++i) {
      std::string_view spelling = vocabulary[i];
      if (spelling.starts_with(kSuffixMark) != suffixes) continue;
      if (suffixes) spelling.remove_prefix(kSuffixMark.size());
      if (spelling.empty() || (spelling.size() > static_cast<std::size_t>(max_chars) &&
                               count_code_points(spelling) > static_cast<std::size_t>(max_chars))) {
        continue;
      }
      entries.push_back({head_of(spelling), spelling, static_cast<std::int32_t>(i)});
    }
  }

  void expand(const Pending at) {
    std::uint32_t first = at.first;
    std::int32_t token = kNone;
    while (first < at.last && entries[first].spelling.size() == at.depth) token = entries[first++].token;
    if (at.depth > 0) link(at.node, token);

    std::uint8_t bytes[256];
    std::uint32_t starts[257];
    int children = 0;
    for (std::uint32_t i = first; i < at.last; ++i) {
      const auto byte = static_cast<std::uint8_t>(entries[i].spelling[at.depth]);
      if (children > 0 && bytes[children - 1] == byte) continue;
      bytes[children] = byte;
      starts[children++] = i;
    }
    if (children == 0) return;
    starts[children] = at.last;
    const std::int32_t base = place(bytes, children);
    trie.nodes_[at.node].base = base;
    for (int i = 0; i < children; ++i) {
      take(base + bytes[i], at.node);
      queue.push_back({base + bytes[i], starts[i], starts[i + 1], at.depth + 1});
    }
  }

  // Failure and pops of a node (Algorithm 2 of the paper). A parent's base is known, so the byte is the difference.
  void link(std::int32_t node, std::int32_t token) {
    auto& nodes = trie.nodes_;
    if (token != kNone) {
      nodes[node].failure = kSuffixRoot;
      nodes[node].pops = append(kNone, token);
      return;
    }
    const std::int32_t parent = nodes[node].parent, byte = node - nodes[parent].base;
    std::int32_t at = nodes[parent].failure, pops = nodes[parent].pops;
    while (at != kNone && nodes[nodes[at].base + byte].parent != at) {
      pops = append_list(pops, nodes[at].pops);
      at = nodes[at].failure;
    }
    if (at == kNone) return;
    nodes[node].failure = nodes[at].base + byte;
    nodes[node].pops = pops;
  }

  std::int32_t append(std::int32_t list, std::int32_t token) {
    trie.pops_.push_back({list, token, list == kNone ? 1 : trie.pops_[list].count + 1});
    return static_cast<std::int32_t>(trie.pops_.size()) - 1;
  }
  std::int32_t append_list(std::int32_t list, std::int32_t more) {
    if (more == kNone) return list;
    list = append_list(list, trie.pops_[more].previous);
    return append(list, trie.pops_[more].token);
  }

  // A base >= 0 at which the places of all children are free.
  std::int32_t place(const std::uint8_t* bytes, int children) {
    constexpr int kTries = 64;
    std::int32_t at = next_free[0];
    for (int tries = 0; tries < kTries && at != 0; ++tries, at = next_free[at]) {
      const std::int32_t base = at - bytes[0];
      ensure(base + 256);
      if (std::all_of(bytes + 1, bytes + children,
                      [&](std::uint8_t b) { return trie.nodes_[base + b].parent == -2; })) {
        return base;
      }
    }
    ensure(frontier + 256);
    return frontier - bytes[0];
  }

  void ensure(std::int32_t last) {
    if (static_cast<std::size_t>(last) >= trie.nodes_.size()) grow(trie.nodes_.size() + trie.nodes_.size() / 2 + 256);
  }

  void grow(std::size_t size) {
    const std::size_t old = trie.nodes_.size();
    trie.nodes_.resize(size);
    next_free.resize(size, 0);
    previous_free.resize(size, 0);
    for (std::size_t i = std::max<std::size_t>(old, 256); i < size; ++i) {
      const auto place = static_cast<std::int32_t>(i), tail = previous_free[0];
      next_free[tail] = place;
      previous_free[place] = tail;
      next_free[place] = 0;
      previous_free[0] = place;
    }
  }

  void take(std::int32_t place, std::int32_t parent) {
    assert(trie.nodes_[place].parent == -2);
    trie.nodes_[place].parent = parent;
    frontier = std::max(frontier, place + 1);
    next_free[previous_free[place]] = next_free[place];
    previous_free[next_free[place]] = previous_free[place];
  }
};

WordTrie::WordTrie(const std::vector<std::string>& vocabulary, int max_chars) {
  Builder(*this).run(vocabulary, max_chars);
}

bool WordTrie::match(std::string_view word, const std::uint8_t* fold, std::vector<std::int32_t>& ids) const {
  const std::size_t before = ids.size();
  const Node* const nodes = nodes_.data();
  std::int32_t at = kWordRoot;
  const auto fail = [&] {
    if (nodes[at].failure == kNone) return false;
    emit(nodes[at].pops, ids);
    at = nodes[at].failure;
    return true;
  };
  for (const char c : word) {
    const std::int32_t byte = fold[static_cast<unsigned char>(c)];
    for (;;) {
      const std::int32_t next = nodes[at].base + byte;
      if (nodes[next].parent == at) {
        at = next;
        break;
      }
      if (!fail()) {
        ids.resize(before);
        return false;
      }
    }
  }
  while (at != kSuffixRoot) {
    if (!fail()) {
      ids.resize(before);
      return false;
    }
  }
  return true;
}

void WordTrie::emit(std::int32_t pops, std::vector<std::int32_t>& ids) const {
  const Pop* pop = &pops_[pops];
  if (pop->previous == kNone) {
    ids.push_back(pop->token);
    return;
  }
  std::size_t at = ids.size() + static_cast<std::size_t>(pop->count);
  for (ids.resize(at);; pop = &pops_[pop->previous]) {
    ids[--at] = pop->token;
    if (pop->previous == kNone) return;
  }
}

}  // namespace bertx::wordpiece
