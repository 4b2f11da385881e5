//! A comparison as one HTML file that needs nothing else.

use std::fmt::{self, Write};

use super::{Comparison, Ratio, Row, Shape, pictures::pictures, text};
use crate::{
    Mode,
    plot::{self, escape},
};

const PAGE: &str = "\
:root{color-scheme:light dark}*{box-sizing:border-box}\
body{margin:0 auto;padding:1.2rem 1rem 3rem;max-width:66rem;font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;color:#1a1d21;background:#fff}\
h1{font-size:1.6rem;line-height:1.2;margin:.4rem 0}h2{font-size:1.2rem;margin:2.2rem 0 .6rem;border-bottom:1px solid #8884;padding-bottom:.25rem}\
p,ul{margin:.5rem 0;max-width:46rem}.faint{opacity:.72;font-size:.9rem}\
.scroll{overflow-x:auto;margin:.6rem 0}table{border-collapse:collapse;font-size:.85rem;width:100%}\
th,td{padding:.28rem .5rem;text-align:right;border-bottom:1px solid #8883;white-space:nowrap;font-variant-numeric:tabular-nums}\
th{font-weight:600;vertical-align:bottom}th:first-child,td:first-child,td.words,th.words{text-align:left}td.words{white-space:normal;min-width:11rem}\
th:first-child,td:first-child{position:sticky;left:0;background:#fff}tr.bus td:first-child{font-weight:600}tr.first td{border-top:1px solid #888c}tr.mode td{padding-top:.8rem;border-bottom:2px solid #888a;font-weight:600;position:static}.bad{color:#c2410c;font-weight:600}\
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,25rem),1fr));gap:1.4rem 2rem}\
figure.wide{max-width:36rem}figure{margin:0;break-inside:avoid}figure svg{width:100%;height:auto;display:block}figcaption{font-size:.8rem;opacity:.72;margin-top:.2rem}\
details{margin:1rem 0}summary{cursor:pointer;font-weight:600}\
code{font-size:.85em;background:#8882;padding:.1em .3em;border-radius:.25em;overflow-wrap:anywhere}\
@media(max-width:40rem){td.words{white-space:nowrap}}@media(prefers-color-scheme:dark){body{color:#e6e8eb;background:#14171a}.bad{color:#f07a4a}th:first-child,td:first-child{background:#14171a}}\
@media print{body{color:#000;background:#fff;max-width:none;padding:0;font-size:11pt}.scroll{overflow:visible}table{font-size:6.5pt}th,td{padding:.15rem .25rem}th:first-child,td:first-child{position:static;background:none}h2{break-after:avoid}tr{break-inside:avoid}.plots{grid-template-columns:1fr 1fr}}";

impl Comparison {
    /// A report for a browser and for print: one file, with all plots in it.
    #[must_use]
    pub fn to_html(&self) -> String {
        let mut page = String::new();
        // A string takes all.
        let _ = self.write_page(&mut page);
        page
    }

    /// The plots, each a name and an SVG file of its own.
    #[must_use]
    pub fn to_svgs(&self) -> Vec<(String, String)> {
        let files = pictures(self).into_iter();
        files.map(|picture| (picture.name, plot::standalone(&picture.svg))).collect()
    }

    fn write_page(&self, out: &mut String) -> fmt::Result {
        let title = escape(&self.title);
        write!(
            out,
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
             <title>{title}</title><style>{PAGE}{}</style></head><body>\n<h1>{title}</h1>\n",
            plot::STYLE
        )?;
        self.write_head(out)?;
        self.write_summary(out)?;
        self.write_plots(out)?;
        self.write_parties(out)?;
        self.write_rows(out)?;
        out.push_str("</body></html>\n");
        Ok(())
    }

    fn write_head(&self, out: &mut String) -> fmt::Result {
        let machine = &self.machine;
        let gib = machine.memory_bytes as f64 / f64::from(1 << 30);
        writeln!(
            out,
            "<p class=\"faint\">{}, {} cores, {gib:.0} GiB, {}. {} rounds, interleaved; figures \
             are medians.</p>",
            escape(&machine.processor),
            machine.cores,
            escape(&machine.system),
            self.rounds
        )?;
        if !self.command.is_empty() {
            writeln!(out, "<p class=\"faint\">Made by <code>{}</code></p>", escape(&self.command))?;
        }
        if let Some(done) = self.stopped_after {
            writeln!(
                out,
                "<p><strong>Stopped after {done} measurements: the last rounds are missing.</strong></p>"
            )?;
        }
        Ok(())
    }

    /// The rows that matter most: sustained load of the smallest payload, or the last value of
    /// an experiment.
    fn write_summary(&self, out: &mut String) -> fmt::Result {
        let size = self.rows.iter().map(|row| row.size).min();
        let last = self.rows.last().map(|row| row.cell);
        let matters = |row: &&Row| match self.experiment {
            Some(_) => Some(row.cell) == last,
            None => row.shape == Shape::Sustained && Some(row.size) == size,
        };
        let rows: Vec<&Row> = self.rows.iter().filter(matters).collect();
        if rows.is_empty() {
            return Ok(());
        }
        writeln!(out, "<h2>In short</h2>")?;
        if let Some(summary) = pictures(self).into_iter().find(|picture| picture.name == "summary")
        {
            writeln!(out, "<figure class=\"wide\">{}</figure>", summary.svg)?;
        }
        if let (Some(size), None) = (size, self.experiment) {
            writeln!(out, "<p class=\"faint\">Sustained load, {size} bytes of payload.</p>")?;
        }
        self.write_table(out, &rows, false)
    }

    fn write_plots(&self, out: &mut String) -> fmt::Result {
        let mut pictures = pictures(self);
        pictures.retain(|picture| picture.name != "summary");
        let mut section: Option<Option<Mode>> = None;
        for picture in &pictures {
            if section != Some(picture.mode) {
                if section.is_some() {
                    out.push_str("</div>\n");
                }
                let heading = picture.mode.map_or("Plots", heading);
                writeln!(out, "<h2>{heading}</h2><div class=\"plots\">")?;
                section = Some(picture.mode);
            }
            let caption = escape(&picture.caption);
            writeln!(out, "<figure>{}<figcaption>{caption}</figcaption></figure>", picture.svg)?;
        }
        if section.is_some() {
            out.push_str("</div>\n");
        }
        Ok(())
    }

    fn write_parties(&self, out: &mut String) -> fmt::Result {
        writeln!(
            out,
            "<h2>What is compared</h2><div class=\"scroll\"><table><thead><tr><th>who</th><th class=\"words\">version</th><th class=\"words\">what an acknowledgement means</th></tr></thead>"
        )?;
        for party in &self.parties {
            writeln!(
                out,
                "<tr><td>{}</td><td class=\"words\">{}</td><td class=\"words\">{}</td></tr>",
                escape(&party.name),
                escape(&party.version),
                escape(&party.durability)
            )?;
        }
        out.push_str("</table></div>\n");
        if !self.warnings.is_empty() {
            out.push_str("<ul>");
            for warning in &self.warnings {
                write!(out, "<li>{}</li>", escape(warning))?;
            }
            out.push_str("</ul>\n");
        }
        Ok(())
    }

    fn write_rows(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "<h2>All figures</h2>")?;
        let rows: Vec<&Row> = self.rows.iter().collect();
        self.write_table(out, &rows, true)
    }

    fn write_table(&self, out: &mut String, rows: &[&Row], all: bool) -> fmt::Result {
        // Print repeats the head on each page.
        out.push_str("<div class=\"scroll\"><table><thead><tr><th>who</th>");
        if all {
            out.push_str("<th>bytes</th><th>load</th>");
        }
        out.push_str("<th>msg/s</th><th>lowest–highest</th><th>p50</th><th>p99</th><th>p99.9</th>");
        if all {
            out.push_str("<th>acknow&shy;ledged</th><th>tasks</th><th>tasks left</th><th>memory</th><th>order broken</th>");
        }
        let compared = rows.iter().any(|row| self.rivals(row).next().is_some());
        if compared {
            out.push_str("<th class=\"words\">compared with</th>");
        }
        out.push_str("</tr></thead>\n");
        let (mut mode, mut cell) = (None, None);
        for row in rows {
            if mode.replace(row.mode) != Some(row.mode) && self.experiment.is_none() {
                let heading = heading(row.mode);
                writeln!(out, "<tr class=\"mode\"><td colspan=\"13\">{heading}</td></tr>")?;
            }
            let first = all && cell.replace(row.cell) != Some(row.cell);
            self.write_row(out, row, all, first)?;
            if compared {
                self.write_compared(out, row)?;
            }
            out.push_str("</tr>\n");
        }
        out.push_str("</table></div>\n");
        Ok(())
    }

    fn write_row(&self, out: &mut String, row: &Row, all: bool, first: bool) -> fmt::Result {
        let bus = if row.is_bus { "bus" } else { "" };
        let first = if first { " first" } else { "" };
        write!(out, "<tr class=\"{bus}{first}\"><td>{}", escape(&row.party))?;
        if let Some(failed) = row.failed_rounds().filter(|_| row.rate().is_some()) {
            write!(out, "<br><span class=\"bad\">{}</span>", escape(&failed))?;
        }
        out.push_str("</td>");
        if all {
            write!(out, "<td>{}</td><td>{}</td>", row.size, row.shape)?;
        }
        let Some(rate) = row.rate() else {
            let failure = row.failure().unwrap_or("not measured");
            return write!(
                out,
                "<td class=\"words bad\" colspan=\"{}\">{}</td>",
                if all { 10 } else { 5 },
                escape(failure)
            );
        };
        let range = format!("{}–{}", text::count(rate.min), text::count(rate.max));
        write!(out, "<td>{}</td><td>{range}</td>", text::count(rate.median))?;
        let latency = row.ack_us();
        for quantile in [latency.map(|q| q.p50), latency.map(|q| q.p99), latency.map(|q| q.p999)] {
            write!(out, "<td>{}</td>", text::shown(quantile, text::micros))?;
        }
        if all {
            write_health(out, row)?;
        }
        Ok(())
    }

    fn write_compared(&self, out: &mut String, row: &Row) -> fmt::Result {
        let compared: Vec<String> = self
            .rivals(row)
            .filter_map(|rival| {
                Some(versus(self.ratio(row, &rival.party)?, &rival.party, row.mode))
            })
            .collect();
        write!(out, "<td class=\"words\">{}</td>", escape(&compared.join("; ")))
    }
}

/// What must be zero is marked where it is not.
fn write_health(out: &mut String, row: &Row) -> fmt::Result {
    let marked = |bad: bool| if bad { " class=\"bad\"" } else { "" };
    let success = row.success_rate();
    write!(
        out,
        "<td{}>{}</td><td>{}</td>",
        marked(success.is_some_and(|rate| rate < 1.0)),
        text::shown(success, text::percent),
        text::shown(row.peak_tasks(), |tasks| tasks.to_string()),
    )?;
    let left = row.leaked_tasks();
    let broken = row.order_violations();
    write!(
        out,
        "<td{}>{}</td><td>{}</td><td{}>{}</td>",
        marked(left.is_some_and(|left| left > 0)),
        text::shown(left, |left| left.to_string()),
        text::shown(row.memory_growth(), |grown| text::bytes(grown.median)),
        marked(broken.is_some_and(|broken| broken > 0)),
        text::shown(broken, |broken| broken.to_string()),
    )
}

/// The ratio that decides in a mode.
fn versus(ratio: Ratio, rival: &str, mode: Mode) -> String {
    match ratio.p50.filter(|_| mode == Mode::Sync) {
        Some(p50) => format!("{} the p50 of {rival}", text::times(p50)),
        None => format!("{} {rival}", text::times(ratio.rate)),
    }
}

const fn heading(mode: Mode) -> &'static str {
    match mode {
        Mode::Async => "Publishing without waiting (async)",
        Mode::Batch => "Publishing batches (batch)",
        Mode::Sync => "Publishing one by one (sync)",
        Mode::Consume => "Consuming, each acknowledged (consume)",
    }
}
