#include "simulator/plot.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <string_view>

#include <fmt/format.h>

namespace penstock::simulator {
namespace {

constexpr double kWidth = 1000;
constexpr double kLeft = 70;
constexpr double kRight = 20;
constexpr double kTop = 62;
constexpr double kFleetHeight = 150;
constexpr double kWaitingHeight = 50;
constexpr double kBetween = 14;  // the two parts of a panel
constexpr double kPanel = kFleetHeight + kBetween + kWaitingHeight + 46;
constexpr double kPlotWidth = kWidth - kLeft - kRight;

constexpr const char* kDemandColor = "#9aa5b1";
constexpr const char* kReadyColor = "#2166ac";
constexpr const char* kDesiredColor = "#d6604d";
constexpr const char* kWaitingColor = "#b2182b";

// 1, 2 or 5 times a power of ten, so that about so many of it make up the whole.
double niceStep(double whole, double parts) {
  const double rough = std::max(whole, 1e-9) / parts;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= rough) {
      return factor * power;
    }
  }
  return 10 * power;
}

// Steps of time that people use.
double timeStep(double length) {
  for (const double step : {1., 5., 10., 30., 60., 300., 600., 1'800., 3'600., 21'600., 86'400.}) {
    if (length / step <= 13) {
      return step;
    }
  }
  return niceStep(length, 10);
}

std::string timeLabel(double at, double step) {
  if (step < 60) {
    return fmt::format("{:.0f} s", at);
  }
  return step < 3'600 ? fmt::format("{:.0f} min", at / 60) : fmt::format("{:.0f} h", at / 3'600);
}

struct Scales {
  double length = 1;
  double replicas = 1;
  double waiting = 1;
};

class Drawing {
 public:
  Drawing(const Scales& scales, std::uint32_t target) : scales_(scales), target_(target) {}

  void panel(const PolicyRun& run, double top) {
    title(run, top);
    const double fleet_top = top + 20;
    const double waiting_top = fleet_top + kFleetHeight + kBetween;
    axis(fleet_top, kFleetHeight, scales_.replicas, 5, "replicas");
    axis(waiting_top, kWaitingHeight, scales_.waiting, 2, "waiting");
    times(waiting_top + kWaitingHeight, fleet_top);
    const auto curve = [&](auto value, double graph_top, double height, double most,
                           const char* color, double thickness, double filled) {
      line(run.timeline, value, graph_top, height, most, color, thickness, filled);
    };
    curve([&](const Moment& m) { return m.demand / target_; }, fleet_top, kFleetHeight,
          scales_.replicas, kDemandColor, 1, 0.35);
    curve([](const Moment& m) { return double{1} * m.desired; }, fleet_top, kFleetHeight,
          scales_.replicas, kDesiredColor, 1.2, 0);
    curve([](const Moment& m) { return double{1} * m.ready; }, fleet_top, kFleetHeight,
          scales_.replicas, kReadyColor, 1.8, 0);
    curve([](const Moment& m) { return static_cast<double>(m.waiting); }, waiting_top,
          kWaitingHeight, scales_.waiting, kWaitingColor, 1, 0.6);
  }

  void legend() {
    double x = kLeft;
    for (const auto& [color, text] :
         {std::pair{kDemandColor, "demand ÷ concurrency target"},
          std::pair{kDesiredColor, "desired replicas"}, std::pair{kReadyColor, "ready replicas"},
          std::pair{kWaitingColor, "requests waiting"}}) {
      add(R"(<rect x="{:.1f}" y="30" width="22" height="8" fill="{}"/>)", x, color);
      add(R"(<text x="{:.1f}" y="39">{}</text>)", x + 28, text);
      x += 34 + 7.2 * static_cast<double>(std::string_view(text).size());
    }
  }

  std::string finish(double height) const {
    return fmt::format(
               R"(<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0:.0f} {1:.0f}" )"
               R"(width="{0:.0f}" height="{1:.0f}" font-family="sans-serif" font-size="12">)"
               "\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
               kWidth, height) +
           text_ + "</svg>\n";
  }

 private:
  template <typename... Values>
  void add(fmt::format_string<Values...> format, Values&&... values) {
    fmt::format_to(std::back_inserter(text_), format, std::forward<Values>(values)...);
    text_ += '\n';
  }

  void title(const PolicyRun& run, double top) {
    add(R"(<text x="{}" y="{:.1f}" font-size="14" font-weight="bold">{}</text>)", kLeft, top + 10,
        run.policy);
    add(R"(<text x="{}" y="{:.1f}" text-anchor="end" fill="#555">{:.0f} replica-seconds, waiting )"
        R"(p95 {:.2f} s, max {:.2f} s</text>)",
        kWidth - kRight, top + 10, run.figures.replica_seconds, run.figures.wait_p95,
        run.figures.wait_max);
  }

  void axis(double top, double height, double most, double parts, const char* name) {
    add(R"(<rect x="{}" y="{:.1f}" width="{}" height="{}" fill="none" stroke="#888"/>)", kLeft, top,
        kPlotWidth, height);
    const double step = std::max(1.0, niceStep(most, parts));
    for (double value = 0; value <= most + 1e-9; value += step) {
      const double y = top + height * (1 - value / most);
      add(R"(<line x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}" stroke="#e4e4e4"/>)", kLeft,
          kWidth - kRight, y, y);
      add(R"(<text x="{}" y="{:.1f}" text-anchor="end" font-size="11">{:.0f}</text>)", kLeft - 6,
          y + 4, value);
    }
    add(R"svg(<text x="16" y="{0:.1f}" text-anchor="middle" )svg"
        R"svg(transform="rotate(-90 16 {0:.1f})">{1}</text>)svg",
        top + height / 2, name);
  }

  void times(double bottom, double top) {
    const double step = timeStep(scales_.length);
    for (double at = 0; at <= scales_.length + 1e-9; at += step) {
      const double x = kLeft + kPlotWidth * at / scales_.length;
      add(R"(<line x1="{0:.1f}" x2="{0:.1f}" y1="{1:.1f}" y2="{2:.1f}" stroke="#eee"/>)", x, top,
          bottom);
      add(R"(<text x="{:.1f}" y="{:.1f}" text-anchor="middle" font-size="11">{}</text>)", x,
          bottom + 15, timeLabel(at, step));
    }
  }

  // For each pixel's width the greatest value: a short peak stays visible.
  template <typename Value>
  void line(const std::vector<Moment>& timeline, Value value, double top, double height,
            double most, const char* color, double thickness, double filled) {
    const double bottom = top + height;
    std::string points;
    double shown = 0;
    std::size_t i = 0;
    for (double pixel = 0; pixel <= kPlotWidth; ++pixel) {
      const double until = scales_.length * (pixel + 1) / kPlotWidth;
      bool any = false;
      for (; i < timeline.size() && inSeconds(timeline[i].at) < until; ++i) {
        const double here = value(timeline[i]);
        shown = any ? std::max(shown, here) : here;
        any = true;
      }
      const double y = bottom - height * std::min(shown / most, 1.0);
      fmt::format_to(std::back_inserter(points), "{:.0f},{:.1f} ", kLeft + pixel, y);
    }
    if (filled > 0) {
      add(R"(<polygon points="{},{:.1f} {}{},{:.1f}" fill="{}" fill-opacity="{}"/>)", kLeft, bottom,
          points, kLeft + kPlotWidth, bottom, color, filled);
    }
    add(R"(<polyline points="{}" fill="none" stroke="{}" stroke-width="{}"/>)", points, color,
        thickness);
  }

  const Scales scales_;
  const double target_;
  std::string text_;
};

}  // namespace

std::string plotOf(const std::vector<PolicyRun>& runs, std::uint32_t concurrency_target) {
  Scales scales;
  std::uint32_t most = 1;
  for (const PolicyRun& run : runs) {
    for (const Moment& m : run.timeline) {
      scales.length = std::max(scales.length, inSeconds(m.at));
      most = std::max({most, m.ready, m.desired});
      scales.waiting = std::max(scales.waiting, static_cast<double>(m.waiting));
    }
  }
  // A line of demand far above every fleet would flatten all else; it is cut off.
  scales.replicas = 1.15 * most;
  Drawing drawing(scales, concurrency_target);
  drawing.legend();
  double top = kTop;
  for (const PolicyRun& run : runs) {
    drawing.panel(run, top);
    top += kPanel;
  }
  return drawing.finish(top + 4);
}

}  // namespace penstock::simulator
