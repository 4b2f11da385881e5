//! The elements that plots are made of.

use std::fmt::{self, Write};

/// How wide a plot is, in its own units: about the pixels of a phone.
pub(super) const WIDTH: f64 = 440.0;
/// About how wide a character is.
const CHARACTER: f64 = 6.8;

/// What every plot looks like, on a light and on a dark page and in print. Series have the
/// classes `s0` to `s7`, and differ in their dashes where there is no colour.
pub(crate) const STYLE: &str = "\
svg.plot{font:12px system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;fill:currentColor;color:#1a1d21}\
svg.plot .head{font-weight:600;font-size:13px}svg.plot .faint{opacity:.68}\
svg.plot .small{font-size:11px}\
svg.plot .grid{stroke:currentColor;opacity:.14;stroke-width:1}\
svg.plot .whisker{stroke:currentColor;opacity:.6;stroke-width:1.2;fill:none}\
svg.plot .line{fill:none;stroke-width:2;stroke-linejoin:round}\
svg.plot .s0{--c:#0b6fb8}svg.plot .s1{--c:#d9820a}svg.plot .s2{--c:#0a8f6a}svg.plot .s3{--c:#c2410c}\
svg.plot .s4{--c:#9b5fc0}svg.plot .s5{--c:#2aa3d9}svg.plot .s6{--c:#7a828c}svg.plot .s7{--c:#a38b00}\
svg.plot .fill{fill:var(--c)}svg.plot .line{stroke:var(--c)}\
svg.plot .s1.line{stroke-dasharray:7 3}svg.plot .s2.line{stroke-dasharray:2 3}\
svg.plot .s3.line{stroke-dasharray:9 3 2 3}svg.plot .s4.line{stroke-dasharray:12 4}\
svg.plot .s5.line{stroke-dasharray:4 2}svg.plot .s6.line{stroke-dasharray:1 2}\
@media(prefers-color-scheme:dark){svg.plot{color:#e6e8eb}\
svg.plot .s0{--c:#4aa3e0}svg.plot .s1{--c:#f0a63a}svg.plot .s2{--c:#35bf96}svg.plot .s3{--c:#f07a4a}\
svg.plot .s4{--c:#c296e0}svg.plot .s5{--c:#7cc8ec}svg.plot .s6{--c:#a3abb5}svg.plot .s7{--c:#d6bf3a}}\
@media print{svg.plot{color:#000}}";

/// A plot that is being drawn, from the top down.
#[derive(Debug)]
pub(super) struct Drawing {
    body: String,
    title: String,
}

/// Where a text stands in relation to its place.
#[derive(Debug, Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

impl Drawing {
    pub(super) fn new(title: &str) -> Self {
        let mut drawing = Self { body: String::new(), title: title.to_owned() };
        drawing.text(0.0, 14.0, Anchor::Start, "head", title);
        drawing
    }

    pub(super) fn text(&mut self, x: f64, y: f64, anchor: Anchor, class: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = escape(text);
        self.add(format_args!(
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" class="{class}">{text}</text>"#
        ));
    }

    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        self.add(format_args!(
            r#"<line x1="{:.1}" y1="{:.1}" x2="{:.1}" y2="{:.1}" class="{class}"/>"#,
            from.0, from.1, to.0, to.1
        ));
    }

    pub(super) fn bar(&mut self, x: f64, y: f64, width: f64, height: f64, series: usize) {
        self.add(format_args!(
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" rx="2" class="fill s{}"/>"#,
            series % 8
        ));
    }

    pub(super) fn dot(&mut self, at: (f64, f64), series: usize) {
        self.add(format_args!(
            r#"<circle cx="{:.1}" cy="{:.1}" r="3" class="fill s{}"/>"#,
            at.0,
            at.1,
            series % 8
        ));
    }

    pub(super) fn path(&mut self, points: &[(f64, f64)], series: usize) {
        let mut path = String::new();
        for (n, (x, y)) in points.iter().enumerate() {
            let _ = write!(path, "{}{x:.1} {y:.1}", if n == 0 { "M" } else { "L" });
        }
        self.add(format_args!(r#"<path d="{path}" class="line s{}"/>"#, series % 8));
    }

    /// The names of series, in as many lines as they need; gives where they end.
    pub(super) fn legend(&mut self, names: &[(usize, &str)], top: f64) -> f64 {
        const LINE: f64 = 17.0;
        let (mut x, mut y) = (0.0, top);
        for (series, name) in names {
            let wide = 26.0 + width_of(name);
            if x > 0.0 && x + wide > WIDTH {
                (x, y) = (0.0, y + LINE);
            }
            self.path(&[(x, y - 4.0), (x + 18.0, y - 4.0)], *series);
            self.text(x + 22.0, y, Anchor::Start, "small", name);
            x += wide + 8.0;
        }
        if names.is_empty() { top } else { y + LINE }
    }

    fn add(&mut self, element: fmt::Arguments<'_>) {
        // A string takes all.
        let _ = self.body.write_fmt(element);
        self.body.push('\n');
    }

    pub(super) fn finish(self, height: f64) -> String {
        let Self { body, title } = self;
        let title = escape(&title);
        format!(
            r#"<svg class="plot" xmlns="http://www.w3.org/2000/svg" viewBox="-2 0 {:.0} {height:.0}" role="img" aria-label="{title}">
{body}</svg>"#,
            WIDTH + 4.0
        )
    }
}

/// About how wide a text is.
pub(super) fn width_of(text: &str) -> f64 {
    text.chars().count() as f64 * CHARACTER
}

/// A plot as a file of its own.
pub(crate) fn standalone(plot: &str) -> String {
    let (start, rest) = plot.split_once('>').unwrap_or((plot, ""));
    format!("{start}><style>{STYLE}</style>{rest}\n")
}

/// A text in HTML or XML.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_cannot_be_markup() {
        let mut drawing = Drawing::new("a<script>");
        drawing.legend(&[(0, "\"&'")], 30.0);
        let svg = drawing.finish(10.0);
        assert!(!svg.contains("<script>") && svg.contains("&quot;&amp;&#39;"), "{svg}");
        assert!(standalone(&svg).contains("<style>"));
    }
}
