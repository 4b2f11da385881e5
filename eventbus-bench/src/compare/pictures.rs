//! The plots of a comparison.

use super::{Comparison, Experiment, Row, Shape, Spread, text};
use crate::{
    Mode, Point, Quantiles,
    plot::{Axis, Bar, Bars, Group, Line, Lines, Scale},
};

const MEBIBYTE: f64 = 1_048_576.0;

/// A plot.
#[derive(Debug, Clone)]
pub(super) struct Picture {
    /// A name for a file.
    pub(super) name: String,
    /// The mode it is of, or none for an experiment.
    pub(super) mode: Option<Mode>,
    pub(super) svg: String,
    /// How to read it.
    pub(super) caption: String,
}

/// All plots that the rows have figures for.
pub(super) fn pictures(comparison: &Comparison) -> Vec<Picture> {
    match comparison.experiment {
        Some(experiment) => of_experiment(comparison, experiment),
        None => {
            let modes = Mode::ALL.into_iter().flat_map(|mode| of_mode(comparison, mode));
            summary(comparison).into_iter().chain(modes).collect()
        }
    }
}

fn axis(label: &str, scale: Scale, format: fn(f64) -> String) -> Axis {
    Axis { label: label.to_owned(), scale, format }
}

/// The rates of the smallest payload in the modes that have a pipeline.
fn summary(comparison: &Comparison) -> Option<Picture> {
    let size = comparison.rows.iter().map(|row| row.size).min()?;
    let rows = |mode: Mode| -> Vec<&Row> {
        let of_mode = comparison.rows.iter().filter(move |row| row.mode == mode);
        of_mode.filter(|row| row.size == size && row.shape == Shape::Sustained).collect()
    };
    let modes =
        [Mode::Async, Mode::Batch, Mode::Consume].map(|mode| (mode.to_string(), rows(mode)));
    let svg = throughput(comparison, &modes, format!("Messages per second, {size} bytes"))?;
    let caption = WHISKERS.to_owned();
    Some(Picture { name: "summary".to_owned(), mode: None, svg, caption })
}

fn of_mode(comparison: &Comparison, mode: Mode) -> Vec<Picture> {
    let rows: Vec<&Row> = comparison.rows.iter().filter(|row| row.mode == mode).collect();
    let Some(size) = rows.iter().map(|row| row.size).min() else { return Vec::new() };
    let sustained: Vec<&Row> =
        rows.iter().copied().filter(|row| row.shape == Shape::Sustained).collect();
    let small: Vec<&Row> = sustained.iter().copied().filter(|row| row.size == size).collect();
    let bursts = rows.iter().copied().filter(|row| row.size == size);
    let bursts: Vec<&Row> = bursts.filter(|row| matches!(row.shape, Shape::Burst(_))).collect();
    let of = |what: &str| format!("{mode}, {size} B: {what}");
    let picture = |name: &str, svg: Option<String>, caption: &str| {
        svg.map(|svg| Picture {
            name: format!("{mode}-{name}"),
            mode: Some(mode),
            svg,
            caption: caption.to_owned(),
        })
    };
    [
        picture(
            "throughput",
            throughput(
                comparison,
                &by_size(&sustained),
                format!("{mode}: messages per second, sustained"),
            ),
            WHISKERS,
        ),
        picture(
            "bursts",
            burst_lines(comparison, &bursts, of("time until a burst is acknowledged")),
            "Both axes are logarithmic: parallel lines mean a constant factor.",
        ),
        picture(
            "latency",
            latency_lines(comparison, &small, of(latency_of(mode))),
            "The median of the rounds at each quantile, on a logarithmic axis. At full speed \
             most of it is waiting in a full window.",
        ),
        picture(
            "latency-over-time",
            over_time(comparison, &small, of("latency over time"), |row| {
                Some((row.typical()?.timeline.ack_us.clone(), axis("", Scale::Log, text::micros)))
            }),
            "The worst of the timed messages in each slice of the round whose rate is the median.",
        ),
        picture(
            "memory",
            over_time(comparison, &small, of("memory above idle"), |row| {
                let points = &row.typical()?.timeline.memory_bytes;
                let mebibytes = points.iter().map(|(at, bytes)| (*at, bytes / MEBIBYTE));
                Some((mebibytes.collect(), axis("", Scale::Linear, text::mebibytes)))
            }),
            "Resident memory of the measuring process, above what it was before the load. What \
             memory:// keeps for readers is its retention.",
        ),
        picture(
            "tasks",
            over_time(comparison, &small, of("tasks"), |row| {
                let axis = axis("", Scale::Linear, |tasks| format!("{tasks:.0}"));
                Some((row.typical()?.timeline.tasks.clone(), axis))
            }),
            "Tasks of the runtime without those of the load: they must not follow the load.",
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn latency_of(mode: Mode) -> &'static str {
    match mode {
        Mode::Async | Mode::Sync => "publish to acknowledgement",
        Mode::Batch => "a whole batch",
        Mode::Consume => "settling a delivery",
    }
}

const WHISKERS: &str = "Bars are medians, whiskers the lowest and the highest round. ▸ marks a \
    bar that is cut off so that the others can be told apart.";

/// Rows by their payload.
fn by_size<'a>(rows: &[&'a Row]) -> Vec<(String, Vec<&'a Row>)> {
    let mut sizes: Vec<usize> = rows.iter().map(|row| row.size).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let of = |size| rows.iter().copied().filter(move |row| row.size == size).collect();
    match sizes.len() {
        1 => vec![(String::new(), rows.to_vec())],
        _ => sizes.into_iter().map(|size| (format!("{size} bytes"), of(size))).collect(),
    }
}

/// Bars of rates, in groups.
fn throughput(
    comparison: &Comparison,
    grouped: &[(String, Vec<&Row>)],
    title: String,
) -> Option<String> {
    let bar = |row: &&Row| {
        Some(Bar {
            series: comparison.series(&row.party),
            name: row.party.clone(),
            value: row.rate()?,
        })
    };
    let group = |(name, rows): &(String, Vec<&Row>)| {
        let bars: Vec<Bar> = rows.iter().filter_map(bar).collect();
        (!bars.is_empty()).then(|| Group { name: name.clone(), bars })
    };
    let groups: Vec<Group> = grouped.iter().filter_map(group).collect();
    let fastest = |memory: bool| {
        let rows = grouped.iter().flat_map(|(_, rows)| rows);
        let rows = rows.filter(|row| (row.backend == "memory") == memory);
        rows.filter_map(|row| row.rate()).map(|rate: Spread| rate.max).fold(0.0, f64::max)
    };
    // What has no broker is out of competition.
    let brokers = fastest(false);
    let at_most = (brokers > 0.0 && fastest(true) > 1.5 * brokers).then_some(1.15 * brokers);
    (!groups.is_empty()).then(|| Bars { title, groups, at_most, format: text::count }.svg())
}

fn burst_lines(comparison: &Comparison, rows: &[&Row], title: String) -> Option<String> {
    let at = |row: &Row| match row.shape {
        Shape::Burst(messages) => Some(messages as f64),
        _ => None,
    };
    let lines = lines(comparison, rows, |row| Some((at(row)?, row.seconds()?.median * 1e6)));
    let several = lines.iter().any(|line| line.points.len() > 1);
    several.then(|| {
        let mut ticks: Vec<f64> =
            lines.iter().flat_map(|line| &line.points).map(|point| point.0).collect();
        ticks.sort_by(f64::total_cmp);
        ticks.dedup();
        Lines {
            title,
            x: axis("messages in the burst", Scale::Log, text::count),
            x_ticks: ticks.into_iter().map(|tick| (tick, text::exact(tick))).collect(),
            y: axis("", Scale::Log, text::micros),
            lines,
            dots: true,
        }
        .svg()
    })
}

fn latency_lines(comparison: &Comparison, rows: &[&Row], title: String) -> Option<String> {
    type Of = fn(&Quantiles) -> f64;
    const QUANTILES: [(&str, Of); 4] = [
        ("p50", |quantiles| quantiles.p50),
        ("p99", |quantiles| quantiles.p99),
        ("p99.9", |quantiles| quantiles.p999),
        ("max", |quantiles| quantiles.max),
    ];
    let line = |row: &&Row| {
        let quantiles = row.ack_us()?;
        let points = QUANTILES.iter().enumerate();
        Some(Line {
            series: comparison.series(&row.party),
            name: row.party.clone(),
            points: points.map(|(n, (_, of))| (n as f64, of(&quantiles))).collect(),
        })
    };
    let lines: Vec<Line> = rows.iter().filter_map(line).collect();
    let names = QUANTILES.iter().enumerate().map(|(n, (name, _))| (n as f64, (*name).to_owned()));
    (!lines.is_empty()).then(|| {
        Lines {
            title,
            x: axis("", Scale::Linear, text::count),
            x_ticks: names.collect(),
            y: axis("", Scale::Log, text::micros),
            lines,
            dots: true,
        }
        .svg()
    })
}

fn over_time(
    comparison: &Comparison,
    rows: &[&Row],
    title: String,
    of: impl Fn(&Row) -> Option<(Vec<Point>, Axis)>,
) -> Option<String> {
    let mut y = None;
    let mut lines = Vec::new();
    for &row in rows {
        let Some((points, axis)) = of(row).filter(|(points, _)| points.len() > 1) else { continue };
        y = Some(axis);
        lines.push(Line { series: comparison.series(&row.party), name: row.party.clone(), points });
    }
    Some(
        Lines {
            title,
            x: axis("milliseconds since the start", Scale::Linear, text::exact),
            x_ticks: Vec::new(),
            y: y?,
            lines,
            dots: false,
        }
        .svg(),
    )
}

/// A line for each party.
fn lines(
    comparison: &Comparison,
    rows: &[&Row],
    point: impl Fn(&Row) -> Option<(f64, f64)>,
) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for row in rows {
        let Some(point) = point(row) else { continue };
        match lines.iter_mut().find(|line| line.name == row.party) {
            Some(line) => line.points.push(point),
            None => lines.push(Line {
                series: comparison.series(&row.party),
                name: row.party.clone(),
                points: vec![point],
            }),
        }
    }
    lines
}

fn of_experiment(comparison: &Comparison, experiment: Experiment) -> Vec<Picture> {
    let rows: Vec<&Row> = comparison.rows.iter().collect();
    let plot = |name: &str, title: &str, y: Axis, of: fn(&Row) -> Option<f64>, caption: &str| {
        let lines = lines(comparison, &rows, |row| Some((row.shape.value()? as f64, of(row)?)));
        let values = experiment.values().iter();
        (!lines.is_empty()).then(|| Picture {
            name: format!("{experiment}-{name}"),
            mode: None,
            svg: Lines {
                title: title.to_owned(),
                x: axis(experiment.axis(), Scale::Log, text::count),
                x_ticks: values.map(|value| (*value as f64, text::exact(*value as f64))).collect(),
                y,
                lines,
                dots: true,
            }
            .svg(),
            caption: caption.to_owned(),
        })
    };
    let tasks = |tasks: f64| text::exact(tasks);
    let rates = match experiment {
        // Over three powers of ten.
        Experiment::Payload => Scale::Log,
        _ => Scale::Linear,
    };
    [
        plot(
            "throughput",
            "Messages per second",
            axis("", rates, text::count),
            |row| Some(row.rate()?.median),
            "Medians of all rounds.",
        ),
        plot(
            "p99",
            "Publish to acknowledgement, p99",
            axis("", Scale::Log, text::micros),
            |row| Some(row.ack_us()?.p99),
            "Medians of all rounds, on a logarithmic axis.",
        ),
        plot(
            "tasks",
            "Tasks at the peak",
            axis("", Scale::Log, tasks),
            |row| row.peak_tasks().map(|tasks| tasks as f64),
            "The most of any round, on a logarithmic axis; those of the client are among them.",
        ),
        plot(
            "memory",
            "Memory above idle",
            axis("", Scale::Linear, text::mebibytes),
            |row| Some(row.memory_growth()?.median / MEBIBYTE),
            "How far the resident memory grew; medians of all rounds.",
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}
