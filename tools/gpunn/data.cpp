// gpunn data list: which data sets were found where.
#include "arguments.h"
#include "gpunn/io/json_writer.h"
#include "gpunn/training/data_paths.h"

namespace gpunn::tool {

namespace {

void list_json(const std::string& dir) {
  JsonWriter json;
  json.begin_array();
  for (const DataSetInfo& info : known_data_sets()) {
    const std::vector<DataPlace> places = data_places(info, dir);
    const DataPlace* found = nullptr;
    for (const DataPlace& place : places)
      if (!found && place.missing.empty()) found = &place;
    json.begin_object()
        .field("name", info.name)
        .field("summary", info.summary)
        .field("found", found != nullptr);
    json.field("origin", found ? found->origin : "").field("folder", found ? found->folder : "");
    json.key("places").begin_array();
    for (const DataPlace& place : places)
      json.begin_object()
          .field("origin", place.origin)
          .field("folder", place.folder)
          .field("missing", place.missing)
          .end_object();
    json.end_array().field("hint", info.hint).end_object();
  }
  print_line(json.end_array().take());
}

void list_text(const std::string& dir) {
  for (const DataSetInfo& info : known_data_sets()) {
    print_line(std::string(info.name) + ": " + info.summary);
    bool found = false;
    for (const DataPlace& place : data_places(info, dir)) {
      const std::string where =
          place.folder.empty() ? place.origin : place.folder + " (" + place.origin + ")";
      if (place.missing.empty()) {
        print_line((found ? "  also in " : "  found: ") + where);
        found = true;
      } else {
        print_line(
            "  not in " + where + ": lacks " + place.missing.front() +
            (place.missing.size() > 1 ? " and " + std::to_string(place.missing.size() - 1) + " more" : ""));
      }
    }
    if (!found) print_line(std::string("  to get it: ") + info.hint);
  }
}

}  // namespace

int run_data(Words words) {
  Common common;
  std::string action, dir;
  Arguments arguments("data list [options]",
                      "Says which data sets were found where, and how to get those that were not.",
                      {"gpunn data list", "gpunn data list --data ~/datasets --json"});
  arguments.positional("action", action, "list");
  arguments.option("--data", dir, "DIR", "look in this folder only");
  arguments.common(common);
  if (!arguments.parse(words)) return kOk;
  if (action.empty()) throw UsageError("expected an action: gpunn data list");
  if (action != "list") {
    const bool near = !nearest_name(action, {"list"}).empty();
    throw UsageError("no action of data is called '" + action + "'" +
                     (near ? ", did you mean 'list'?" : "; there is: list"));
  }
  common.json ? list_json(dir) : list_text(dir);
  return kOk;
}

}  // namespace gpunn::tool
