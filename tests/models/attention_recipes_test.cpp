// Recipes of attention and transformers: small runs of each, runs that are stopped and resumed, and what they
// refuse.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/core/error.h"
#include "gpunn/core/random.h"
#include "gpunn/io/safetensors.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/models/sentence_encoder.h"
#include "gpunn/models/text_model.h"
#include "tests/models/recipe_testing.h"
#include "tests/support/gpt2_folder.h"

namespace gpunn {
namespace {

using testing::full_length;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr const char* kLarge = "its evaluation is of hundreds of rows, too many for a GPU that is emulated";

class AttentionRecipeTest : public testing::RecipeTest {
 protected:
  RecipeResult stopped_run(const char* recipe, const std::string& json, int after) {
    RecipeHooks hooks;
    int asked = 0;
    hooks.stop = [&] { return ++asked == after; };
    return run(recipe, json, hooks, "part");
  }
  // A run that is stopped and goes on ends, bit for bit, as one that was never stopped: `whole` in "run".
  void expect_resumes(const char* recipe, const std::string& json, int after, const RecipeResult& whole) {
    const RecipeResult stopped = stopped_run(recipe, json, after);
    EXPECT_TRUE(stopped.stopped);
    EXPECT_FALSE(stopped.reached);
    EXPECT_EQ(stopped.steps, after);
    EXPECT_NE(stopped.weights_sha256, whole.weights_sha256);
    RecipeHooks hooks;
    hooks.resume = true;
    const RecipeResult resumed = run(recipe, json, hooks, "part");
    EXPECT_EQ(resumed.steps, whole.steps);
    EXPECT_EQ(resumed.weights_sha256, whole.weights_sha256);
    EXPECT_EQ(resumed.train_loss, whole.train_loss);
    EXPECT_EQ(resumed.test_loss, whole.test_loss);
    EXPECT_EQ(resumed.metrics, whole.metrics);
    const std::string file = "/checkpoint.safetensors";
    EXPECT_TRUE(read_file(path_ + "/part" + file) == read_file(path_ + "/run" + file));
  }
  void write_plays() {
    std::string text;
    for (int i = 0; i < 40; ++i)
      text += "All the world's a stage,\nand all the men and women merely players.\n";
    write_data("text/tinyshakespeare.txt", text);
  }
};
GPUNN_ON_EVERY_DEVICE(AttentionRecipeTest);

TEST_P(AttentionRecipeTest, TwoPositionsAreTheClosedForm) {
  const RecipeResult result = run("attention-demo", "{}");
  EXPECT_TRUE(result.reached);
  EXPECT_LE(metric(result, "worst_error"), 1e-6);
  EXPECT_LE(metric(result, "row_error"), 1e-6);
  // e^(1 / sqrt 2) / (e^(1 / sqrt 2) + 1) of (10, 20), the rest of (30, 40).
  expect_report(result, {"0.669761", "16.6047", "Layer 1, head 8", "tired"});
}

TEST_P(AttentionRecipeTest, PositionsTurn) {
  const RecipeResult result = run("positional-encoding", "{}");
  EXPECT_TRUE(result.reached);
  EXPECT_LE(metric(result, "worst_error"), 1e-6);
  expect_report(result, {"A step is a turn", "Products of positions", "feature 64"});
}

TEST_P(AttentionRecipeTest, ShakespeareGpt) {
  write_plays();
  const std::string sizes = "{" + data() + R"(, "layers": 1, "heads": 2, "features": 8, "length": 6,
      "batch_size": 4, "sample": 5, "dropout": 0.2, )";
  const std::string json = sizes + R"("steps": 5})";
  const RecipeResult result = run("shakespeare-gpt", json);
  EXPECT_EQ(result.steps, 5);
  EXPECT_FALSE(result.reached);
  EXPECT_NEAR(metric(result, "validation_loss"), std::log(21.0), 0.6);
  EXPECT_EQ(metric(result, "parameters"), 21 * 8 + 6 * 8 + 12 * 8 * 8 + 13 * 8 + 2 * 8);
  expect_report(result, {"Before training:", "After 5 steps:", "Layer 1, head 2", "Gpt2"});
  EXPECT_EQ(open_text_model(result.run_dir, device())->describe(), "GPT of 21 characters, 1 layer of 8");
  expect_resumes("shakespeare-gpt", json, 3, result);
  EXPECT_NE(read_text_file(path_ + "/part/report.html").find("Before training:"), std::string::npos);
  EXPECT_THROW(run("shakespeare-gpt", sizes + R"("heads": 3})"), DataError) << "a setting twice";
  EXPECT_THAT([&] { run("shakespeare-gpt", "{" + data() + R"(, "heads": 3, "features": 8, "length": 6})"); },
              ThrowsMessage<InvalidArgument>(HasSubstr("heads")));
  if (!full_length(device())) return;
  const RecipeResult learnt = run("shakespeare-gpt", "{" + data() + R"(, "layers": 1, "heads": 2,
      "features": 32, "length": 24, "batch_size": 8, "sample": 5, "steps": 300})",
                                  {}, "learnt");
  EXPECT_LT(metric(learnt, "validation_loss"), 0.5);
  EXPECT_TRUE(learnt.reached);
}

// Samples that were drawn before a run was stopped are shown after it went on, at the steps of theirs.
TEST_P(AttentionRecipeTest, SamplesGoOnWithTheRun) {
  if (!device().is_cpu()) GTEST_SKIP() << "hundreds of steps, and nothing of the device";
  write_plays();
  const std::string json = "{" + data() + R"(, "layers": 1, "heads": 1, "features": 2, "length": 2,
      "batch_size": 1, "sample": 3, "steps": 503})";
  const RecipeResult whole = run("shakespeare-gpt", json);
  stopped_run("shakespeare-gpt", json, 501);
  RecipeHooks hooks;
  hooks.resume = true;
  const RecipeResult resumed = run("shakespeare-gpt", json, hooks, "part");
  const auto samples = [](const RecipeResult& r) {
    const std::string page = read_text_file(r.report);
    const std::size_t begin = page.find("Before training:");
    return begin == std::string::npos ? page : page.substr(begin, page.find("<h2", begin) - begin);
  };
  EXPECT_EQ(samples(resumed), samples(whole));
  EXPECT_THAT(samples(whole), ::testing::AllOf(HasSubstr("After 500 steps:"), HasSubstr("After 503 steps:"),
                                               Not(HasSubstr("After 501"))));
}

TEST_P(AttentionRecipeTest, BertGuessesHiddenCharacters) {
  if (!device().is_cpu()) GTEST_SKIP() << kLarge;
  write_plays();
  const std::string json = "{" + data() + R"(, "layers": 1, "heads": 2, "features": 8, "inner": 16,
      "length": 12, "batch_size": 64, "dropout": 0.1, "steps": 4})";
  const RecipeResult result = run("bert-mlm", json);
  EXPECT_EQ(result.steps, 4);
  EXPECT_FALSE(result.reached);
  // 'e' and ' ' are counted by hand in the two lines: 12 blanks of 68 characters are the most.
  EXPECT_NEAR(metric(result, "baseline_accuracy"), 0.16, 0.03);
  EXPECT_LE(metric(result, "masked_accuracy"), 1);
  EXPECT_GT(metric(result, "next_accuracy"), 0.2);
  EXPECT_LT(metric(result, "next_accuracy"), 0.8);
  expect_report(result, {"Guesses", "What each head attends to", "Layer 1, head 2"});
  expect_resumes("bert-mlm", json, 3, result);
}

TEST_P(AttentionRecipeTest, T5WritesPairs) {
  if (!device().is_cpu()) GTEST_SKIP() << kLarge;
  const std::string json = R"({"layers": 1, "heads": 2, "features": 4, "inner": 4, "batch_size": 4,
      "dropout": 0.1, "steps": 3, "test_rows": 12})";
  const RecipeResult result = run("t5-toy", json);
  EXPECT_EQ(result.steps, 3);
  EXPECT_FALSE(result.reached);
  EXPECT_LT(metric(result, "exact_match"), 0.05);
  EXPECT_GE(metric(result, "exact_match_number"), 0);
  expect_report(result, {"Answers", "wanted", "Where the decoder looks", "Layer 1, head 2"});
  expect_resumes("t5-toy", json, 2, result);
  EXPECT_THROW(run("t5-toy", R"({"heads": 3, "features": 4})"), InvalidArgument);
}

TEST_P(AttentionRecipeTest, VisionTransformerSeesBands) {
  const bool whole = full_length(device());
  const auto label = [](int row) { return row % 10; };
  const auto pixel = [](int row, int p) {
    return static_cast<std::uint8_t>(p / 28 / 2 == row % 10 ? 220 : (p * 7 + row * 13) % 40);
  };
  for (const auto& [part, count] : {std::pair{"train", whole ? 200 : 20}, {"t10k", 10}})
    testing::write_pictures(path_ + "/data/fashion-mnist", part, count, label, pixel);
  const std::string sizes = "{" + data() + R"(, "layers": 1, "heads": 2, "patch": 14, "inner": 16, )";
  const std::string json = sizes + R"("features": 8, "epochs": 2, "batch_size": 10})";  // two steps an epoch
  const RecipeResult result = run("vit", json);
  EXPECT_EQ(result.steps, whole ? 40 : 4);
  EXPECT_LE(metric(result, "test_accuracy"), 1);
  expect_report(result, {"Where the class token looks", "head 1", "Confusion"});
  expect_resumes("vit", json, 3, result);
  EXPECT_THROW(run("vit", "{" + data() + R"(, "patch": 5})"), InvalidArgument) << "28 is no multiple of 5";
  if (!whole) return;
  const RecipeResult learnt = run("vit", sizes + R"("features": 32, "epochs": 30, "batch_size": 20,
      "lr": 0.003, "warmup_steps": 10})",
                                  {}, "learnt");
  EXPECT_EQ(metric(learnt, "test_accuracy"), 1);
  EXPECT_TRUE(learnt.reached);
}

class Gpt2RecipeTest : public testing::RecipeTest {
 protected:
  // The user's own files must not be found.
  Gpt2RecipeTest() {
    for (const char* name : {"GPUNN_DATA_DIR", "XDG_CACHE_HOME"}) {
      const char* value = std::getenv(name);
      before_.emplace_back(name, value ? value : "");
      ::setenv(name, path_.c_str(), 1);
    }
  }
  ~Gpt2RecipeTest() override {
    for (const auto& [name, value] : before_)
      value.empty() ? ::unsetenv(name.c_str()) : ::setenv(name.c_str(), value.c_str(), 1);
  }
  static constexpr const char* kSmall = R"("layers": 1, "heads": 2, "features": 8, "vocabulary": 20,
      "length": 6, "batch_size": 2, "lr": 0.01)";

 private:
  std::vector<std::pair<std::string, std::string>> before_;
};
GPUNN_ON_EVERY_DEVICE(Gpt2RecipeTest);

TEST_P(Gpt2RecipeTest, WithoutFilesStepsAreTrained) {
  const RecipeResult result = run("gpt2", std::string(R"({"steps": 4, )") + kSmall + "}");
  EXPECT_EQ(result.steps, 4);
  EXPECT_TRUE(result.reached);
  EXPECT_NEAR(metric(result, "first_loss"), std::log(20.0), 0.3);
  EXPECT_EQ(metric(result, "expected_loss"), std::log(20.0));
  EXPECT_LT(result.train_loss, metric(result, "first_loss"));
  // All but the 1024 positions take part in a product.
  const double weights = 20 * 8 + 12 * 8 * 8 + 13 * 8 + 2 * 8;
  EXPECT_EQ(metric(result, "parameters"), weights + 1024 * 8);
  EXPECT_NEAR(metric(result, "flops_per_second") / metric(result, "tokens_per_second"),
              6 * weights + 12 * 1 * 8 * 6, 1e-6);
  EXPECT_GT(result.steps_per_second, 0);
  const std::string lines = read_text_file(result.run_dir + "/metrics.jsonl");
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 4);
  expect_report(result, {"Training steps", "a second", "reserved"});

  // What cannot be learnt is not called learnt.
  const RecipeResult same = run("gpt2", std::string(R"({"steps": 2, )") + kSmall + R"(, "seed": 1})");
  EXPECT_NE(same.weights_sha256, result.weights_sha256);
  std::string still = std::string(R"({"steps": 2, )") + kSmall + "}";
  still.replace(still.find("0.01"), 4, "0");
  EXPECT_FALSE(run("gpt2", still).reached);
  RecipeHooks hooks;
  hooks.stop = [] { return true; };
  const RecipeResult stopped = run("gpt2", std::string(R"({"steps": 4, )") + kSmall + "}", hooks);
  EXPECT_TRUE(stopped.stopped);
  EXPECT_EQ(stopped.steps, 1);
  EXPECT_FALSE(stopped.reached);
}

TEST_P(Gpt2RecipeTest, PublishedFilesAreContinuedAndCompared) {
  const std::string folder = path_ + "/data/gpt2", logits = folder + "/logits.safetensors";
  testing::write_gpt2_folder(folder);
  const std::string json = "{" + data() + R"(, "prompt": "the other", "tokens": 5})";
  const RecipeResult alone = run("gpt2", json);
  EXPECT_FALSE(alone.reached) << "nothing to compare with";
  EXPECT_GT(metric(alone, "tokens_per_second"), 0);
  expect_report(alone, {"the other", "There is no logits.safetensors", "gpt2_logits.py"});
  // Found without being named, too.
  ::setenv("GPUNN_DATA_DIR", (path_ + "/data").c_str(), 1);
  EXPECT_EQ(run("gpt2", R"({"prompt": "the other", "tokens": 5})").weights_sha256, alone.weights_sha256);

  const Tensor tokens = Tensor::from(std::vector<std::int64_t>{1, 200, 30, 4, 5, 266}, {2, 3});
  const auto store = [&](const Tensor& ids, const Tensor& values) {
    write_safetensors(logits, std::vector<NamedTensor>{{"tokens", ids}, {"logits", values}});
  };
  const NoGrad no_grad;
  Gpt2 model = testing::tiny_gpt2();
  model.eval();
  const Tensor right = model(tokens);
  store(tokens, right);
  const RecipeResult equal = run("gpt2", json);
  EXPECT_TRUE(equal.reached);
  EXPECT_LE(metric(equal, "logit_error"), 1e-5);
  expect_report(equal, {"largest difference", "Logits"});
  std::vector<float> values = right.to_vector<float>();
  values.back() += 0.01F;
  store(tokens, Tensor::from(values, right.shape()));
  const RecipeResult wrong = run("gpt2", json);
  EXPECT_FALSE(wrong.reached);
  EXPECT_NEAR(metric(wrong, "logit_error"), 0.01, 1e-4);

  const auto refuses = [&](const std::string& part) {
    EXPECT_THAT([&] { run("gpt2", json); },
                ThrowsMessage<DataError>(::testing::AllOf(HasSubstr(logits), HasSubstr(part))));
  };
  store(tokens, right.narrow(0, 0, 1).contiguous());
  refuses("expected logits [2, 3, 272], got [1, 3, 272]");
  store(tokens.to(DType::f32), right);
  refuses("expected tokens i64");
  store(zeros({1, 13}, {.dtype = DType::i64}), right);
  refuses("up to 12]");
  store(tokens + 270, right);
  refuses("token");
  std::filesystem::remove(folder + "/merges.txt");
  EXPECT_THAT([&] { run("gpt2", json); }, ThrowsMessage<DataError>(HasSubstr("merges.txt")));
}

class SentenceEncoderTest : public testing::RecipeTest {};
GPUNN_ON_EVERY_DEVICE(SentenceEncoderTest);

TEST_P(SentenceEncoderTest, PaddingChangesNoLogit) {
  manual_seed(1);
  SentenceEncoder model({.words = 12, .features = 8, .heads = 2, .layers = 2, .context = 6});
  model.to(device());
  model.eval();
  const NoGrad no_grad;
  const auto tokens = [&](std::vector<std::int64_t> ids, std::int64_t rows) {
    const auto columns = static_cast<std::int64_t>(ids.size()) / rows;
    return Tensor::from(ids, {rows, columns}).to(device());
  };
  const auto logits = [&](std::vector<std::int64_t> ids, std::int64_t rows) {
    return model(tokens(std::move(ids), rows)).to_vector<float>();
  };
  const std::vector<float> alone = logits({3, 4}, 1), longer = logits({5, 6, 7, 8, 9}, 1),
                           both = logits({3, 4, 0, 0, 0, 0, 5, 6, 7, 8, 9, 0}, 2);
  for (std::size_t c = 0; c < 2; ++c) {
    EXPECT_NEAR(both[c], alone[c], 1e-5);
    EXPECT_NEAR(both[2 + c], longer[c], 1e-5);
  }
  EXPECT_GT(std::abs(logits({4, 3}, 1)[0] - alone[0]), 1e-5) << "the order of words matters";
  EXPECT_THROW(logits({0, 0}, 1), InvalidArgument);
  EXPECT_THROW(logits({1, 2, 3, 4, 5, 6, 7}, 1), InvalidArgument) << "beyond the context";
  EXPECT_THROW(SentenceEncoder({.embedding_scale = 0}), InvalidArgument);
  EXPECT_THROW(SentenceEncoder({.features = 8, .heads = 3}), InvalidArgument);

  const std::vector<Tensor> maps = model.attention_maps(tokens({3, 4, 0}, 1));
  ASSERT_EQ(maps.size(), 2U);
  ASSERT_EQ(maps[0].shape(), (Shape{1, 2, 3, 3}));
  const std::vector<float> map = maps[0].to_vector<float>();
  for (std::size_t row = 0; row < 6; ++row) {
    EXPECT_NEAR(map[row * 3] + map[row * 3 + 1], 1, 1e-6);
    EXPECT_EQ(map[row * 3 + 2], 0) << "nothing looks at padding";
  }
}

TEST_P(SentenceEncoderTest, SentimentLearnsWords) {
  const bool whole = full_length(device());
  const std::vector<std::string> good{"superb", "lovely", "brilliant"}, bad{"awful", "dull", "dreadful"},
      plain{"film", "the", "plot", "actor", "scene", "with", "a"};
  PhiloxStream random(3, 1);
  for (const auto& [file, words] :
       {std::pair{"sentiment/rt-polarity.neg", bad}, {"sentiment/rt-polarity.pos", good}}) {
    std::string text;
    for (int i = 0; i < (whole ? 300 : 20); ++i) {
      const std::size_t length = 2 + random.below(9), at = random.below(length);
      for (std::size_t w = 0; w < length; ++w)
        text += (w == at ? words[random.below(3)] : plain[random.below(7)]) + " ";
      text += ".\n";
    }
    write_data(file, text);
  }
  const std::string json =
      "{" + data() + R"(, "model": "transformer", "heads": 2, )" +
      (whole ? R"("epochs": 6, "batch_size": 16, "lr": 0.01, "embedding": 16})"
             : R"("epochs": 2, "batch_size": 12, "steps": 4, "embedding": 4, "max_length": 6})");
  const RecipeResult result = run("sentiment", json);
  if (whole) {
    EXPECT_GE(metric(result, "test_accuracy"), 0.98);
    EXPECT_TRUE(result.reached);
  } else {
    EXPECT_EQ(result.steps, 4);
  }
  expect_report(result, {"What each word looks at", "Layer 1, head 2", "Six reviews"});
  bool attends = false;
  for (const auto& [name, tensor] : load_safetensors(result.run_dir + "/weights.safetensors"))
    attends = attends || name.find("self_attn") != std::string::npos;
  EXPECT_TRUE(attends);

  int asked = 0;
  RecipeHooks stop, resume;
  stop.stop = [&] { return ++asked == 3; };
  resume.resume = true;
  EXPECT_NE(run("sentiment", json, stop, "part").weights_sha256, result.weights_sha256);
  const RecipeResult resumed = run("sentiment", json, resume, "part");
  EXPECT_EQ(resumed.weights_sha256, result.weights_sha256);
  EXPECT_EQ(resumed.metrics, result.metrics);
  EXPECT_THROW(run("sentiment", "{" + data() + R"(, "model": "transformer", "heads": 3, "embedding": 4})"),
               InvalidArgument);
  EXPECT_THROW(run("sentiment", "{" + data() + R"(, "model": "perceptron"})"), DataError);
}

}  // namespace
}  // namespace gpunn
