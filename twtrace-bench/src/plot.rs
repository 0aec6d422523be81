//! Plots as SVG: what grew, and memory over a soak.
//!
//! Owns: how they are drawn. Must not know: what is concluded from them.

use anyhow::{Result, anyhow};
use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;

use crate::model::{Arm, Growth, Round, Soak};
use crate::page::text::grouped;
use crate::stats::{Spread, bills, cpu_percent, p99_ratios};

/// Of one panel, in pixels.
const WIDTH: u32 = 400;
const HEIGHT: u32 = 320;

/// A line of a panel.
struct Curve {
    arm: Arm,
    /// x, and what was measured there.
    points: Vec<(f64, Spread)>,
}

/// One coordinate system.
struct Panel<'a> {
    title: &'a str,
    curves: Vec<Curve>,
}

/// Three panels: p99 of connect(), CPU, and memory, over what grew.
///
/// # Errors
/// Where drawing fails.
pub(crate) fn growth(growth: &Growth) -> Result<String> {
    let panel = |title, value: &dyn Fn(&[Round], Arm) -> Option<Spread>| {
        let arms = [Arm::Untraced, Arm::Events, Arm::Live, Arm::Record];
        let curves = arms.into_iter().map(|arm| {
            let points =
                growth.points.iter().filter_map(|point| Some((point.size, value(&point.rounds, arm)?)));
            Curve { arm, points: points.collect() }
        });
        Panel { title, curves: curves.filter(|curve| !curve.points.is_empty()).collect() }
    };
    let mib = |kib: u64| kib as f64 / 1024.0;
    let panels = [
        panel("p99 of connect(), ratio to untraced", &p99_ratios),
        panel("CPU of twtrace, % of a core", &cpu_percent),
        panel("peak memory of twtrace, MiB", &|rounds, arm| bills(rounds, arm, |bill| bill.rss_kib.map(mib))),
    ];
    draw(&panels, &growth.axis, growth.name != "rate")
}

/// Resident memory over time.
///
/// # Errors
/// Where drawing fails.
pub(crate) fn soak(soak: &Soak) -> Result<String> {
    let curves = soak.modes.iter().map(|mode| {
        let at = |(at, kib): &(f64, u64)| Some((*at, Spread::of([*kib as f64 / 1024.0])?));
        Curve { arm: mode.arm, points: mode.rss.iter().filter_map(at).collect() }
    });
    let panel = Panel { title: "resident memory, MiB", curves: curves.collect() };
    draw(&[panel], "seconds", false)
}

fn draw(panels: &[Panel], axis: &str, logarithmic: bool) -> Result<String> {
    let mut svg = String::new();
    let count = u32::try_from(panels.len())?;
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH * count, HEIGHT)).into_drawing_area();
        let wrong = |error: &dyn std::fmt::Display| anyhow!("drawing a plot: {error}");
        area.fill(&WHITE).map_err(|error| wrong(&error))?;
        for (panel, area) in panels.iter().zip(area.split_evenly((1, panels.len()))) {
            let ends = Spread::of(panel.curves.iter().flat_map(|curve| curve.points.iter().map(|(x, _)| *x)));
            let Some(ends) = ends else { continue };
            // A single size still needs a range.
            let (low, high) = (ends.min, if ends.max > ends.min { ends.max } else { ends.min + 1.0 });
            let drawn = match logarithmic {
                true => draw_panel(panel, &area, axis, (low.max(1.0)..high.max(2.0)).log_scale()),
                false => draw_panel(panel, &area, axis, 0.0..high),
            };
            drawn.map_err(|error| wrong(&error))?;
        }
        area.present().map_err(|error| wrong(&error))?;
    }
    Ok(svg)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Failure = DrawingAreaErrorKind<std::io::Error>;

fn draw_panel<X>(panel: &Panel, area: &Area, axis: &str, xs: X) -> Result<(), Failure>
where
    X: AsRangedCoord<Value = f64>,
    X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let values = panel.curves.iter().flat_map(|curve| curve.points.iter().map(|(_, spread)| spread.high));
    let top = values.fold(0.0, f64::max) * 1.1;
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .caption(panel.title, ("sans-serif", 15))
        .x_label_area_size(40)
        .y_label_area_size(52)
        .build_cartesian_2d(xs, 0.0..if top > 0.0 { top } else { 1.0 })?;
    chart
        .configure_mesh()
        .x_desc(axis)
        .x_labels(6)
        .y_labels(6)
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .x_label_formatter(&|x| grouped(*x))
        .y_label_formatter(&|y| short(*y))
        .label_style(("sans-serif", 11))
        .draw()?;
    for curve in &panel.curves {
        let colour = colour(curve.arm);
        let line = curve.points.iter().map(|(x, spread)| (*x, spread.median));
        chart
            .draw_series(LineSeries::new(line.clone(), colour.stroke_width(2)))?
            .label(curve.arm.name())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], colour.stroke_width(2)));
        // A curve of hundreds of points needs no dots.
        if curve.points.len() < 20 {
            chart.draw_series(line.map(|at| Circle::new(at, 3, colour.filled())))?;
            let bars = curve.points.iter().map(|(x, spread)| {
                PathElement::new([(*x, spread.low), (*x, spread.high)], colour.stroke_width(1))
            });
            chart.draw_series(bars)?;
        }
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.8))
        .label_font(("sans-serif", 11))
        .draw()
}

fn colour(arm: Arm) -> RGBColor {
    match arm {
        Arm::Events => RGBColor(0, 110, 180),
        Arm::Live => RGBColor(200, 80, 0),
        Arm::Record => RGBColor(0, 130, 80),
        _ => RGBColor(130, 130, 130),
    }
}

/// As few digits as will do.
fn short(number: f64) -> String {
    let digits = if number >= 20.0 || number.fract() == 0.0 { 0 } else { 2 };
    format!("{number:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Bill, Connect, Point, Sample, SoakMode, Told};
    use crate::stats::tests::sample;

    fn point(size: f64) -> Point {
        let connect = Some(Connect { p50_ns: 7, p99_ns: 11 });
        let bill = Some(Bill { cpu_s: Some(0.01), rss_kib: Some(2048), ..Bill::default() });
        let base = Sample { connect, ..sample(Arm::Untraced, 1.0) };
        let traced = Sample { connect, bill, ..sample(Arm::Events, 1.0) };
        Point { label: grouped(size), size, rounds: vec![vec![base, traced]] }
    }

    fn whole(svg: &str) {
        assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"), "{svg}");
    }

    #[test]
    fn what_grew_becomes_three_panels() {
        for name in ["rate", "processes"] {
            let points = [10.0, 1000.0, 10_000.0].map(point).to_vec();
            let svg =
                super::growth(&Growth { name: name.to_owned(), axis: "things".to_owned(), points }).unwrap();
            whole(&svg);
            for words in
                ["p99 of connect()", "CPU of twtrace", "peak memory", "twtrace events", "things", "10,000"]
            {
                assert!(svg.contains(words), "{words} in {svg}");
            }
            assert!(!svg.contains("twtrace record"), "{svg}");
        }
    }

    #[test]
    fn one_size_or_none_is_no_reason_to_fail() {
        for points in [vec![], vec![point(7.0)]] {
            let growth = Growth { name: "processes".to_owned(), axis: "x".to_owned(), points };
            whole(&super::growth(&growth).unwrap());
        }
    }

    #[test]
    fn memory_becomes_a_curve_a_mode() {
        let rss = (0..100).map(|at| (f64::from(at), 20_480)).collect();
        let mode = SoakMode { arm: Arm::Live, rss, told: Told::default(), created: None };
        let svg = super::soak(&Soak { length_s: 100.0, speed: 1.0, modes: vec![mode] }).unwrap();
        whole(&svg);
        assert!(svg.contains("twtrace (live)") && svg.contains("seconds"), "{svg}");
        assert!(!svg.contains("<circle"), "{svg}");
    }
}
