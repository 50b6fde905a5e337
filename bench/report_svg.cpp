// The chart: one line per kernel, one mark per engine, by time relative to native code on a
// logarithmic axis.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>

#include "bench/report.hpp"

namespace skep::bench {
namespace {

constexpr double kLeft = 130, kWidth = 760, kTop = 90, kLine = 17;
constexpr double kLowest = 0.25, kHighest = 256;
constexpr const char* kColours[] = {"#1b6ca8", "#d1495b", "#edae49", "#2e933c",
                                    "#7a5195", "#444444", "#00798c", "#bc5090"};

double x_of(double ratio) {
    const double r = std::clamp(ratio, kLowest, kHighest);
    return kLeft + kWidth * std::log2(r / kLowest) / std::log2(kHighest / kLowest);
}

void print_axis(std::FILE* out, double bottom) {
    for (double r = kLowest; r <= kHighest; r *= 2) {
        const bool one = r == 1;
        std::fprintf(out,
                     "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\" "
                     "stroke-width=\"%s\"/>\n<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">"
                     "%g</text>\n",
                     x_of(r), kTop - 12, x_of(r), bottom, one ? "#000" : "#ddd", one ? "1.5" : "1",
                     x_of(r), kTop - 18, r);
    }
}

void print_mark(std::FILE* out, double x, double y, const char* colour, const char* title,
                double value) {
    std::fprintf(out,
                 "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4.5\" fill=\"%s\" fill-opacity=\"0.85\">"
                 "<title>%s %.2f</title></circle>\n",
                 x, y, colour, title, value);
}

}  // namespace

bool TableReporter::write_svg(const std::string& file) const {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> holder(std::fopen(file.c_str(), "w"),
                                                                 std::fclose);
    std::FILE* out = holder.get();
    if (out == nullptr) return false;
    std::vector<const Row*> shown;
    for (const Row& row : rows_) {
        if (median(row.name, engines_[0]) > 0) shown.push_back(&row);
    }
    const double bottom = kTop + kLine * static_cast<double>(shown.size() + 1);
    std::fprintf(out,
                 "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" "
                 "font-family=\"sans-serif\" font-size=\"12\">\n"
                 "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n"
                 "<text x=\"16\" y=\"24\" font-size=\"16\">Run time relative to native code of the "
                 "same C source (1 = native, logarithmic, left is faster)</text>\n",
                 kLeft + kWidth + 30, bottom + 20);
    for (size_t e = 1; e < engines_.size(); ++e) {
        const double x = kLeft + static_cast<double>(e - 1) * 110;
        print_mark(out, x, 46, kColours[e % std::size(kColours)], engines_[e].c_str(),
                   geomean(e, 0, [](Group group) { return group == Group::Compute; }));
        std::fprintf(out, "<text x=\"%.1f\" y=\"50\">%s</text>\n", x + 9, engines_[e].c_str());
    }
    print_axis(out, bottom - kLine + 4);
    double y = kTop;
    for (const Row* row : shown) {
        std::fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n", kLeft - 10,
                     y + 4, row->name.c_str());
        for (size_t e = 1; e < engines_.size(); ++e) {
            if (const double r = ratio(*row, e); r > 0)
                print_mark(out, x_of(r), y, kColours[e % std::size(kColours)], engines_[e].c_str(),
                           r);
        }
        y += kLine;
    }
    std::fprintf(out, "</svg>\n");
    return std::fflush(out) == 0 && std::ferror(out) == 0;
}

}  // namespace skep::bench
