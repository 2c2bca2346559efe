//! Interleaved timing, and the table.

use std::time::Instant;

/// Seconds that `run` takes.
pub(crate) fn seconds<R>(run: impl FnOnce() -> R) -> f64 {
    let start = Instant::now();
    std::hint::black_box(run());
    start.elapsed().as_secs_f64()
}

pub(crate) fn median(figures: &[f64]) -> f64 {
    quantile(figures, 0.5)
}

/// The figure below which this share of the figures lies.
pub(crate) fn quantile(figures: &[f64], share: f64) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = ((sorted.len() - 1) as f64 * share).round();
    sorted[place as usize]
}

/// Medians of two things measured in turn, after a turn that does not count.
pub(crate) fn in_turn(turns: usize, mut one: impl FnMut() -> f64, mut other: impl FnMut() -> f64) -> (f64, f64) {
    let figures: Vec<(f64, f64)> = (0..=turns).map(|_| (one(), other())).skip(1).collect();
    let (ones, others): (Vec<f64>, Vec<f64>) = figures.into_iter().unzip();
    (median(&ones), median(&others))
}

/// What a figure must be.
#[derive(Clone, Copy)]
pub(crate) enum Bar {
    AtLeast(f64),
    AtMost(f64),
    /// It is told, and no more.
    None,
}

/// The rows of the table.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<[String; 4]>,
}

impl Report {
    /// Adds a row. `unit` stands behind the figure and the bar; `detail` says what the figure is made of.
    pub(crate) fn add(&mut self, what: &str, figure: f64, unit: &str, bar: Bar, detail: String) {
        let (bar, met) = match bar {
            Bar::AtLeast(bound) => (format!("≥ {bound}{unit}"), figure >= bound),
            Bar::AtMost(bound) => (format!("≤ {bound}{unit}"), figure <= bound),
            Bar::None => ("stated".to_owned(), true),
        };
        let mark = if met { "" } else { " **missed**" };
        eprintln!("{what}: {figure:.2}{unit} ({detail})");
        self.rows.push([what.into(), format!("{figure:.2}{unit}{mark}"), bar, detail]);
    }

    pub(crate) fn print(&self) {
        println!("| what | figure | bar | made of |\n|---|---|---|---|");
        for [what, figure, bar, detail] in &self.rows {
            println!("| {what} | {figure} | {bar} | {detail} |");
        }
    }
}
