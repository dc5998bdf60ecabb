// The elements that drawings are made of: SVG text without scripts.
#pragma once

#include <string>

namespace bertx::tools::svg {

/// For use in an element or an attribute; control characters as \xNN.
std::string escaped(const std::string& text);
std::string number(double value);
/// The opening tag, the title, and a white page; the caller ends it with "</svg>".
std::string head(double width, double height, const std::string& title);
/// anchor: "start", "middle" or "end"; `more` is attributes with a blank before them.
std::string label(double x, double y, const std::string& anchor, const std::string& text, const std::string& more = "");
std::string segment(double x1, double y1, double x2, double y2, const std::string& style);

}  // namespace bertx::tools::svg
