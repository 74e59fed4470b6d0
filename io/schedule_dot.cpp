// The schedule as a Graphviz graph.
#include <algorithm>
#include <array>
#include <unordered_map>

#include "gpunn/io/detail/utf8.h"
#include "gpunn/io/profile_summary.h"
#include "gpunn/io/schedule_view.h"

namespace gpunn {
namespace {

// Pale fills that black text can be read on, the host's first.
constexpr std::array kFills{"#e6e8eb", "#bcdcf5", "#f8d0b4", "#bfe6d4", "#e3ccef", "#f1dfa8", "#d6ecf8"};

std::string escaped(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t length = detail::utf8_length(text);
    const char c = text[0];
    if (length == 0)
      out += "\xef\xbf\xbd";
    else if (c == '"' || c == '\\')
      out += std::string("\\") + c;
    else if (static_cast<unsigned char>(c) < 0x20)
      out += ' ';
    else
      out += text.substr(0, length);
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return out;
}

const char* style_of(ScheduleEdge::Kept kept) {
  switch (kept) {
    case ScheduleEdge::Kept::event:
      return "style=bold, penwidth=2.5";
    case ScheduleEdge::Kept::same_stream:
      return "style=dashed, color=\"#8a9099\"";
    case ScheduleEdge::Kept::done:
    case ScheduleEdge::Kept::covered:
      return "style=dotted";
    case ScheduleEdge::Kept::host:
      return "color=\"#5c636d\"";
    case ScheduleEdge::Kept::none:
      break;
  }
  return "color=red, penwidth=2.5, label=\"not ordered\"";
}

std::string place_of(const Profile& profile, const ProfileRecord& r) {
  if (r.stream == ProfileRecord::kNone) return "cpu, " + profile.threads[r.thread];
  const Profile::Stream& s = profile.streams[r.stream];
  return s.device + " " + s.name;
}

}  // namespace

std::string schedule_dot(const Profile& profile, const ScheduleOptions& options) {
  std::vector<std::size_t> issues;
  for (std::size_t i = 0; i < profile.records.size(); ++i) {
    const ProfileKind kind = profile.records[i].kind;
    if (kind == ProfileKind::op || kind == ProfileKind::copy) issues.push_back(i);
  }
  std::stable_sort(issues.begin(), issues.end(), [&](std::size_t a, std::size_t b) {
    return profile.records[a].begin < profile.records[b].begin;
  });
  std::string title = options.title;
  if (issues.size() > options.max_issues) {
    title += ": the first " + std::to_string(options.max_issues) + " of " + std::to_string(issues.size()) +
             " issues";
    issues.resize(options.max_issues);
  }

  std::string out = "digraph schedule {\n  label=\"" + escaped(title) +
                    "\";\n  labelloc=t;\n  node [shape=box, style=filled, fontname=\"sans-serif\", "
                    "fontsize=11];\n  edge [fontname=\"sans-serif\", fontsize=9];\n";
  std::unordered_map<std::size_t, std::size_t> node;
  for (const std::size_t i : issues) {
    const ProfileRecord& r = profile.records[i];
    const std::size_t n = node.size();
    node.emplace(i, n);
    const std::size_t fill = r.stream == ProfileRecord::kNone ? 0 : 1 + r.stream % (kFills.size() - 1);
    out += "  n" + std::to_string(n) + " [label=\"" + escaped(profile.label(r));
    if (r.layer) out += "\\n" + escaped(profile.text(r.layer));
    out += "\\n" + escaped(place_of(profile, r)) + ", " + duration_text(r.time()) + "\", fillcolor=\"" +
           kFills[fill] + "\"];\n";
  }
  for (const ScheduleEdge& e : schedule_edges(profile)) {
    const auto from = node.find(e.from), to = node.find(e.to);
    if (from == node.end() || to == node.end()) continue;
    out += "  n" + std::to_string(from->second) + " -> n" + std::to_string(to->second) + " [" +
           style_of(e.kept) + (e.kind == ScheduleEdge::Kind::write_after_read ? ", arrowhead=empty" : "") +
           "];\n";
  }
  return out + "}\n";
}

}  // namespace gpunn
