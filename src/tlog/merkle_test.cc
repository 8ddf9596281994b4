// The tree of RFC 6962: its known roots and proofs, and every proof of every small tree, against a
// plain recursion over all leaves.
#include "tlog/merkle.h"

#include <gtest/gtest.h>

#include <bit>
#include <string>

#include "base/bytes.h"

namespace tg::tlog {
namespace {

// RFC 6962 §2.1 as written, over leaves in memory.
Hash plain_root(Hasher& hasher, std::span<const Hash> leaves) {
  if (leaves.empty()) return hasher.empty_tree();
  if (leaves.size() == 1) return leaves[0];
  std::size_t k = std::bit_floor(leaves.size() - 1);
  Hash left = plain_root(hasher, leaves.first(k));
  return hasher.node(left, plain_root(hasher, leaves.subspan(k)));
}

SubtreeHash over(Hasher& hasher, const std::vector<Hash>& leaves, u64 size) {
  return [&hasher, &leaves, size](u32 height, u64 index) -> Result<Hash> {
    u64 count = u64{1} << height;
    EXPECT_LE((index + 1) * count, size) << "only subtrees within the tree are asked for";
    return plain_root(hasher, std::span<const Hash>(leaves).subspan(index * count, count));
  };
}

std::vector<Hash> numbered_leaves(Hasher& hasher, u64 count) {
  std::vector<Hash> out;
  for (u64 i = 0; i < count; ++i) out.push_back(hasher.leaf("entry " + std::to_string(i)));
  return out;
}

// The inputs and roots that the certificate transparency project tests its logs with.
const char* const kInputs[] = {"",
                               "00",
                               "10",
                               "2021",
                               "3031",
                               "40414243",
                               "5051525354555657",
                               "606162636465666768696a6b6c6d6e6f"};
const char* const kRoots[] = {"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                              "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
                              "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
                              "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
                              "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
                              "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
                              "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
                              "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};

TEST(Merkle, KnownRoots) {
  Hasher hasher(Suite::kEd25519Sha256);
  std::vector<Hash> leaves;
  EXPECT_EQ(to_hex(tree_root(hasher, 0, over(hasher, leaves, 0)).value()),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  for (std::size_t i = 0; i < 8; ++i) {
    std::vector<u8> input = from_hex(kInputs[i]).value();
    leaves.push_back(hasher.leaf(as_text(input)));
    EXPECT_EQ(to_hex(tree_root(hasher, i + 1, over(hasher, leaves, i + 1)).value()), kRoots[i]);
    EXPECT_EQ(fold(hasher, leaves), plain_root(hasher, leaves));
  }
}

TEST(Merkle, KnownProofs) {
  // RFC 6962 §2.1.3, a tree of seven leaves a..j: PATH(0) = [b, h, l]; PROOF(3) = [c, d, g, l].
  Hasher hasher(Suite::kEd25519Sha256);
  std::vector<Hash> d = numbered_leaves(hasher, 7);
  Hash g = hasher.node(d[0], d[1]);
  Hash h = hasher.node(d[2], d[3]);
  Hash i = hasher.node(d[4], d[5]);
  Hash k = hasher.node(g, h);
  Hash l = hasher.node(i, d[6]);
  auto path = [&](u64 m) { return inclusion_proof(hasher, m, 7, over(hasher, d, 7)).value(); };
  auto proof = [&](u64 m) { return consistency_proof(hasher, m, 7, over(hasher, d, 7)).value(); };
  EXPECT_EQ(path(0), (std::vector<Hash>{d[1], h, l}));
  EXPECT_EQ(path(3), (std::vector<Hash>{d[2], g, l}));
  EXPECT_EQ(path(4), (std::vector<Hash>{d[5], d[6], k}));
  EXPECT_EQ(path(6), (std::vector<Hash>{i, k}));
  EXPECT_EQ(proof(3), (std::vector<Hash>{d[2], d[3], g, l}));
  EXPECT_EQ(proof(4), (std::vector<Hash>{l}));
  EXPECT_EQ(proof(6), (std::vector<Hash>{i, d[6], k}));
}

class MerkleOf : public testing::TestWithParam<Suite> {};

TEST_P(MerkleOf, EveryInclusionProofOfEverySmallTree) {
  Hasher hasher(GetParam());
  std::vector<Hash> leaves = numbered_leaves(hasher, 40);
  for (u64 size = 1; size <= leaves.size(); ++size) {
    Hash root = plain_root(hasher, std::span<const Hash>(leaves).first(size));
    for (u64 index = 0; index < size; ++index) {
      std::vector<Hash> proof =
          inclusion_proof(hasher, index, size, over(hasher, leaves, size)).value();
      EXPECT_TRUE(verify_inclusion(hasher, leaves[index], index, size, proof, root));
      EXPECT_FALSE(verify_inclusion(hasher, leaves[index], index + 1, size, proof, root));
      EXPECT_FALSE(verify_inclusion(hasher, hasher.leaf("x"), index, size, proof, root));
      proof.push_back(root);
      EXPECT_FALSE(verify_inclusion(hasher, leaves[index], index, size, proof, root));
      proof.pop_back();
      if (proof.empty()) continue;
      std::vector<Hash> changed = proof;
      changed.back()[0] ^= 1;
      EXPECT_FALSE(verify_inclusion(hasher, leaves[index], index, size, changed, root));
      proof.pop_back();
      EXPECT_FALSE(verify_inclusion(hasher, leaves[index], index, size, proof, root));
    }
  }
}

TEST_P(MerkleOf, EveryConsistencyProofOfEverySmallTree) {
  // I-23.
  Hasher hasher(GetParam());
  std::vector<Hash> leaves = numbered_leaves(hasher, 40);
  auto head = [&](u64 size) {
    return TreeHead{size, plain_root(hasher, std::span<const Hash>(leaves).first(size))};
  };
  for (u64 to = 0; to <= leaves.size(); ++to) {
    for (u64 from = 0; from <= to; ++from) {
      std::vector<Hash> proof =
          consistency_proof(hasher, from, to, over(hasher, leaves, to)).value();
      EXPECT_TRUE(verify_consistency(hasher, head(from), head(to), proof)) << from << " " << to;
      EXPECT_FALSE(verify_consistency(hasher, head(to), head(from), proof) && from != to);
      TreeHead other = head(from);
      other.root[3] ^= 4;
      EXPECT_FALSE(verify_consistency(hasher, other, head(to), proof)) << from << " " << to;
      TreeHead later = head(to);
      later.root[3] ^= 4;
      // From nothing, every tree is consistent; its root is then the checkpoint's word alone.
      EXPECT_EQ(verify_consistency(hasher, head(from), later, proof), from == 0 && to > 0);
      proof.push_back(hasher.leaf("more"));
      EXPECT_FALSE(verify_consistency(hasher, head(from), head(to), proof));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Suites, MerkleOf, testing::ValuesIn(kSuites));

}  // namespace
}  // namespace tg::tlog
