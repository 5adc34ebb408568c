#include "base/yaml.h"

#include <cstdlib>
#include <fstream>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace penstock {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

// What reading text through use complains about; "" if nothing.
template <typename Use>
std::string complaint(std::string_view text, Use use) {
  auto document = YamlDocument::parse(text, "f");
  if (!document) {
    return document.error().message;
  }
  use(document->root());
  const auto checked = document->check();
  return checked ? "" : checked.error().message;
}

std::string syntaxComplaint(std::string_view text) {
  return complaint(text, [](const YamlValue&) {});
}

// What reading "v: <text>" as a T complains about.
template <typename T>
std::string complaintAbout(const std::string& text) {
  return complaint("v: " + text, [](const YamlValue& root) {
    T out{};
    YamlMap(root).required("v", out);
  });
}

template <typename T>
T read(const std::string& text) {
  auto document = YamlDocument::parse("v: " + text, "f");
  EXPECT_TRUE(document);
  T out{};
  EXPECT_TRUE(YamlMap(document->root()).required("v", out)) << document->check().error().message;
  return out;
}

TEST(Yaml, ReadsEachType) {
  EXPECT_EQ(read<std::string>("plain words"), "plain words");
  EXPECT_EQ(read<std::string>("'null'"), "null");
  EXPECT_EQ(read<std::string>("8080"), "8080");
  EXPECT_EQ(read<bool>("true"), true);
  EXPECT_EQ(read<std::uint32_t>("4294967295"), 4294967295U);
  EXPECT_EQ(read<std::int64_t>("-5"), -5);
  EXPECT_EQ(read<double>("2.5e3"), 2500);
  EXPECT_EQ(read<Duration>("500ms"), 500ms);
  EXPECT_EQ(read<Duration>("\"30s\""), 30s);
  EXPECT_EQ(read<ByteSize>("64KiB"), 64_KiB);
  EXPECT_THAT(read<std::vector<std::string>>("[a, 'b']"), ElementsAre("a", "b"));
  EXPECT_EQ(read<std::optional<ByteSize>>("1B"), 1_B);
}

TEST(Yaml, LeavesTheDefaultOfAnAbsentKey) {
  auto document = YamlDocument::parse("other: 1", "f");
  YamlMap map(document->root());
  int out = 7;
  EXPECT_FALSE(map.optional("v", out));
  EXPECT_EQ(out, 7);
  EXPECT_TRUE(document->check());
}

TEST(Yaml, SaysWhatWasExpectedOfEachType) {
  EXPECT_EQ(complaintAbout<std::string>("[a]"), "f:1:4: v: expected a string, got a sequence");
  EXPECT_EQ(complaintAbout<std::string>("~"), "f:1:4: v: expected a string, got nothing");
  EXPECT_EQ(complaintAbout<bool>("yes"), "f:1:4: v: expected true or false, got \"yes\"");
  EXPECT_EQ(complaintAbout<bool>("'true'"), "f:1:4: v: expected true or false, got \"true\"");
  EXPECT_EQ(complaintAbout<std::uint32_t>("ten"),
            "f:1:4: v: expected a whole number from 0 to 4294967295, got \"ten\"");
  EXPECT_EQ(complaintAbout<std::vector<std::string>>("a"),
            "f:1:4: v: expected a sequence of strings, got \"a\"");
  EXPECT_EQ(complaintAbout<std::vector<std::string>>("[a, {b: c}]"),
            "f:1:8: v[]: expected a string, got a mapping");
}

TEST(Yaml, RefusesNumbersThatReadersDisagreeOn) {
  for (const char* text : {"010", "0x10", "0o10", "1_000", "+1", "1.0", "'1'", "!!int 1"}) {
    EXPECT_THAT(complaintAbout<int>(text), HasSubstr("expected a whole number")) << text;
  }
}

TEST(Yaml, RefusesNumbersThatAreNotFinite) {
  for (const char* text : {".nan", ".inf", "-.inf", "nan", "inf", "1e999", "'1.5'"}) {
    EXPECT_THAT(complaintAbout<double>(text), StartsWith("f:1:4: v: expected a finite number"))
        << text;
  }
}

TEST(Yaml, RefusesNumbersThatAreNotFiniteEvenWhereNoBoundForbidsThem) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  EXPECT_THAT(complaint("v: inf",
                        [](const YamlValue& root) {
                          YamlMap(root).find("v")->number({-kInfinity, kInfinity});
                        }),
              StartsWith("f:1:4: v: expected a finite number"));
}

TEST(Yaml, RequiresAUnit) {
  EXPECT_EQ(complaintAbout<Duration>("30"),
            "f:1:4: v: expected a duration with its unit (ns, us, ms, s, m, h), such as 30s, got "
            "\"30\"");
  EXPECT_EQ(complaintAbout<Duration>("30min"),
            "f:1:4: v: expected a duration with its unit (ns, us, ms, s, m, h), such as 30s, got "
            "\"30min\"");
  EXPECT_EQ(complaintAbout<ByteSize>("64KB"),
            "f:1:4: v: expected a size with its unit (B, KiB, MiB, GiB), such as 64KiB, got "
            "\"64KB\"");
}

TEST(Yaml, HoldsValuesToTheirRange) {
  const auto read = [](const std::string& text) {
    return complaint(text, [](const YamlValue& root) {
      YamlMap map(root);
      int count = 0;
      Duration time{};
      ByteSize size;
      double share = 0;
      map.optional("count", count, {1, 10});
      map.optional("time", time, {1s, 60s});
      map.optional("size", size, {1_KiB, 1_MiB});
      map.optional("share", share, {0, 1});
    });
  };
  EXPECT_EQ(read("{count: 1, time: 1s, size: 1KiB, share: 0}"), "");
  EXPECT_EQ(read("{count: 10, time: 1m, size: 1MiB, share: 1}"), "");
  EXPECT_EQ(read("count: 0"), "f:1:8: count: expected a whole number from 1 to 10, got \"0\"");
  EXPECT_EQ(read("count: 11"), "f:1:8: count: expected a whole number from 1 to 10, got \"11\"");
  EXPECT_THAT(read("time: 999ms"), StartsWith("f:1:7: time: expected a duration from 1s to 1m"));
  EXPECT_THAT(read("time: 61s"), StartsWith("f:1:7: time: expected a duration from 1s to 1m"));
  EXPECT_THAT(read("size: 1023B"), StartsWith("f:1:7: size: expected a size from 1KiB to 1MiB"));
  EXPECT_THAT(read("size: 1025KiB"), StartsWith("f:1:7: size: expected a size from 1KiB to 1MiB"));
  EXPECT_EQ(read("share: 1.01"),
            "f:1:8: share: expected a finite number from 0 to 1, got \"1.01\"");
}

TEST(Yaml, ReadsWordsFromAList) {
  const auto read = [](const std::string& text, int& out) {
    return complaint(text, [&](const YamlValue& root) {
      YamlMap(root).choice<int>("mode", out, {{"one", 1}, {"two", 2}});
    });
  };
  int out = 0;
  EXPECT_EQ(read("mode: two", out), "");
  EXPECT_EQ(out, 2);
  EXPECT_EQ(read("mode: three", out), "f:1:7: mode: expected one of one, two, got \"three\"");
}

TEST(Yaml, TellsUnknownKeysAndGuessesWhatWasMeant) {
  const auto read = [](const std::string& text) {
    return complaint(text, [](const YamlValue& root) {
      YamlMap map(root);
      std::string out;
      map.optional("address", out);
      map.optional("name", out);
      map.finish();
    });
  };
  EXPECT_EQ(read("name: a\nadress: b"), "f:2:1: unknown key \"adress\"; did you mean \"address\"?");
  EXPECT_EQ(read("{zebra: b}"), "f:1:2: unknown key \"zebra\"; expected one of address, name");
}

TEST(Yaml, ListsUnknownKeysInsteadOfRefusingThem) {
  auto document = YamlDocument::parse("{b: 1, name: x, a: 2}", "f");
  YamlMap map(document->root());
  std::string name;
  map.required("name", name);
  EXPECT_THAT(map.unknownKeys(), ElementsAre("b", "a"));
  map.keyPlace("a")->error("misplaced");
  EXPECT_EQ(document->check().error().message, "f:1:17: misplaced");
  EXPECT_THAT(document->mistakes(), ElementsAre("misplaced"));
}

TEST(Yaml, ReadsEmptyValuesAsAbsentWhereAskedTo) {
  auto document = YamlDocument::parse("{a: , b: null, c: ~, d: ''}", "f");
  YamlMap map(document->root());
  map.ignoreNulls();
  for (const char* key : {"a", "b", "c"}) {
    EXPECT_FALSE(map.find(key)) << key;
  }
  EXPECT_TRUE(map.find("d"));
}

TEST(Yaml, TellsMissingKeysAtTheMapping) {
  EXPECT_EQ(complaint("list:\n  - {a: 1}",
                      [](const YamlValue& root) {
                        for (const YamlValue& item : YamlMap(root).find("list")->items()) {
                          YamlMap(item).need("name");
                        }
                      }),
            "f:2:5: list[]: expected the key \"name\", which is missing");
}

TEST(Yaml, TellsAValueThatIsNoMapping) {
  EXPECT_EQ(complaint("[a]", [](const YamlValue& root) { YamlMap(root).need("name"); }),
            "f:1:1: expected a mapping, got a sequence");
  EXPECT_EQ(complaint("", [](const YamlValue& root) { YamlMap(root).need("name"); }),
            "f:1:1: expected a mapping, got nothing");
}

TEST(Yaml, TellsDuplicateKeysWhereverTheyAre) {
  EXPECT_EQ(syntaxComplaint("a: 1\nb:\n  c: 2\n  'c': {d: 3}\n"),
            "f:4:3: duplicate key \"c\", first on line 3");
  EXPECT_EQ(syntaxComplaint("{a: 1, b: 2, a: [1, {x: 1, x: 2}]}"),
            "f:1:14: duplicate key \"a\", first on line 1\n"
            "f:1:28: duplicate key \"x\", first on line 1");
}

TEST(Yaml, TellsEveryMistakeInTheOrderOfTheFile) {
  EXPECT_EQ(complaint("a: x\nb: y\n",
                      [](const YamlValue& root) {
                        int out = 0;
                        YamlMap map(root);
                        map.optional("b", out, {0, 1});
                        map.optional("a", out, {0, 1});
                      }),
            "f:1:4: a: expected a whole number from 0 to 1, got \"x\"\n"
            "f:2:4: b: expected a whole number from 0 to 1, got \"y\"");
}

TEST(Yaml, ReadsThroughAliases) {
  auto document = YamlDocument::parse("a: &x {n: 3}\nb: *x\n", "f");
  int out = 0;
  YamlMap(*YamlMap(document->root()).find("b")).required("n", out);
  EXPECT_EQ(out, 3);
}

std::string mergedJson(const std::string& text) {
  const auto document = YamlDocument::parse(text, "f", {.merge_keys = true});
  return document ? document->root().json() : document.error().message;
}

TEST(Yaml, MergesMappingsWhereAskedTo) {
  const std::string bases = "x: &x {n: 1, m: 2}\ny: &y {m: 3, k: 4}\n";
  EXPECT_THAT(mergedJson(bases + "a: {<<: *x, n: 5}"), HasSubstr(R"("a":{"n":5,"m":2})"));
  EXPECT_THAT(mergedJson(bases + "a: {n: 5, <<: [*x, *y]}"),
              HasSubstr(R"("a":{"n":5,"m":2,"k":4})"));
  EXPECT_THAT(mergedJson(bases + "a: &a {<<: *y}\nb: {<<: *a}"), HasSubstr(R"("b":{"m":3,"k":4})"));
  EXPECT_THAT(mergedJson("a: {'<<': {n: 1}}"), HasSubstr(R"("a":{"<<":{"n":1}})"));
  EXPECT_THAT(mergedJson("a: {<<: 3}"), StartsWith("f:1:9: expected a mapping to merge"));
  EXPECT_THAT(mergedJson("a: {<<: [{n: 1}, 3]}"),
              StartsWith("f:1:18: expected a mapping to merge"));
  EXPECT_THAT(YamlDocument::parse("a: {<<: {n: 1}}", "f")->root().json(),
              HasSubstr(R"("<<":{"n":1})"));
}

TEST(Yaml, CountsWhatIsMerged) {
  std::string bomb = "a0: &a0 {k: [x";
  for (int i = 0; i < 5000; ++i) {
    bomb += ", x";
  }
  bomb += "]}\n";
  for (int i = 1; i < 10; ++i) {
    bomb += "a" + std::to_string(i) + ": {<<: *a0}\n";
  }
  EXPECT_THAT(mergedJson(bomb), HasSubstr("expected at most 20000 nodes"));
}

TEST(Yaml, RefusesAnAliasBomb) {
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 10; ++i) {
    const std::string alias = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + alias;
    for (int j = 0; j < 8; ++j) {
      bomb += ", " + alias;
    }
    bomb += "]\n";
  }
  EXPECT_THAT(syntaxComplaint(bomb),
              testing::MatchesRegex("f:5:[0-9]+: expected at most 20000 nodes.*"));
}

TEST(Yaml, CountsNodesUpToTheBudget) {
  const auto parse = [](std::size_t max_nodes) {
    return YamlDocument::parse("a: &x [1, 2]\nb: *x\n", "f", {.max_nodes = max_nodes});
  };
  // The mapping, two keys, and the sequence of two twice.
  EXPECT_TRUE(parse(9));
  const auto over = parse(8);
  ASSERT_FALSE(over);
  EXPECT_THAT(over.error().message, StartsWith("f:2:4: expected at most 8 nodes"));
}

TEST(Yaml, RefusesAnAliasInsideItsOwnNode) {
  EXPECT_THAT(syntaxComplaint("a: &x [1, *x]"), StartsWith("f:1:11: an alias inside the node"));
}

TEST(Yaml, RefusesDeepNesting) {
  EXPECT_EQ(syntaxComplaint(std::string(64, '[') + std::string(64, ']')), "");
  EXPECT_EQ(syntaxComplaint(std::string(65, '[') + std::string(65, ']')),
            "f:1:65: expected at most 64 levels of nesting");
  EXPECT_NE(syntaxComplaint(std::string(100'000, '[')), "");
}

TEST(Yaml, RefusesATextThatIsTooLong) {
  const std::string text = "a: 1\n";
  EXPECT_TRUE(YamlDocument::parse(text, "f", {.max_size = 5_B}));
  const auto over = YamlDocument::parse(text, "f", {.max_size = 4_B});
  ASSERT_FALSE(over);
  EXPECT_EQ(over.error().message, "f:1:1: expected at most 4 bytes, got 5");
}

TEST(Yaml, RefusesASecondDocument) {
  EXPECT_THAT(syntaxComplaint("a: 1\n---\nb: 2\n"), HasSubstr("expected one document"));
}

TEST(Yaml, RefusesKeysThatAreNoWords) {
  EXPECT_EQ(syntaxComplaint("[a]: 1"), "f:1:1: expected a key that is a word");
}

TEST(Yaml, TellsWhereTheSyntaxIsWrong) {
  EXPECT_THAT(syntaxComplaint("a: 1\nb: [1, 2\nc: 3\n"),
              testing::MatchesRegex("f:[23]:[0-9]+: not YAML: .*"));
  EXPECT_THAT(syntaxComplaint("a: *nowhere"), StartsWith("f:1:4: not YAML: "));
  EXPECT_THAT(syntaxComplaint("a: \"\x01"), StartsWith("f:1:"));
}

TEST(Yaml, RefusesControlCharactersThatWouldEndTheText) {
  EXPECT_EQ(syntaxComplaint("a: 1\nb:\x04 2"), "f:2:3: expected text, found a control character");
  EXPECT_EQ(syntaxComplaint(std::string_view("a: \0b", 5)),
            "f:1:4: expected text, found a control character");
  EXPECT_EQ(syntaxComplaint("a:\t1\r\nb: 2\n"), "");
}

TEST(Yaml, ReadsAFileAndNamesIt) {
  std::string name = testing::TempDir() + "yaml_test_XXXXXX";
  ::close(::mkstemp(name.data()));
  std::ofstream(name) << "a: 1\na: 2\n";
  auto document = YamlDocument::load(name);
  ::unlink(name.c_str());
  ASSERT_TRUE(document);
  EXPECT_EQ(document->check().error().message, name + ":2:1: duplicate key \"a\", first on line 1");
}

TEST(Yaml, SaysWhyAFileCannotBeRead) {
  for (const std::string file : {"/nonexistent/file.yaml", "/"}) {
    const auto document = YamlDocument::load(file);
    ASSERT_FALSE(document);
    EXPECT_THAT(document.error().message, StartsWith(file + ": cannot read it: "));
  }
}

TEST(Yaml, RemembersWhichKeysWereAskedFor) {
  auto document = YamlDocument::parse("list: [{a: 1}]", "f");
  YamlMap top(document->root());
  for (const YamlValue& item : top.find("list")->items()) {
    YamlMap map(item);
    map.find("a");
    map.find("b");
  }
  EXPECT_THAT(document->askedPaths(), ElementsAre("list", "list[].a", "list[].b"));
}

TEST(Yaml, BecomesJson) {
  const auto json = [](const std::string& text) {
    auto document = YamlDocument::parse(text, "f.yaml");
    EXPECT_TRUE(document.has_value()) << text;
    return document.has_value() ? document->root().json() : std::string();
  };
  EXPECT_EQ(json("{a: 1, b: [x, 'y', \"z\"], c: {}}\n"), R"({"a":1,"b":["x","y","z"],"c":{}})");
  EXPECT_EQ(json("[~, null, , yes, No, true, 'true', on]\n"),
            R"([null,null,null,true,false,true,"true",true])");
  EXPECT_EQ(json("[0x1F, '0x1F', !!str 1, -.inf]\n"), R"([31,"0x1F","1",-Infinity])");
  EXPECT_EQ(json("{yes: 1, 0x1F: 2, 'on': 3, .5: 4}\n"), R"({"true":1,"31":2,"on":3,"0.5":4})");
  EXPECT_EQ(json("a: &x {k: v}\nb: *x\n"), R"({"a":{"k":"v"},"b":{"k":"v"}})");
  EXPECT_EQ(json("s: |\n  two\n  \"lines\"\n"), R"({"s":"two\n\"lines\"\n"})");
}

}  // namespace
}  // namespace penstock
