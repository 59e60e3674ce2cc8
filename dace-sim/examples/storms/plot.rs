//! Plots of what was seen: goodput, load and open circuits over time.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

use crate::fleet::Second;

/// What of a second is drawn.
type Count = fn(&Second) -> u32;

/// Points of a line, at the most: each is the mean of the seconds around it.
const POINTS: usize = 150;

const COLOURS: [RGBColor; 4] =
    [RGBColor(200, 40, 40), RGBColor(230, 150, 30), RGBColor(30, 90, 190), RGBColor(110, 110, 110)];

/// A name, and what was seen.
pub(crate) type Line<'a> = (&'a str, &'a [Second]);

/// One chart below the other. `storms`: from which second to which something was wrong.
pub(crate) fn draw(
    file: &Path,
    title: &str,
    lines: &[Line<'_>],
    storms: &[(u64, u64)],
) -> Result<(), Box<dyn Error>> {
    let area = SVGBackend::new(file, (760, 620)).into_drawing_area();
    area.fill(&WHITE)?;
    let area = area.titled(title, ("sans-serif", 18))?;
    let charts: [(&str, Count); 3] = [
        ("calls a second that got a value", |second| second.good),
        ("requests a second that reached a server", |second| second.requests),
        ("targets passed over, their circuits not closed", |second| second.ejected),
    ];
    for (area, (caption, value)) in area.split_evenly((3, 1)).iter().zip(charts) {
        let lines: Vec<_> =
            lines.iter().map(|(name, seconds)| (*name, means(seconds, value))).collect();
        let all = || lines.iter().flat_map(|(_, points)| points);
        let end = all().map(|point| point.0).fold(1.0, f64::max);
        let most = all().map(|point| point.1).fold(1.0, f64::max) * 1.1;
        let mut chart = ChartBuilder::on(area)
            .caption(caption, ("sans-serif", 14))
            .margin(6)
            .x_label_area_size(22)
            .y_label_area_size(56)
            .build_cartesian_2d(0.0..end, 0.0..most)?;
        chart.configure_mesh().disable_x_mesh().y_labels(4).x_labels(10).draw()?;
        chart.draw_series(storms.iter().map(|&(from, until)| {
            let corners = [(from as f64, 0.0), (until as f64, most)];
            Rectangle::new(corners, RGBColor(240, 225, 200).filled())
        }))?;
        for ((name, points), colour) in lines.into_iter().zip(COLOURS) {
            let key = move |(x, y)| PathElement::new([(x, y), (x + 14, y)], colour.stroke_width(2));
            chart.draw_series(LineSeries::new(points, &colour))?.label(name).legend(key);
        }
        chart
            .configure_series_labels()
            .background_style(WHITE.mix(0.8))
            .position(SeriesLabelPosition::UpperRight)
            .draw()?;
    }
    area.present()?;
    Ok(())
}

fn means(seconds: &[Second], value: fn(&Second) -> u32) -> Vec<(f64, f64)> {
    let count = seconds.len().div_ceil(POINTS).max(1);
    let mean = |(index, some): (usize, &[Second])| {
        let sum: u32 = some.iter().map(value).sum();
        ((index * count) as f64, f64::from(sum) / some.len() as f64)
    };
    seconds.chunks(count).enumerate().map(mean).collect()
}
