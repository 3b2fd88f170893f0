//! Charts as SVG: lines over logarithmic axes, and bars. Colours follow the reader's light or dark scheme.

use std::fmt::Write;

/// One line, or a set of points without a line.
pub struct Series {
    pub name: String,
    /// One of the colours of `STYLE`.
    pub colour: usize,
    /// A limit: a dashed line without marks, named where it is drawn and not in the legend.
    pub limit: bool,
    pub points: Vec<(f64, f64)>,
}

/// Lines over two logarithmic axes.
pub struct Lines {
    pub title: String,
    pub x: String,
    pub y: String,
    pub series: Vec<Series>,
}

/// Bars side by side: groups of (name, bars), bars of (index of the series, value).
pub struct Bars {
    pub title: String,
    pub x: String,
    /// Name and colour of each series; one without a name is not used.
    pub series: Vec<(String, usize)>,
    pub groups: Vec<(String, Vec<(usize, f64)>)>,
    /// Vertical lines: name and value.
    pub marks: Vec<(String, f64)>,
}

const WIDTH: f64 = 860.0;
/// Left of the plot, and right of it (the legend of lines).
const LEFT: f64 = 70.0;
const LEGEND: f64 = 200.0;
const TOP: f64 = 44.0;

/// Colours that stay apart for colour-blind readers, on white and on dark.
const STYLE: &str = "<style>\
.b{fill:#ffffff}.t{fill:#1f2328}.g{stroke:#d8dee4}.a{stroke:#57606a}\
.c0{color:#0550ae}.c1{color:#218bff}.c2{color:#6fb8ff}.c3{color:#d1570a}.c4{color:#1a7f37}.c5{color:#8250df}.c6{color:#6e7781}\
text{font:12px system-ui,-apple-system,'Segoe UI',sans-serif}.h{font-size:15px;font-weight:600}.s{font-size:11px}\
.v{font-size:11px;paint-order:stroke;stroke:#ffffff;stroke-width:4px}.l{fill:none;stroke:currentColor;stroke-width:2}.f{fill:currentColor}\
@media(prefers-color-scheme:dark){.b{fill:#0d1117}.t{fill:#e6edf3}.v{stroke:#0d1117}.g{stroke:#30363d}.a{stroke:#8b949e}\
.c0{color:#a5d6ff}.c1{color:#58a6ff}.c2{color:#1f6feb}.c3{color:#f0883e}.c4{color:#3fb950}.c5{color:#bc8cff}.c6{color:#8b949e}}\
</style>";

fn open(out: &mut String, height: f64, title: &str) {
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         role=\"img\" aria-label=\"{0}\">{STYLE}<rect class=\"b\" width=\"{WIDTH}\" height=\"{height}\"/>\
         <text class=\"t h\" x=\"16\" y=\"26\">{0}</text>",
        escaped(title),
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

fn text(out: &mut String, class: &str, anchor: &str, x: f64, y: f64, content: &str) {
    let content = escaped(content);
    let _ =
        writeln!(out, "<text class=\"t {class}\" text-anchor=\"{anchor}\" x=\"{x:.1}\" y=\"{y:.1}\">{content}</text>");
}

fn line(out: &mut String, class: &str, from: (f64, f64), to: (f64, f64), more: &str) {
    let ((x1, y1), (x2, y2)) = (from, to);
    let _ =
        writeln!(out, "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" {more}/>");
}

/// A number as people write it.
fn number(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}").trim_end_matches(".0").to_string(),
        v => {
            let digits = format!("{v:.3}");
            digits.trim_end_matches('0').trim_end_matches('.').to_string()
        }
    }
}

/// A logarithmic axis: values to positions.
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn of(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Axis {
        let (mut low, mut high) = (f64::INFINITY, 0.0f64);
        for value in values.filter(|value| *value > 0.0) {
            low = low.min(value);
            high = high.max(value);
        }
        Axis { low: low * 0.85, high: high * 1.2, from, to }
    }

    fn at(&self, value: f64) -> f64 {
        let part = (value / self.low).ln() / (self.high / self.low).ln();
        self.from + part * (self.to - self.from)
    }

    /// Powers of two where the axis is short or counts rows, else 1, 2, 5 of each power of ten.
    fn ticks(&self, binary: bool) -> Vec<f64> {
        let mut all = Vec::new();
        if binary {
            let mut tick = 2f64.powf(self.low.log2().ceil());
            while tick <= self.high {
                all.push(tick);
                tick *= 2.0;
            }
            return all;
        }
        let mut power = 10f64.powf(self.low.log10().floor());
        while power <= self.high {
            all.extend([1.0, 2.0, 5.0].map(|of| of * power).into_iter().filter(|t| *t >= self.low && *t <= self.high));
            power *= 10.0;
        }
        all
    }
}

impl Lines {
    pub fn draw(&self) -> String {
        let (height, mut out) = (480.0, String::new());
        open(&mut out, height, &self.title);
        let (right, bottom) = (WIDTH - LEGEND, height - 50.0);
        let points = || self.series.iter().flat_map(|series| &series.points);
        let x = Axis::of(points().map(|point| point.0), LEFT, right);
        let y = Axis::of(points().map(|point| point.1), bottom, TOP);
        for tick in x.ticks(true) {
            line(&mut out, "g", (x.at(tick), TOP), (x.at(tick), bottom), "");
            text(&mut out, "s", "middle", x.at(tick), bottom + 16.0, &number(tick));
        }
        for tick in y.ticks(false) {
            line(&mut out, "g", (LEFT, y.at(tick)), (right, y.at(tick)), "");
            text(&mut out, "s", "end", LEFT - 6.0, y.at(tick) + 4.0, &number(tick));
        }
        line(&mut out, "a", (LEFT, bottom), (right, bottom), "");
        line(&mut out, "a", (LEFT, TOP), (LEFT, bottom), "");
        text(&mut out, "", "middle", (LEFT + right) / 2.0, height - 12.0, &self.x);
        let middle = (TOP + bottom) / 2.0;
        let _ = writeln!(
            out,
            "<text class=\"t\" text-anchor=\"middle\" transform=\"translate(18 {middle}) rotate(-90)\">{}</text>",
            escaped(&self.y)
        );
        self.series.iter().for_each(|series| draw_series(&mut out, series, &x, &y));
        for (index, series) in self.series.iter().filter(|series| !series.limit).enumerate() {
            let at = TOP + 14.0 + 20.0 * index as f64;
            let _ = write!(out, "<g class=\"c{}\">", series.colour);
            line(&mut out, "l", (right + 12.0, at), (right + 36.0, at), "");
            let _ = write!(out, "<circle class=\"f\" cx=\"{:.1}\" cy=\"{at:.1}\" r=\"3\"/>", right + 24.0);
            out.push_str("</g>");
            text(&mut out, "s", "start", right + 42.0, at + 4.0, &series.name);
        }
        out.push_str("</svg>\n");
        out
    }
}

fn draw_series(out: &mut String, series: &Series, x: &Axis, y: &Axis) {
    let _ = write!(out, "<g class=\"c{}\"><polyline class=\"l\" ", series.colour);
    if series.limit {
        out.push_str("stroke-dasharray=\"5 4\" ");
    }
    out.push_str("points=\"");
    for point in &series.points {
        let _ = write!(out, "{:.1},{:.1} ", x.at(point.0), y.at(point.1));
    }
    out.push_str("\"/>");
    for point in series.points.iter().filter(|_| !series.limit) {
        let _ = write!(out, "<circle class=\"f\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"/>", x.at(point.0), y.at(point.1));
    }
    out.push_str("</g>\n");
    if let (true, Some(last)) = (series.limit, series.points.last()) {
        text(out, "v", "end", x.at(last.0) - 4.0, y.at(last.1) - 5.0, &series.name);
    }
}

impl Bars {
    pub fn draw(&self) -> String {
        /// Thickness of a bar with its gap, room between groups.
        const BAR: f64 = 15.0;
        const GAP: f64 = 12.0;
        let left = 150.0;
        let right = WIDTH - 70.0;
        let top = TOP + 32.0;
        let bars: usize = self.groups.iter().map(|(_, bars)| bars.len()).sum();
        let height = top + bars as f64 * BAR + self.groups.len() as f64 * GAP + 50.0;
        let bottom = height - 44.0;
        let mut out = String::new();
        open(&mut out, height, &self.title);
        let values = self.groups.iter().flat_map(|(_, bars)| bars.iter().map(|(_, value)| *value));
        let most = values.chain(self.marks.iter().map(|(_, value)| *value)).fold(0.0, f64::max);
        let at = |value: f64| left + value / most * (right - left);
        // Steps of 1, 2 or 5 that give five lines to ten.
        let power = 10f64.powf((most / 5.0).log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|of| of * power).into_iter().find(|step| most / step <= 10.0);
        let mut tick = 0.0;
        while let Some(step) = step
            && tick <= most
        {
            line(&mut out, "g", (at(tick), top), (at(tick), bottom), "");
            text(&mut out, "s", "middle", at(tick), bottom + 16.0, &number(tick));
            tick += step;
        }
        let mut legend = 16.0;
        for (name, colour) in self.series.iter().filter(|(name, _)| !name.is_empty()) {
            let _ = write!(
                out,
                "<g class=\"c{colour}\"><rect class=\"f\" x=\"{legend}\" y=\"40\" width=\"12\" height=\"12\"/></g>"
            );
            text(&mut out, "s", "start", legend + 17.0, 50.0, name);
            legend += 34.0 + 6.4 * name.chars().count() as f64;
        }
        for (name, value) in &self.marks {
            line(&mut out, "a", (at(*value), top - 4.0), (at(*value), bottom), "stroke-dasharray=\"5 4\"");
            text(&mut out, "s", "middle", at(*value), top - 7.0, name);
        }
        let mut y = top + GAP / 2.0;
        for (name, bars) in &self.groups {
            text(&mut out, "", "end", left - 8.0, y + bars.len() as f64 * BAR / 2.0 + 4.0, name);
            for (series, value) in bars {
                let (_, colour) = self.series[*series];
                let _ = writeln!(
                    out,
                    "<g class=\"c{colour}\"><rect class=\"f\" x=\"{left}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\"/></g>",
                    at(*value) - left,
                    BAR - 2.0,
                );
                text(&mut out, "v", "start", at(*value) + 4.0, y + 10.5, &number(*value));
                y += BAR;
            }
            y += GAP;
        }
        line(&mut out, "a", (left, top), (left, bottom), "");
        text(&mut out, "", "middle", (left + right) / 2.0, height - 10.0, &self.x);
        out.push_str("</svg>\n");
        out
    }
}
