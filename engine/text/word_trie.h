// Longest-match-first WordPiece of one word in linear time: a trie with failure links, after "Fast WordPiece
// Tokenization" (Song et al., arXiv 2012.15524).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace bertx::wordpiece {

/// Two tries over the bytes of the vocabulary, in one double array: one of the tokens that begin a word, one of
/// those that continue it ("##ing" as "ing"). Where the next byte leads nowhere, a node's failure says which tokens
/// the greedy algorithm has certainly found by then (its pops), and in which node it goes on; so no byte of a word
/// is read twice.
class WordTrie {
 public:
  WordTrie() = default;
  /// Tokens of more than max_chars code points match no word and are left out; of equal tokens the last counts.
  /// Memory is linear in the bytes of the vocabulary.
  WordTrie(const std::vector<std::string>& vocabulary, int max_chars);

  /// Appends the ids of a word's pieces; false, with nothing appended, where they do not cover it.
  /// The word is read through `fold`, a table of 256 bytes.
  bool match(std::string_view word, const std::uint8_t* fold, std::vector<std::int32_t>& ids) const;

 private:
  struct Node {
    std::int32_t base = 0;     // the child by byte c, if any, is at base + c
    std::int32_t parent = -2;  // -2: a free place
    std::int32_t failure = -1;
    std::int32_t pops = -1;  // the last element of a list in pops_
  };
  struct Pop {
    std::int32_t previous;  // -1: none
    std::int32_t token;
    std::int32_t count;  // of the list up to here
  };
  struct Builder;

  void emit(std::int32_t pops, std::vector<std::int32_t>& ids) const;

  std::vector<Node> nodes_;
  std::vector<Pop> pops_;
};

}  // namespace bertx::wordpiece
