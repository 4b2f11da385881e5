//! Horizontal bars in groups, with their names and values.

use super::{
    axis::{Range, Scale},
    svg::{Anchor, Drawing, WIDTH, width_of},
};
use crate::compare::Spread;

/// A bar.
#[derive(Debug, Clone)]
pub(crate) struct Bar {
    pub(crate) series: usize,
    pub(crate) name: String,
    pub(crate) value: Spread,
}

/// Bars that belong together.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) bars: Vec<Bar>,
}

/// A plot of bars; whiskers reach from the lowest to the highest round.
#[derive(Debug, Clone)]
pub(crate) struct Bars {
    pub(crate) title: String,
    pub(crate) groups: Vec<Group>,
    /// Bars end here at the latest, and are marked: one that is much longer than all others
    /// would hide how those differ.
    pub(crate) at_most: Option<f64>,
    pub(crate) format: fn(f64) -> String,
}

const BAR: f64 = 15.0;
const STEP: f64 = 19.0;
/// Room for the value behind a bar.
const VALUE: f64 = 62.0;

impl Bars {
    pub(crate) fn svg(&self) -> String {
        let bars = || self.groups.iter().flat_map(|group| &group.bars);
        let names = bars().map(|bar| width_of(&bar.name)).fold(0.0, f64::max);
        let left = (names + 8.0).min(WIDTH * 0.45);
        let longest = bars().map(|bar| bar.value.max);
        let shown = longest.map(|value| self.at_most.map_or(value, |most| value.min(most)));
        let range = Range::of(Scale::Linear, shown);
        let wide = WIDTH - left - VALUE;
        let mut drawing = Drawing::new(&self.title);
        let mut y = 26.0;
        for group in &self.groups {
            if !group.name.is_empty() {
                drawing.text(0.0, y + 12.0, Anchor::Start, "small faint", &group.name);
                y += STEP;
            }
            for bar in &group.bars {
                self.bar(&mut drawing, bar, (left, y), |value| left + wide * range.place(value));
                y += STEP;
            }
            y += 5.0;
        }
        drawing.finish(y)
    }

    fn bar(&self, drawing: &mut Drawing, bar: &Bar, at: (f64, f64), place: impl Fn(f64) -> f64) {
        let (left, y) = at;
        let end = place(bar.value.median);
        drawing.text(left - 6.0, y + 11.5, Anchor::End, "small", &bar.name);
        drawing.bar(left, y, (end - left).max(1.0), BAR, bar.series);
        let mut text = (self.format)(bar.value.median);
        let mut after = end;
        if self.at_most.is_some_and(|most| bar.value.median > most) {
            text = format!("▸ {text}");
        } else if bar.value.max > bar.value.min {
            let middle = y + BAR / 2.0;
            let (low, high) = (place(bar.value.min), place(bar.value.max));
            drawing.line((low, middle), (high, middle), "whisker");
            for end in [low, high] {
                drawing.line((end, middle - 3.5), (end, middle + 3.5), "whisker");
            }
            after = high;
        }
        drawing.text(after + 5.0, y + 11.5, Anchor::Start, "small", &text);
    }
}
