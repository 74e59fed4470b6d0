#include "gpunn/io/detail/report_style.h"

#include "gpunn/core/error.h"

namespace gpunn::detail {
namespace {

// Series colours: Okabe and Ito's set, which colour-blind readers can tell apart, darkened (light page) or
// lightened (dark page) until each has at least 3 : 1 contrast with the background; text colours have at
// least 4.5 : 1.
constexpr const char* kLight =
    "color-scheme:light;--bg:#fff;--surface:#f6f7f8;--fg:#1c1f23;--muted:#5c636d;--grid:#e6e8eb;--axis:#"
    "b4bac2;"
    "--accent:#0b63a5;--good:#14734a;--bad:#b3261e;"
    "--s0:#0b63a5;--s1:#cc5508;--s2:#178259;--s3:#8a55a3;--s4:#a87800;--s5:#3b8fc0;--s6:#747a83;";
constexpr const char* kDark =
    "color-scheme:dark;--bg:#15171a;--surface:#1e2125;--fg:#e5e7ea;--muted:#9ba2ac;--grid:#2b2f35;--axis:#"
    "4a5059;"
    "--accent:#63b1ee;--good:#5cc791;--bad:#ff8d84;"
    "--s0:#63b1ee;--s1:#f18c4e;--s2:#52c697;--s3:#c99ee2;--s4:#dfb54b;--s5:#a4d7f4;--s6:#a8aeb7;";

constexpr const char* kDrawing = R"(
svg{font:12px system-ui,-apple-system,"Segoe UI","Noto Sans","DejaVu Sans",sans-serif;font-variant-numeric:tabular-nums;display:block;max-width:100%;height:auto}
svg text{fill:var(--fg)}
svg .tick,svg .muted{fill:var(--muted)}
svg .title{font-size:14px;font-weight:600}
svg .end{text-anchor:end}
svg .middle{text-anchor:middle}
svg .inverse{fill:var(--bg)}
svg .grid{stroke:var(--grid);shape-rendering:crispEdges}
svg .axis{stroke:var(--axis);shape-rendering:crispEdges}
svg .reference{stroke:var(--muted);stroke-dasharray:2 3}
svg polyline{fill:none;stroke-width:1.75;stroke-linejoin:round;stroke-linecap:round}
svg .contour{stroke:var(--axis);stroke-width:1.1}
svg .ring{fill:var(--bg);stroke-width:1.75}
svg .dashed{stroke-dasharray:6 4}
svg .medium{stroke-width:2}
svg .wide{stroke-width:3}
svg .faint{opacity:.3}
svg .accent{fill:var(--accent)}
svg .quiet{fill:var(--s6);opacity:.55}
svg .track{fill:var(--grid)}
svg .good{fill:var(--good)}
svg .bad{fill:var(--bad)}
svg .box{fill:var(--surface);stroke:var(--axis)}
svg .hit{fill:transparent;stroke:none}
svg .hover:hover .hit{fill:currentColor;fill-opacity:.3}
svg .halo{paint-order:stroke;stroke:var(--bg);stroke-width:4px;stroke-linejoin:round}
svg .cell:hover rect{stroke:var(--fg);stroke-width:1}
svg image{image-rendering:pixelated}
)";

constexpr const char* kPage = R"(
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--fg);font:15px/1.55 system-ui,-apple-system,"Segoe UI","Noto Sans","DejaVu Sans",sans-serif;font-variant-numeric:tabular-nums}
main{max-width:1000px;margin:0 auto;padding:40px 20px 64px}
header{display:flex;justify-content:space-between;align-items:flex-start;gap:24px;margin-bottom:28px}
h1{font-size:28px;line-height:1.2;margin:0;letter-spacing:-.01em}
h2{font-size:18px;line-height:1.3;margin:44px 0 16px;padding-top:16px;border-top:1px solid var(--grid)}
h3{font-size:14px;margin:0 0 8px}
p{margin:0 0 14px;max-width:70ch}
.subtitle{color:var(--muted);margin:6px 0 0;max-width:none}
.theme{color:var(--muted);font-size:12px;white-space:nowrap;cursor:pointer;user-select:none;padding-top:8px}
.theme input{accent-color:var(--accent);vertical-align:-2px;margin:0 4px 0 0}
.figures{display:grid;grid-template-columns:repeat(auto-fill,minmax(184px,1fr));gap:12px;margin-bottom:28px}
.figure{background:var(--surface);border-radius:8px;padding:14px 16px;border-left:3px solid var(--axis)}
.figure.good{border-color:var(--good)}
.figure.bad{border-color:var(--bad)}
.figure b{display:block;font-size:25px;line-height:1.25;font-weight:600;overflow-wrap:anywhere}
.figure span,.figure small{color:var(--muted);display:block;font-size:12.5px;line-height:1.4}
.figure.good small{color:var(--good)}
.figure.bad small{color:var(--bad)}
.charts{display:flex;flex-wrap:wrap;align-items:flex-start;gap:28px 24px;margin:0 0 28px}
.charts svg{flex:none;overflow:visible}
.block{margin:0 0 28px}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:13.5px}
td,th{text-align:left;padding:5px 20px 5px 0;border-bottom:1px solid var(--grid);vertical-align:top;overflow-wrap:break-word}
th{font-weight:600;color:var(--muted);white-space:nowrap}
.number{text-align:right}
pre{background:var(--surface);border-radius:8px;padding:14px 16px;margin:0;font:12.5px/1.5 ui-monospace,"DejaVu Sans Mono",monospace;white-space:pre-wrap;overflow-wrap:anywhere}
.pictures{display:flex;flex-wrap:wrap;gap:14px}
.pictures figure{margin:0;font-size:12px;color:var(--muted);text-align:center}
img{image-rendering:pixelated;display:block;background:var(--surface)}
.pictures img{margin:0 auto 4px}
.predictions{display:grid;grid-template-columns:repeat(auto-fill,minmax(296px,1fr));gap:14px}
.prediction{background:var(--surface);border-radius:8px;padding:14px;display:grid;grid-template-columns:84px 1fr;gap:6px 14px}
.prediction img{width:84px;height:84px;object-fit:contain;border-radius:4px}
.caption{grid-column:1/-1;font-size:12.5px;color:var(--muted)}
.verdict{grid-column:1/-1;font-size:13.5px;font-weight:600}
.verdict.good{color:var(--good)}
.verdict.bad{color:var(--bad)}
.verdict small{font-weight:400;color:var(--muted);font-size:12.5px}
.bars{display:grid;grid-template-columns:minmax(0,max-content) minmax(32px,1fr) max-content;gap:1px 8px;font-size:11.5px;line-height:15px;align-content:start}
.bars span{overflow:hidden;text-overflow:ellipsis;white-space:nowrap;max-width:92px}
.bars i{align-self:center;height:7px;border-radius:2px;background:var(--grid);overflow:hidden}
.bars i u{display:block;height:100%;background:var(--s6)}
.bars .top{font-weight:600}
.bars .top u{background:var(--accent)}
.bars em{font-style:normal;color:var(--muted);text-align:right}
.note{color:var(--bad)}
footer{margin-top:48px;padding-top:14px;border-top:1px solid var(--grid);color:var(--muted);font-size:12px}
@media print{.theme{display:none}}
)";

std::string series_classes() {
  std::string out;
  for (const char n : {'0', '1', '2', '3', '4', '5', '6'}) {
    out += concat("svg .s", n, "{stroke:var(--s", n, ");color:var(--s", n, ")}svg .f", n, "{fill:var(--s", n,
                  ")}");
  }
  return out + "\n";
}

}  // namespace

std::string drawing_style() {
  const std::string light = kLight, dark = kDark;
  // A ticked box, without script, turns the reader's own setting round.
  return ":root{" + light + "}\n@media(prefers-color-scheme:dark){:root{" + dark +
         "}}\n:root:has(#theme:checked){" + dark +
         "}\n@media(prefers-color-scheme:dark){:root:has(#theme:checked){" + light + "}}" + kDrawing +
         series_classes();
}

std::string report_style() { return drawing_style() + kPage; }

}  // namespace gpunn::detail
