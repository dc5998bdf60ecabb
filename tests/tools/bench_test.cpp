// bertx bench: the shape of what it prints and draws, and what it refuses. Nothing here depends on how long things
// take.
#include <cctype>
#include <cstring>
#include <map>
#include <set>

#include "command.h"

namespace bertx::test {
namespace {

/// Where the text stops being well-formed XML of elements, quoted attributes and the four entities; "" where it does
/// not. Names of elements are counted.
std::string xml_error(const std::string& text, std::map<std::string, int>& elements) {
  std::vector<std::string> open;
  const auto here = [&](std::size_t at, const char* what) { return what + (" at \"" + text.substr(at, 40) + "\""); };
  const auto bad_entity = [&](std::size_t from, std::size_t to) {
    for (std::size_t at = text.find('&', from); at < to; at = text.find('&', at + 1)) {
      bool known = false;
      for (const char* entity : {"&amp;", "&lt;", "&gt;", "&quot;"})
        known = known || text.compare(at, std::strlen(entity), entity) == 0;
      if (!known) return true;
    }
    return false;
  };
  for (std::size_t at = 0; at < text.size();) {
    if (text[at] != '<') {
      const std::size_t end = std::min(text.find('<', at), text.size());
      if (text.substr(at, end - at).find('>') != std::string::npos || bad_entity(at, end)) return here(at, "text");
      at = end;
      continue;
    }
    const std::size_t end = text.find('>', at);
    if (end == std::string::npos) return here(at, "no end of the tag");
    if (text[at + 1] == '/') {
      if (open.empty() || open.back() != text.substr(at + 2, end - at - 2)) return here(at, "wrong end tag");
      open.pop_back();
      at = end + 1;
      continue;
    }
    std::size_t next = at + 1;
    while (std::isalnum(static_cast<unsigned char>(text[next])) != 0) ++next;
    const std::string name = text.substr(at + 1, next - at - 1);
    if (name.empty()) return here(at, "no name");
    ++elements[name];
    while (text[next] == ' ') {
      const std::size_t quote = text.find("=\"", next), last = text.find('"', quote + 2);
      if (quote == std::string::npos || last == std::string::npos || last > end) return here(next, "attribute");
      if (bad_entity(quote, last)) return here(next, "entity");
      next = last + 1;
    }
    if (text[next] == '/') {
      ++next;
    } else {
      open.push_back(name);
    }
    if (next != end) return here(at, "tag");
    at = end + 1;
  }
  return open.empty() ? "" : "open: " + open.back();
}

class BenchTest : public ToolsTest {
 protected:
  void SetUp() override {
    ToolsTest::SetUp();
    classifier = write_tiny_model(place / "classifier", {"no", "yes"}).string();
  }
  /// `bertx bench` of the tiny classifier, briefly.
  Outcome bench(std::vector<std::string> more) {
    std::vector<std::string> arguments{"bench", classifier, "--reps", "2", "--warmup", "0", "--threads", "1"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return bertx(arguments);
  }
  std::string sparse_model() {
    const std::string out = (place / "thin").string();
    EXPECT_EQ(bertx({"prune", "--model", classifier, "--sparsity", "0.75", "--output_dir", out}).code, 0);
    return out;
  }
  std::string classifier;
};

TEST_F(BenchTest, DenseAndSparsePassesSideBySide) {
  const Outcome outcome = bench({"--sparsity", "0,0.5,0.9", "--batch", "1,2", "--tokens", "8", "--json", "--control"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const Json report = outcome.json();
  for (const char* key : {"cpu", "cores", "isa", "onednn", "threads"})
    EXPECT_TRUE(report["machine"].contains(key)) << key;
  EXPECT_EQ(report["mode"], "forward");
  EXPECT_EQ(report["model"], classifier);
  ASSERT_EQ(report["rows"].size(), 10u);  // per batch: dense, and twice a control and CSR
  for (const Json& row : report["rows"]) {
    EXPECT_GT(row["min_ms"].get<double>(), 0);
    EXPECT_GE(row["median_ms"], row["min_ms"]);
    EXPECT_EQ(row["reps"], 2);
    EXPECT_EQ(row["dtype"], "f32");
    EXPECT_EQ(row["threads"], 1);
    EXPECT_EQ(row["tokens"], 8);
    EXPECT_EQ(row["lengths"], "equal");
    EXPECT_GT(row["speed_up"].get<double>(), 0);
  }
  EXPECT_EQ(report["rows"][4]["sparsity"], 0.9);
  EXPECT_HAS(report["rows"][4]["kernel"].get<std::string>(), "csr");
  EXPECT_HAS(report["rows"][3]["kernel"].get<std::string>(), "(zeros)");
  EXPECT_HAS(bench({"--tokens", "8"}).out, "speed-up");
}

TEST_F(BenchTest, AStoredSparseModelBesideDenseAndRandomPlaces) {
  const Json rows =
      bertx({"bench", sparse_model(), "--tokens", "8", "--reps", "2", "--control", "--json"}).json()["rows"];
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0]["dense"], true);
  EXPECT_LT(rows[1]["max_difference"].get<double>(), 1e-4);
  EXPECT_HAS(rows[2]["kernel"].get<std::string>(), "random places");
  for (const Json& row : rows) EXPECT_EQ(row["sparsity"], 0.75);
}

TEST_F(BenchTest, UpdatesDenseSparseAndUnderAMask) {
  const Outcome outcome =
      bench({"--mode", "train", "--sparsity", "0,0.5", "--batch", "3", "--tokens", "7", "--control", "--json"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const Json report = outcome.json();
  EXPECT_EQ(report["mode"], "train");
  ASSERT_EQ(report["rows"].size(), 3u);
  for (const Json& row : report["rows"]) {
    EXPECT_GT(row["optimizer_ms"].get<double>(), 0);
    EXPECT_GT(row["arena_bytes"].get<double>(), 0);
  }
  EXPECT_EQ(report["rows"][1]["kernel"], "csr");
  EXPECT_EQ(report["rows"][2]["kernel"], "dense (masked)");
  EXPECT_LT(report["rows"][1]["max_difference"].get<double>(), 1e-4);  // loss and gradient norm, against the mask
  EXPECT_HAS(bench({"--mode", "train", "--tokens", "7"}).out, "AdamW");
  EXPECT_EQ(bertx({"bench", sparse_model(), "--mode", "train", "--tokens", "7", "--reps", "1", "--json"})
                .json()["rows"]
                .size(),
            2u);  // as it is stored, and dense
  const Outcome no_head = bertx({"bench", model, "--mode", "train", "--tokens", "7"});
  EXPECT_EQ(no_head.code, 2);
  EXPECT_HAS(no_head.err, "without a head");
}

TEST_F(BenchTest, RaggedTextsBesidePaddedOnes) {
  const Json rows = bench({"--sparsity", "0,0.5", "--batch", "8", "--lengths", "12.5,20", "--json"}).json()["rows"];
  ASSERT_EQ(rows.size(), 4u);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(rows[i]["lengths"], i < 2 ? "ragged" : "padded");
    EXPECT_EQ(rows[i]["longest"], 20);
    EXPECT_EQ(rows[i]["total_tokens"], i < 2 ? 100 : 160);
    EXPECT_EQ(rows[i].contains("padded_ratio"), i < 2);
  }
  EXPECT_EQ(rows[0]["tokens"], 12.5);
  write_all(place / "lengths", "3\n40\r\n\n1\n");
  const std::string file = (place / "lengths").string();
  const Json of_file = bench({"--lengths", file, "--json"}).json()["rows"];
  EXPECT_EQ(of_file[0]["batch"], 3);
  EXPECT_EQ(of_file[0]["total_tokens"], 44);
  EXPECT_EQ(of_file[1]["total_tokens"], 120);
  EXPECT_HAS(bench({"--lengths", file}).out, "3 x 14.7 (to 40)");
  EXPECT_EQ(bench({"--mode", "train", "--lengths", file}).code, 0);
  EXPECT_EQ(bench({"--lengths", "20,20"}).code, 0);
}

TEST_F(BenchTest, LengthsThatMakeNoSense) {
  for (const char* bad : {"3\nlong\n", "3\n0\n", "3\n41\n", "3\n-2\n", "3\n4 5\n", "3\n1.5\n"}) {
    write_all(place / "lengths", bad);
    const Outcome outcome = bench({"--lengths", (place / "lengths").string()});
    EXPECT_EQ(outcome.code, 3) << bad;
    EXPECT_HAS(outcome.err, "lengths, line 2: found ");
    EXPECT_HAS(outcome.err, "expected the length of a text, a whole number from 1 to 40");
  }
  write_all(place / "lengths", "\n");
  EXPECT_EQ(bench({"--lengths", (place / "lengths").string()}).code, 3);
  EXPECT_EQ(bench({"--lengths", (place / "none").string()}).code, 4);
  EXPECT_EQ(bench({"--lengths", place.path().string()}).code, 3);
  for (const char* bad : {"12,41", "12,0", "0,20", "21,20", "-1,20", "2,20", "nan,20"}) {
    const Outcome outcome = bench({"--batch", "8", "--lengths", bad});
    EXPECT_TRUE(outcome.code == 2 || outcome.code == 4) << bad << ": " << outcome.err;
    EXPECT_FALSE(outcome.err.empty()) << bad;
  }
  EXPECT_HAS(bench({"--batch", "8", "--lengths", "2,20"}).err, "expected 3.4 to 20");
  EXPECT_HAS(bench({"--lengths", "12,20"}).err, "with a --batch of 1 texts");
}

TEST_F(BenchTest, ProductsOfEveryShape) {
  const Outcome outcome = bench({"--kernels", "--sparsity", "0.5,0.9", "--tokens", "1,9", "--batch", "3", "--json"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const Json report = outcome.json();
  EXPECT_EQ(report["mode"], "kernels");
  ASSERT_EQ(report["rows"].size(), 3u * 2 * 2 * 4);  // shapes 32x32, 64x32, 32x64; sparsities; tokens; products
  for (const Json& row : report["rows"]) {
    EXPECT_GT(row["min_us"].get<double>(), 0);
    EXPECT_GE(row["median_us"], row["min_us"]);
    EXPECT_GT(row["gflops"].get<double>(), 0);
    EXPECT_GT(row["peak_gflops"].get<double>(), 0);
    EXPECT_GT(row["dense_us"].get<double>(), 0);
    EXPECT_LE(row["error_of_tolerance"].get<double>(), 1);
    EXPECT_TRUE(row["tokens"] == 3 || row["tokens"] == 27);
    EXPECT_LE(row["nonzeros"].get<double>(), 0.51 * row["rows"].get<double>() * row["cols"].get<double>());
  }
  std::set<std::string> products;
  for (const Json& row : report["rows"]) products.insert(row["product"].get<std::string>());
  EXPECT_EQ(products, (std::set<std::string>{"inference", "forward", "input grad", "weight grad"}));
  const Outcome table = bench({"--kernels", "--tokens", "5"});
  EXPECT_HAS(table.out, "of peak");
  EXPECT_HAS(table.out, "95.0 %");  // the usual sparsities of a dense model
}

TEST_F(BenchTest, ProductsOfAStoredModelBesideRandomPlaces) {
  const Json rows =
      bertx({"bench", sparse_model(), "--kernels", "--tokens", "5", "--reps", "1", "--json"}).json()["rows"];
  ASSERT_EQ(rows.size(), 2u * 6 * 4);
  for (const Json& row : rows) {
    const std::string name = row["matrix"];
    EXPECT_EQ(row.contains("random_us"), !name.ends_with("random")) << name;
    EXPECT_EQ(row["nonzeros"].get<double>(), 0.25 * row["rows"].get<double>() * row["cols"].get<double>());
  }
}

TEST_F(BenchTest, ADrawingIsWellFormed) {
  const std::string plot = (place / "a<b>&\"c.svg").string();
  const Outcome outcome = bench({"--sparsity", "0,0.5,0.9", "--tokens", "4,8", "--batch", "1,2", "--plot", plot});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_HAS(outcome.out, "speed-up");  // the table comes all the same
  const std::string svg = read_all(plot);
  std::map<std::string, int> elements;
  EXPECT_EQ(xml_error(svg, elements), "");
  EXPECT_EQ(elements["svg"], 1);
  EXPECT_EQ(elements["polyline"], 4);
  EXPECT_EQ(elements["circle"], 12);
  EXPECT_EQ(elements["script"], 0);
  EXPECT_HAS(svg, "ms a pass");
  EXPECT_HAS(svg, "2 x 8 tokens");
  // The check itself finds what is wrong.
  for (const char* bad : {"<svg>", "<svg></text></svg>", "<svg a=b/>", "<svg>a & b</svg>", "<svg a=\"<\"", "</svg>"}) {
    EXPECT_NE(xml_error(bad, elements), "") << bad;
  }
}

TEST_F(BenchTest, FlagsThatMakeNoSense) {
  const std::vector<std::vector<std::string>> bad{{"--sparsity", "1.0"},
                                                  {"--sparsity", "-0.1"},
                                                  {"--sparsity", "0.5,"},
                                                  {"--tokens", "41"},
                                                  {"--tokens", "0"},
                                                  {"--batch", "0"},
                                                  {"--threads", "0"},
                                                  {"--reps", "0"},
                                                  {"--mode", "backward"},
                                                  {"--lengths", "4,8", "--tokens", "8"},
                                                  {"--lengths", "file", "--batch", "8"},
                                                  {"--kernels", "--mode", "train"},
                                                  {"--kernels", "--lengths", "4,8"},
                                                  {"--kernels", "--plot", (place / "p.svg").string()},
                                                  {"--kernels", "--control"},
                                                  {"--preset", "minilm-l6"}};
  for (const auto& flags : bad) {
    const Outcome outcome = bench(flags);
    EXPECT_EQ(outcome.code, 2) << flags[0] << " " << flags.back() << ": " << outcome.err;
    EXPECT_HAS(outcome.err, flags[0].substr(2));
  }
  // A drawing that cannot be written is found out before anything is timed.
  for (const std::string& plot : {std::string("/proc/p.svg"), (place / "none/p.svg").string(), place.path().string()}) {
    const Outcome outcome = bench({"--plot", plot});
    EXPECT_EQ(outcome.code, 4) << plot;
    EXPECT_HAS(outcome.err, "--plot: " + plot + ": cannot be written");
    EXPECT_EQ(outcome.out, "");
  }
}

}  // namespace
}  // namespace bertx::test
