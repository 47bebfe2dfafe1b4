use std::fmt::Write;

use super::Comparison;

/// Pixels.
const ROW: usize = 34;
const BAR: usize = 12;
const LEFT: usize = 200;
const WIDTH: usize = 400;
const TOP: usize = 50;
const RIGHT: usize = 120;

impl Comparison {
    /// F1 of each class in both models as a bar chart in SVG; `None` without classes.
    pub fn svg(&self) -> Option<String> {
        if self.per_class.is_empty() {
            return None;
        }
        let (width, height) = (LEFT + WIDTH + RIGHT, TOP + self.per_class.len() * ROW + 10);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
             <text x=\"{LEFT}\" y=\"20\" font-size=\"14\">F1 by class, {} examples</text>\n\
             <text x=\"{LEFT}\" y=\"38\"><tspan fill=\"#7a8ca0\">fp32</tspan> <tspan fill=\"#c9760a\">int8</tspan></text>\n",
            self.rows
        );
        // writing to a string cannot fail
        for (index, class) in self.per_class.iter().enumerate() {
            let top = TOP + index * ROW;
            let _ = writeln!(
                svg,
                "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
                LEFT - 8,
                top + BAR + 4,
                escaped(&shortened(&class.label))
            );
            for (f1, fill, y) in [(class.fp32.f1, "#7a8ca0", top), (class.int8.f1, "#c9760a", top + BAR + 1)]
            {
                let bar = f1 * WIDTH as f64;
                let _ = writeln!(
                    svg,
                    "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{bar:.1}\" height=\"{BAR}\" fill=\"{fill}\"/>\
                     <text x=\"{:.1}\" y=\"{}\" font-size=\"10\">{:.2}</text>",
                    LEFT as f64 + bar + 4.0,
                    y + BAR - 2,
                    f1 * 100.0
                );
            }
        }
        svg.push_str("</svg>\n");
        Some(svg)
    }
}

/// What fits beside the bars.
fn shortened(label: &str) -> String {
    const SHOWN: usize = 28;
    if label.chars().count() <= SHOWN {
        return label.to_owned();
    }
    label.chars().take(SHOWN - 1).chain(['…']).collect()
}

pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
