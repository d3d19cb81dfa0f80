//! What is printed: one line a result, with the bar that it has to pass.

use std::time::Duration;

/// Times of the same work, sorted.
#[derive(Debug, Clone)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    /// Of microseconds.
    pub(crate) fn of_micros(mut micros: Vec<f64>) -> Self {
        micros.sort_by(f64::total_cmp);
        Self(micros)
    }

    /// Of durations.
    pub(crate) fn of(times: impl IntoIterator<Item = Duration>) -> Self {
        Self::of_micros(times.into_iter().map(|t| t.as_secs_f64() * 1e6).collect())
    }

    /// The time that this share of them stays within, in milliseconds.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let at = ((self.0.len() as f64 * share).ceil() as usize).clamp(1, self.0.len().max(1));
        self.0.get(at - 1).map_or(f64::NAN, |micros| micros / 1e3)
    }

    /// The median in milliseconds.
    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The shortest in milliseconds: what it costs when nothing else disturbs it.
    pub(crate) fn least(&self) -> f64 {
        self.quantile(0.0)
    }
}

/// The lines so far.
pub(crate) struct Report {
    met: u32,
    missed: Vec<String>,
    failed: u32,
}

impl Report {
    /// Prints the head.
    pub(crate) fn begin() -> Self {
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load
            .split(' ')
            .next()
            .and_then(|word| word.parse::<f64>().ok());
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        if let Some(load) = load.filter(|load| *load > cpus as f64 / 2.0) {
            println!(
                "{load} programs want {cpus} processors before this begins: only ratios count,"
            );
            println!("and where several processes work together not even those.\n");
        }
        println!(
            "{:<60} {:>16} {:>16} {:>7}  bar",
            "", "raw", "porthole", "ratio"
        );
        Self {
            met: 0,
            missed: Vec::new(),
            failed: 0,
        }
    }

    /// A line: `ratio` is Porthole's to the floor's, `bar` what is asked for, and `met` whether it
    /// was reached; none of these where there is nothing to compare with.
    pub(crate) fn line(
        &mut self,
        what: &str,
        raw: Option<String>,
        porthole: String,
        ratio: Option<f64>,
        bar: Option<(String, bool)>,
    ) {
        let raw = raw.unwrap_or_else(|| "–".to_owned());
        let ratio = ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}×"));
        let verdict = match bar {
            Some((bar, true)) => {
                self.met += 1;
                format!("{bar}: met")
            }
            Some((bar, false)) => {
                self.missed.push(what.to_owned());
                format!("{bar}: MISSED")
            }
            None => String::new(),
        };
        println!("{what:<60} {raw:>16} {porthole:>16} {ratio:>7}  {verdict}");
    }

    /// Medians of a time, where at most so many times the floor's is asked for.
    pub(crate) fn times(&mut self, what: &str, raw: &Samples, porthole: &Samples, most: f64) {
        let ratio = porthole.median() / raw.median();
        self.line(
            what,
            Some(ms(raw.median())),
            ms(porthole.median()),
            Some(ratio),
            Some((format!("≤ {most}× raw"), ratio <= most)),
        );
    }

    /// A number that has a bar of its own.
    pub(crate) fn number(&mut self, what: &str, number: String, bar: &str, met: bool) {
        self.line(what, None, number, None, Some((bar.to_owned(), met)));
    }

    /// Something that this machine does not have, and so cannot be measured beside.
    pub(crate) fn skipped(&mut self, what: &str, why: &str) {
        println!("{what:<60} skipped: {why}");
    }

    /// A sentence on what the lines above compare.
    pub(crate) fn note(&mut self, text: &str) {
        println!("  {text}");
    }

    /// A measurement could not be made.
    pub(crate) fn failed(&mut self, what: &str, error: &anyhow::Error) {
        self.failed += 1;
        println!("{what:<60} FAILED: {error:#}");
    }

    /// Prints the sum of it.
    pub(crate) fn end(&self, took: Duration) {
        println!(
            "\n{} bars met, {} missed, {} measurements failed, in {:.0} s",
            self.met,
            self.missed.len(),
            self.failed,
            took.as_secs_f64()
        );
        for missed in &self.missed {
            println!("missed: {missed}");
        }
    }
}

/// Milliseconds as they are shown.
pub(crate) fn ms(value: f64) -> String {
    if value < 1.0 {
        format!("{value:.3} ms")
    } else {
        format!("{value:.2} ms")
    }
}

/// Median and 99th percentile as they are shown.
pub(crate) fn spread(samples: &Samples) -> String {
    let (median, worst) = (samples.median(), samples.quantile(0.99));
    if median < 10.0 {
        format!("{median:.3}/{worst:.2} ms")
    } else {
        format!("{median:.1}/{worst:.1} ms")
    }
}
