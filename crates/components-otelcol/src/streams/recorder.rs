//! Histograms that are made here, value by value.

use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::proto::metrics::v1::{
    ExponentialHistogram, ExponentialHistogramDataPoint, Histogram, HistogramDataPoint,
};

use super::exponential;

/// What buckets histograms have.
#[derive(Clone, Debug, PartialEq)]
pub enum Layout {
    /// Upper bounds, ascending; each belongs to its bucket.
    Explicit(Vec<f64>),
    /// Exponential ones, at most so many a sign.
    Exponential(usize),
}

/// One histogram.
#[derive(Clone, Debug, PartialEq)]
pub enum Recorder {
    /// With explicit bounds, which are not repeated in it.
    Explicit {
        /// Values in each bucket; the last has what is above all bounds.
        counts: Box<[u64]>,
        /// Sum of all values.
        sum: f64,
    },
    /// With exponential buckets.
    Exponential(Box<ExponentialHistogramDataPoint>),
}

impl Recorder {
    /// Without values.
    pub fn new(layout: &Layout) -> Self {
        match layout {
            Layout::Explicit(bounds) => Self::Explicit { counts: vec![0; bounds.len() + 1].into(), sum: 0.0 },
            Layout::Exponential(_) => Self::Exponential(Box::new(exponential::empty())),
        }
    }

    /// Records a value `count` times; what is not finite is left out, and the answer is `false`.
    pub fn record(&mut self, layout: &Layout, value: f64, count: u64) -> bool {
        match (self, layout) {
            (Self::Explicit { counts, sum }, Layout::Explicit(bounds)) if value.is_finite() => {
                counts[bounds.partition_point(|bound| *bound < value)] += count;
                *sum += value * count as f64;
                true
            }
            (Self::Exponential(point), Layout::Exponential(max)) => {
                exponential::record(point, value, count, *max)
            }
            _ => false,
        }
    }

    /// Adds what another of the same layout has recorded.
    pub fn absorb(&mut self, other: &Self, layout: &Layout) {
        match (self, other, layout) {
            (Self::Explicit { counts, sum }, Self::Explicit { counts: more, sum: more_sum }, _) => {
                counts.iter_mut().zip(more).for_each(|(own, more)| *own += more);
                *sum += more_sum;
            }
            (Self::Exponential(own), Self::Exponential(more), Layout::Exponential(max)) => {
                let (min, max_value) =
                    (extreme(own.min, more.min, f64::min), extreme(own.max, more.max, f64::max));
                exponential::merge(own, more, *max);
                (own.min, own.max) = (min, max_value);
            }
            _ => {}
        }
    }

    /// As a data point of an explicit histogram; `None` for an exponential one.
    pub fn explicit(&self, layout: &Layout) -> Option<HistogramDataPoint> {
        let (Self::Explicit { counts, sum }, Layout::Explicit(bounds)) = (self, layout) else { return None };
        Some(HistogramDataPoint {
            count: counts.iter().sum(),
            sum: Some(*sum),
            bucket_counts: counts.to_vec(),
            explicit_bounds: bounds.clone(),
            ..Default::default()
        })
    }

    /// As a data point of an exponential histogram; `None` for an explicit one.
    pub fn exponential(&self) -> Option<ExponentialHistogramDataPoint> {
        match self {
            Self::Exponential(point) => Some((**point).clone()),
            Self::Explicit { .. } => None,
        }
    }
}

fn extreme(a: Option<f64>, b: Option<f64>, f: fn(f64, f64) -> f64) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(f(a, b)),
        (one, other) => one.or(other),
    }
}

/// The data of a metric of histograms: of each, `dress` says attributes, times and exemplars.
pub fn data<'a, T: 'a>(
    all: impl Iterator<Item = (&'a Recorder, T)>,
    layout: &Layout,
    temporality: i32,
    dress: impl Fn(T) -> Dress,
) -> Data {
    let mut explicit = Vec::new();
    let mut exponential = Vec::new();
    for (recorder, of) in all {
        let Dress { attributes, exemplars, start, time } = dress(of);
        if let Some(point) = recorder.explicit(layout) {
            explicit.push(HistogramDataPoint {
                attributes,
                exemplars,
                start_time_unix_nano: start,
                time_unix_nano: time,
                ..point
            });
        } else if let Some(point) = recorder.exponential() {
            exponential.push(ExponentialHistogramDataPoint {
                attributes,
                exemplars,
                start_time_unix_nano: start,
                time_unix_nano: time,
                ..point
            });
        }
    }
    match layout {
        Layout::Explicit(_) => {
            Data::Histogram(Histogram { data_points: explicit, aggregation_temporality: temporality })
        }
        Layout::Exponential(_) => Data::ExponentialHistogram(ExponentialHistogram {
            data_points: exponential,
            aggregation_temporality: temporality,
        }),
    }
}

/// What a point has besides its value.
pub struct Dress {
    /// Its attributes.
    pub attributes: Vec<signal::otlp::proto::common::v1::KeyValue>,
    /// Its exemplars.
    pub exemplars: Vec<signal::otlp::proto::metrics::v1::Exemplar>,
    /// Its start, Unix nanoseconds.
    pub start: u64,
    /// Its time, Unix nanoseconds.
    pub time: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_goes_to_the_bucket_whose_bound_it_does_not_exceed() {
        let layout = Layout::Explicit(vec![1.0, 2.0]);
        let mut recorder = Recorder::new(&layout);
        for (value, count) in [(0.5, 1), (1.0, 1), (1.5, 3), (2.5, 1)] {
            assert!(recorder.record(&layout, value, count));
        }
        assert!(!recorder.record(&layout, f64::INFINITY, 1));
        let point = recorder.explicit(&layout).expect("explicit");
        assert_eq!((point.count, point.bucket_counts, point.sum), (6, vec![2, 3, 1], Some(8.5)));
    }

    #[test]
    fn what_two_have_recorded_is_what_one_would_have() {
        for layout in [Layout::Explicit(vec![1.0, 2.0, 50.0]), Layout::Exponential(10)] {
            let mut all = [Recorder::new(&layout), Recorder::new(&layout), Recorder::new(&layout)];
            for (n, value) in [0.0, 1.0, 3.0, 700.0, 0.25].into_iter().enumerate() {
                assert!(all[n % 2].record(&layout, value, 1));
                assert!(all[2].record(&layout, value, 1));
            }
            let [mut a, b, whole] = all;
            a.absorb(&b, &layout);
            assert_eq!(a, whole);
            a.absorb(&Recorder::new(&layout), &layout);
            assert_eq!(a, whole, "of nothing there is no least and no greatest");
        }
    }
}
