//! Where values stand on an axis, and which of them are written on it.

/// How values are spread over an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Evenly, from zero.
    Linear,
    /// By their logarithm.
    Log,
}

/// An axis with what is written on it.
#[derive(Debug, Clone)]
pub(crate) struct Axis {
    pub(crate) label: String,
    pub(crate) scale: Scale,
    pub(crate) format: fn(f64) -> String,
}

/// An axis over a range of values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    scale: Scale,
    low: f64,
    high: f64,
}

impl Range {
    /// The range that has all of `values`, with round ends where it is logarithmic.
    pub(super) fn of(scale: Scale, values: impl Iterator<Item = f64>) -> Self {
        let fits = |value: &f64| value.is_finite() && (scale == Scale::Linear || *value > 0.0);
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(fits) {
            (low, high) = (low.min(value), high.max(value));
        }
        if low > high {
            (low, high) = (1.0, 10.0);
        }
        match scale {
            Scale::Linear => {
                Self { scale, low: low.min(0.0), high: if high > 0.0 { high } else { 1.0 } }
            }
            Scale::Log => Self { scale, low, high: if high > low { high } else { low * 10.0 } },
        }
    }

    /// Makes both ends powers of ten.
    pub(super) fn rounded(self) -> Self {
        match self.scale {
            Scale::Linear => self,
            Scale::Log => Self {
                low: 10_f64.powf(self.low.log10().floor()),
                high: 10_f64.powf(self.high.log10().ceil()),
                ..self
            },
        }
    }

    /// Where a value stands, from 0 to 1.
    pub(super) fn place(self, value: f64) -> f64 {
        let part = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => {
                (value.max(self.low).ln() - self.low.ln()) / (self.high.ln() - self.low.ln())
            }
        };
        part.clamp(0.0, 1.0)
    }

    /// Round values in the range, a handful.
    pub(super) fn ticks(self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => {
                let step = round_step((self.high - self.low) / 5.0);
                let first = (self.low / step).ceil();
                let tick = |n: u32| (first + f64::from(n)) * step;
                (0..12).map(tick).take_while(|tick| *tick <= self.high * 1.001).collect()
            }
            Scale::Log => {
                let (low, high) =
                    (self.low.log10().ceil() as i32, self.high.log10().floor() as i32);
                let every = ((high - low) / 7 + 1).max(1);
                let powers = (low..=high).filter(|power| (power - low) % every == 0);
                powers.map(|power| 10_f64.powi(power)).collect()
            }
        }
    }
}

/// The next larger of 1, 2, 5, 10, 20, 50 and so on.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.max(1e-9).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    steps.into_iter().find(|step| *step >= least * 0.999).unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round() {
        let range = Range::of(Scale::Linear, [3.0, 207.0].into_iter());
        assert_eq!(range.ticks(), [0.0, 50.0, 100.0, 150.0, 200.0]);
        assert!((range.place(103.5) - 0.5).abs() < 1e-9);
        let range = Range::of(Scale::Log, [0.5, 20_000.0, 0.0].into_iter()).rounded();
        assert_eq!(range.ticks(), [0.1, 1.0, 10.0, 100.0, 1_000.0, 10_000.0, 100_000.0]);
        assert!((range.place(100.0) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn ranges_of_little_are_no_trouble() {
        for scale in [Scale::Linear, Scale::Log] {
            for values in [&[][..], &[0.0], &[7.0], &[f64::NAN]] {
                let range = Range::of(scale, values.iter().copied()).rounded();
                assert!((0.0..=1.0).contains(&range.place(7.0)), "{range:?}");
                assert!(range.ticks().len() < 13, "{range:?}");
            }
        }
    }
}
