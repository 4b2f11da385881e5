//! Lines over an axis, with a legend.

use super::{
    Axis,
    axis::{Range, Scale},
    svg::{Anchor, Drawing, WIDTH, width_of},
};

/// A line.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) series: usize,
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// A plot of lines.
#[derive(Debug, Clone)]
pub(crate) struct Lines {
    pub(crate) title: String,
    pub(crate) x: Axis,
    /// What is written on the x axis instead of round values.
    pub(crate) x_ticks: Vec<(f64, String)>,
    pub(crate) y: Axis,
    pub(crate) lines: Vec<Line>,
    /// Whether each point is a measurement, rather than a moment.
    pub(crate) dots: bool,
}

const HEIGHT: f64 = 190.0;

impl Lines {
    pub(crate) fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let x_range = Range::of(self.x.scale, points().map(|point| point.0));
        let y_range = Range::of(self.y.scale, points().map(|point| point.1)).rounded();
        let mut drawing = Drawing::new(&self.title);
        let names: Vec<_> =
            self.lines.iter().map(|line| (line.series, line.name.as_str())).collect();
        let top = drawing.legend(&names, 33.0) + 4.0;
        let y_ticks: Vec<_> =
            y_range.ticks().into_iter().map(|tick| (tick, (self.y.format)(tick))).collect();
        let left = y_ticks.iter().map(|(_, text)| width_of(text)).fold(20.0, f64::max) + 6.0;
        // Half of the last text on the axis stands beyond it.
        let wide = WIDTH - left - 18.0;
        drawing.text(0.0, top - 2.0, Anchor::Start, "small faint", &self.y.label);
        let top = top + 8.0;
        let height_of = |value: f64| top + HEIGHT * (1.0 - y_range.place(value));
        for (tick, text) in &y_ticks {
            let y = height_of(*tick);
            drawing.line((left, y), (left + wide, y), "grid");
            drawing.text(left - 5.0, y + 4.0, Anchor::End, "small faint", text);
        }
        let bottom = top + HEIGHT;
        let mut free = f64::NEG_INFINITY;
        for (tick, text) in self.ticks(x_range) {
            let x = left + wide * x_range.place(tick);
            let half = width_of(&text) / 2.0;
            drawing.line((x, bottom), (x, bottom + 4.0), "grid");
            if x - half > free {
                drawing.text(x, bottom + 17.0, Anchor::Middle, "small faint", &text);
                free = x + half + 6.0;
            }
        }
        drawing.text(
            left + wide / 2.0,
            bottom + 33.0,
            Anchor::Middle,
            "small faint",
            &self.x.label,
        );
        for line in &self.lines {
            self.line(&mut drawing, line, |point| {
                (left + wide * x_range.place(point.0), height_of(point.1))
            });
        }
        drawing.finish(bottom + 40.0)
    }

    fn line(&self, drawing: &mut Drawing, line: &Line, place: impl Fn(&(f64, f64)) -> (f64, f64)) {
        let fits = |point: &&(f64, f64)| self.y.scale == Scale::Linear || point.1 > 0.0;
        let points: Vec<_> = line.points.iter().filter(fits).map(place).collect();
        drawing.path(&points, line.series);
        if self.dots {
            for point in points {
                drawing.dot(point, line.series);
            }
        }
    }

    fn ticks(&self, range: Range) -> Vec<(f64, String)> {
        if self.x_ticks.is_empty() {
            return range.ticks().into_iter().map(|tick| (tick, (self.x.format)(tick))).collect();
        }
        self.x_ticks.clone()
    }
}
