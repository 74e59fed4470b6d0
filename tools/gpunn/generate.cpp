// gpunn generate MODEL: a stored model continues a text.
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdio>

#include "arguments.h"
#include "gpunn/core/error.h"
#include "gpunn/core/runtime.h"
#include "gpunn/io/file.h"
#include "gpunn/io/json_writer.h"
#include "gpunn/models/text_model.h"
#include "gpunn/training/interrupt.h"
#include "gpunn/training/utf8.h"

namespace gpunn::tool {

namespace {

constexpr std::uint64_t kMaxPrompt = std::uint64_t{16} << 20;

// As given; empty texts stand for the defaults that the help shows.
struct Flags {
  std::string model, prompt, prompt_file, device = "best";
  std::string tokens = "200", temperature = "1", top_k, top_p = "1", min_p = "0";
  std::string repetition = "1", frequency = "0", presence = "0";
  std::string beams = "1", best = "1", length_penalty = "1", seed = "0", threads = "0";
  std::vector<std::string> stops;
  bool greedy = false, stream = false, no_stream = false, has_prompt = false, slide = false;
};

std::int64_t whole_number(const char* flag, const std::string& text, double least, double most) {
  const double value = parse_number(flag, text, least, most);
  if (value != std::floor(value))
    throw UsageError(std::string(flag) + ": expected a whole number, got '" + text + "'");
  return static_cast<std::int64_t>(value);
}

GenerationOptions options_of(const Flags& f) {
  constexpr double kMany = 1e9, kPenalty = 100;
  GenerationOptions o;
  o.max_new_tokens = whole_number("--tokens", f.tokens, 0, kMany);
  o.num_beams = whole_number("--beams", f.beams, 1, 1024);
  o.num_results = whole_number("--best", f.best, 1, 1024);
  if (o.num_results > o.num_beams) throw UsageError("--best: expected at most as many texts as --beams");
  // Beams keep the most probable texts; nothing is drawn.
  o.sampling.greedy = f.greedy || o.num_beams > 1;
  o.sampling.temperature = parse_number("--temperature", f.temperature, 1e-6, 1e6);
  if (!f.top_k.empty()) o.sampling.top_k = whole_number("--top-k", f.top_k, 1, kMany);
  o.sampling.top_p = parse_number("--top-p", f.top_p, 1e-12, 1);
  o.sampling.min_p = parse_number("--min-p", f.min_p, 0, 1);
  o.repetition_penalty = parse_number("--repetition-penalty", f.repetition, 1e-3, kPenalty);
  o.frequency_penalty = parse_number("--frequency-penalty", f.frequency, -kPenalty, kPenalty);
  o.presence_penalty = parse_number("--presence-penalty", f.presence, -kPenalty, kPenalty);
  o.length_penalty = parse_number("--length-penalty", f.length_penalty, -kPenalty, kPenalty);
  // Larger ones would not be whole as doubles.
  o.seed = static_cast<std::uint64_t>(whole_number("--seed", f.seed, 0, 9007199254740992.0));
  for (const std::string& stop : f.stops)
    if (stop.empty()) throw UsageError("--stop: expected a text, got an empty one");
  o.stop_strings = f.stops;
  if (f.slide) o.beyond_context = BeyondContext::slide;
  return o;
}

// One line end at the end of a file or pipe is the file's, not the prompt's.
std::string without_line_end(std::string text) {
  if (!text.empty() && text.back() == '\n') text.pop_back();
  if (!text.empty() && text.back() == '\r') text.pop_back();
  return text;
}

std::string prompt_of(const Flags& f) {
  if (f.has_prompt && !f.prompt_file.empty())
    throw UsageError("expected --prompt or --prompt-file, got both");
  if (f.has_prompt) return f.prompt;
  if (!f.prompt_file.empty()) return without_line_end(read_text_file(f.prompt_file, kMaxPrompt));
  // Nobody types a prompt without being asked: the model's own beginning then.
  if (::isatty(STDIN_FILENO) == 1) return "";
  return without_line_end(read_text_file("/dev/stdin", kMaxPrompt));
}

struct Run {
  std::string prompt;
  std::vector<Generated> texts;
  double seconds = 0;
};

std::int64_t token_count(const Run& run) {
  std::int64_t count = 0;
  for (const Generated& text : run.texts) count += std::ssize(text.tokens);
  return count;
}

void print_json(const Flags& f, const TextModel& model, Device device, const Run& run) {
  JsonWriter json;
  json.begin_object().field("model", f.model).field("description", model.describe());
  json.field("device", to_string(device)).field("prompt", run.prompt).key("texts").begin_array();
  for (const Generated& text : run.texts) {
    json.begin_object().field("text", text.text).field("tokens", text.tokens);
    json.field("stop", to_string(text.stop)).key("score");
    run.texts.size() > 1 || f.beams != "1" ? json.value(text.score) : json.value(nullptr);
    json.end_object();
  }
  json.end_array().field("seconds", run.seconds);
  json.field("tokens_per_second", static_cast<double>(token_count(run)) / run.seconds).end_object();
  print_line(json.take());
}

// At once: a text is read while it grows.
void put(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

int generate(const Flags& f, GenerationOptions options, const Common& common) {
  const std::string prompt = prompt_of(f);
  const Device device = open_device(f.device);
  if (const std::int64_t threads = whole_number("--threads", f.threads, 0, 1024); threads > 0)
    Runtime::current().set_threads(static_cast<int>(threads));
  const DeviceScope scope(device);
  const std::unique_ptr<TextModel> model = open_text_model(f.model, device);
  options.piece = [&](std::int64_t id) { return model->piece(id); };
  options.start_token = model->start_token();
  options.stop_tokens = model->stop_tokens();
  Run run{.prompt = prompt, .texts = {}, .seconds = 0};
  const std::vector<std::int64_t> ids = model->encode(prompt);
  if (ids.empty() && !options.start_token) throw UsageError("this model needs a prompt: --prompt TEXT");
  if (!common.quiet) std::fprintf(stderr, "%s on %s\n", model->describe().c_str(), to_string(device).c_str());

  const bool stream = !common.json && !f.no_stream && options.num_beams == 1;
  // A signal ends the text after the token at hand.
  InterruptScope interrupts;
  if (stream) put(prompt);
  if (options.num_beams == 1)
    options.on_token = [&](const GenerationEvent& event) {
      if (stream) put(event.text);
      return interrupt_signal() == 0;
    };
  const auto begin = std::chrono::steady_clock::now();
  run.texts = model->generate(std::span(&ids, 1), options);
  run.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();

  if (common.json) {
    print_json(f, *model, device, run);
  } else if (stream) {
    print_line("");
  } else {
    for (const Generated& text : run.texts) print_line(prompt + text.text);
  }
  if (!common.quiet) {
    std::fprintf(stderr, "%lld tokens in %.2f s (%.0f a second)", static_cast<long long>(token_count(run)),
                 run.seconds, static_cast<double>(token_count(run)) / run.seconds);
    if (interrupt_signal() != 0)
      std::fprintf(stderr, ", stopped by signal %d", interrupt_signal());
    else if (!run.texts.empty())
      std::fprintf(stderr, ", ended by %s", to_string(run.texts.front().stop));
    std::fputc('\n', stderr);
  }
  return interrupt_signal() != 0 ? kSignal + interrupt_signal() : kOk;
}

std::string kinds() {
  std::string out = "MODEL is a folder with one of:";
  for (const TextModelKind& kind : text_model_kinds()) out += std::string("\n  ") + kind.files;
  return out +
         "\nWithout --prompt and --prompt-file the prompt is read from standard input, unless that is a\n"
         "terminal. Equal seeds give equal texts, on every device as far as the logits are equal.\n"
         "JSON: "
         "{\"model\",\"description\",\"device\",\"prompt\",\"texts\":[{\"text\",\"tokens\",\"stop\","
         "\"score\"}],"
         "\"seconds\",\n\"tokens_per_second\"}; stop is length, token, text, context or caller; score is of "
         "beams.";
}

}  // namespace

int run_generate(Words words) {
  Flags f;
  Common common;
  Arguments arguments(
      "generate MODEL [options]", "Continues a text with a stored model.",
      {"gpunn generate runs/shakespeare-lstm-20260101-120000 --prompt \"ROMEO:\" --temperature 0.8",
       "gpunn generate RUN --tokens 500 --top-p 0.9 --seed 3 --stop \"JULIET:\" --json",
       "echo \"To be\" | gpunn generate RUN --beams 4 --tokens 40"});
  arguments.positional("model", f.model, "folder of a run, or of a stored model");
  arguments.option_if_given("--prompt", f.prompt, f.has_prompt, "TEXT", "what to continue");
  arguments.option("--prompt-file", f.prompt_file, "FILE",
                   "the same from a file, less a line end at its end");
  arguments.option("--tokens", f.tokens, "N", "most tokens to write [200]");
  arguments.flag("--greedy", f.greedy, "always the most probable token");
  arguments.option("--temperature", f.temperature, "X", "below 1: bolder on what is probable [1]");
  arguments.option("--top-k", f.top_k, "N", "only the N most probable tokens");
  arguments.option("--top-p", f.top_p, "X", "only the fewest most probable tokens with this sum [1]");
  arguments.option("--min-p", f.min_p, "X", "only tokens with this part of the largest probability [0]");
  arguments.option("--repetition-penalty", f.repetition, "X", "above 1: less of what stands there [1]");
  arguments.option("--frequency-penalty", f.frequency, "X", "off a logit for each time it was written [0]");
  arguments.option("--presence-penalty", f.presence, "X", "off a logit that was written [0]");
  arguments.option("--beams", f.beams, "N", "above 1: beam search, for the most probable text [1]");
  arguments.option("--best", f.best, "N", "how many of the beams' texts [1]");
  arguments.option("--length-penalty", f.length_penalty, "X", "above 0: longer texts of beams [1]");
  arguments.list("--stop", f.stops, "TEXT", "end before this text; may be given several times");
  arguments.option("--seed", f.seed, "N", "seed of the draws [0]");
  arguments.flag("--slide", f.slide, "go on beyond the model's context with the last part of the text");
  arguments.flag("--stream", f.stream, "write while the text grows (the default)");
  arguments.flag("--no-stream", f.no_stream, "write the whole text at the end");
  arguments.option("--device", f.device, "D", "cpu, cuda, cuda:N or best [best]");
  arguments.option("--threads", f.threads, "N", "CPU threads, 0: all cores [0]");
  arguments.footer(kinds());
  arguments.common(common);
  if (!arguments.parse(words)) return kOk;
  if (f.model.empty()) throw UsageError("expected the folder of a model");
  if (f.stream && f.no_stream) throw UsageError("expected --stream or --no-stream, got both");
  return generate(f, options_of(f), common);
}

}  // namespace gpunn::tool
