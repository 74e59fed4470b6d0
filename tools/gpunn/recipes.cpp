// gpunn recipes: what can be trained.
#include "arguments.h"
#include "gpunn/io/json_writer.h"
#include "gpunn/models/recipes/recipe.h"

namespace gpunn::tool {

int run_recipes(Words words) {
  Common common;
  Arguments arguments("recipes [options]",
                      "Lists the recipes: their model, data and the figure each must reach.",
                      {"gpunn recipes", "gpunn recipes --json"});
  arguments.common(common);
  if (!arguments.parse(words)) return kOk;

  if (common.json) {
    JsonWriter json;
    json.begin_array();
    for (const Recipe* r : recipes())
      json.begin_object()
          .field("name", r->name)
          .field("section", r->section)
          .field("summary", r->summary)
          .field("data", r->data)
          .field("figure", r->figure)
          .end_object();
    print_line(json.end_array().take());
    return kOk;
  }
  std::string section;
  for (const Recipe* r : recipes()) {
    if (section != r->section) {
      print_line((section.empty() ? "" : "\n") + std::string(r->section));
      section = r->section;
    }
    std::string name = r->name;
    name.resize(18, ' ');
    print_line("  " + name + r->summary + "\n" + std::string(20, ' ') + "data " + r->data + "; " + r->figure);
  }
  return kOk;
}

}  // namespace gpunn::tool
