use std::fmt::Write;

/// One model in a plot of size against quality.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Name of the model.
    pub name: String,
    /// Size of its bundle.
    pub megabytes: f64,
    /// Value of the metric, in hundredths.
    pub points: f64,
}

/// Image size and margins in pixels.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 30.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 50.0;

/// Plots quality against size as SVG: megabytes on a logarithmic horizontal axis, the metric on the vertical
/// one. Each series, in ascending size, is joined by a line. Returns an empty string without points.
pub fn size_plot(metric: &str, series: &[Vec<Point>]) -> String {
    let all = || series.iter().flatten();
    if all().next().is_none() {
        return String::new();
    }
    let range = |value: fn(&Point) -> f64| {
        all().map(value).fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)))
    };
    let (small, large) = range(|p| p.megabytes);
    let (low, high) = range(|p| p.points);
    let (small, large) = (small.ln() - 0.1, large.ln() + 0.1);
    let (low, high) = ((low - 0.3).floor(), (high + 0.3).ceil());
    let x = |megabytes: f64| LEFT + (megabytes.ln() - small) / (large - small) * (WIDTH - LEFT - RIGHT);
    let y = |points: f64| HEIGHT - BOTTOM - (points - low) / (high - low) * (HEIGHT - TOP - BOTTOM);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"24\" font-size=\"14\">{metric} of int8 bundles by size</text>\n\
         <text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">MB</text>\n",
        WIDTH - RIGHT,
        HEIGHT - 8.0
    );
    // writing to a string cannot fail
    let mut line = |x1: f64, y1: f64, x2: f64, y2: f64, label: String, at: (f64, f64), anchor: &str| {
        let _ = writeln!(
            svg,
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"#dde3ea\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{label}</text>",
            at.0, at.1
        );
    };
    let mut tick = low;
    while tick <= high {
        line(LEFT, y(tick), WIDTH - RIGHT, y(tick), format!("{tick:.0}"), (LEFT - 8.0, y(tick) + 4.0), "end");
        tick += ((high - low) / 10.0).ceil().max(1.0);
    }
    for megabytes in [0.5, 1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 15.0, 25.0, 50.0, 100.0, 200.0] {
        if (small..large).contains(&f64::ln(megabytes)) {
            let at = x(megabytes);
            line(
                at,
                TOP,
                at,
                HEIGHT - BOTTOM,
                format!("{megabytes}"),
                (at, HEIGHT - BOTTOM + 18.0),
                "middle",
            );
        }
    }
    for (points, colour) in series.iter().zip(["#c9760a", "#2f6f9f", "#4f8a3c", "#8a4f8a"].iter().cycle()) {
        let path: Vec<String> =
            points.iter().map(|p| format!("{:.1},{:.1}", x(p.megabytes), y(p.points))).collect();
        let _ = writeln!(svg, "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\"/>", path.join(" "));
        for p in points {
            let _ = writeln!(
                svg,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\" fill=\"{colour}\"><title>{}</title></circle>\
                 <text x=\"{:.1}\" y=\"{:.1}\" font-size=\"11\">{:.2}</text>",
                x(p.megabytes),
                y(p.points),
                escaped(&p.name),
                x(p.megabytes) + 6.0,
                y(p.points) - 6.0,
                p.points
            );
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_model_is_a_point_inside_the_axes() {
        let point = |name: &str, megabytes, points| Point { name: name.into(), megabytes, points };
        let series = [vec![point("a<b", 1.0, 88.7), point("c", 8.5, 90.5)], vec![point("d", 3.0, 90.0)]];
        let svg = size_plot("accuracy", &series);
        assert_eq!((svg.matches("<circle").count(), svg.matches("<polyline").count()), (3, 2));
        assert!(svg.contains("a&lt;b") && svg.contains("90.50"));
        for value in svg.split("cx=\"").skip(1) {
            let x: f64 = value.split('"').next().unwrap().parse().unwrap();
            assert!((LEFT..=WIDTH - RIGHT).contains(&x), "{x}");
        }
        assert_eq!(size_plot("accuracy", &[]), "");
    }
}
