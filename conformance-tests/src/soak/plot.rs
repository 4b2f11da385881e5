//! The samples as an SVG: one line for each series, one above the other.

use std::fmt::Write as _;

use super::sample::{SERIES, Samples, Series};

const WIDTH: f64 = 800.0;
const PANEL: f64 = 110.0;
const LEFT: f64 = 110.0;
const TOP: f64 = 40.0;
const GAP: f64 = 26.0;

pub(super) fn svg(backend: &str, samples: &Samples) -> String {
    let height = TOP + (PANEL + GAP) * SERIES.len() as f64 + 10.0;
    let last = samples.last();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"15\">Soak of {backend}: {:.1} minutes, {} \
         operations, {} buses come and gone</text>\n",
        last.at.as_secs_f64() / 60.0,
        last.operations,
        samples.count()
    );
    for (index, series) in SERIES.into_iter().enumerate() {
        panel(&mut svg, samples, series, TOP + (PANEL + GAP) * index as f64);
    }
    svg.push_str("</svg>\n");
    svg
}

/// A series from zero to its highest, over the whole time.
fn panel(svg: &mut String, samples: &Samples, (name, value): Series, top: f64) {
    let highest = samples.all().iter().map(value).max().unwrap_or_default().max(1);
    let length = samples.last().at.as_secs_f64().max(1.0);
    let (right, bottom) = (WIDTH - 20.0, top + PANEL);
    let mut points = String::new();
    for sample in samples.all() {
        let x = LEFT + (right - LEFT) * sample.at.as_secs_f64() / length;
        let y = bottom - PANEL * value(sample) as f64 / highest as f64;
        let _ = write!(points, "{x:.1},{y:.1} ");
    }
    let (middle, label) = (top + PANEL / 2.0, LEFT - 8.0);
    let _ = writeln!(
        svg,
        "<rect x=\"{LEFT}\" y=\"{top}\" width=\"{}\" height=\"{PANEL}\" fill=\"none\" \
         stroke=\"#ccc\"/>\n\
         <text x=\"{label}\" y=\"{middle}\" text-anchor=\"end\">{name}</text>\n\
         <text x=\"{label}\" y=\"{}\" text-anchor=\"end\" fill=\"#666\">{highest}</text>\n\
         <text x=\"{label}\" y=\"{bottom}\" text-anchor=\"end\" fill=\"#666\">0</text>\n\
         <text x=\"{right}\" y=\"{}\" text-anchor=\"end\" fill=\"#666\">{length:.0} s</text>\n\
         <polyline points=\"{}\" fill=\"none\" stroke=\"#0b62a4\"/>",
        right - LEFT,
        top + 11.0,
        bottom + 14.0,
        points.trim_end()
    );
}
