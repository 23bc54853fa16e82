//! A point of any type that is kept for a stream.

use signal::otlp::proto::metrics::v1::{
    ExponentialHistogramDataPoint, HistogramDataPoint, NumberDataPoint, SummaryDataPoint,
};

use super::Point;

/// A kept point. The larger ones are on the heap, so that most streams need no more than a number.
#[derive(Clone, Debug, PartialEq)]
pub enum Held {
    /// Of a sum or gauge.
    Number(NumberDataPoint),
    /// Of a histogram.
    Histogram(Box<HistogramDataPoint>),
    /// Of an exponential histogram.
    Exponential(Box<ExponentialHistogramDataPoint>),
    /// Of a summary.
    Summary(Box<SummaryDataPoint>),
}

/// A type of points that can be kept.
pub trait Holdable: Point {
    /// Keeps it.
    fn hold(self) -> Held;
    /// The kept point, if it is of this type.
    fn held(held: &mut Held) -> Option<&mut Self>;
    /// Takes the kept point back, if it is of this type.
    fn release(held: Held) -> Option<Self>;
}

impl Holdable for NumberDataPoint {
    fn hold(self) -> Held {
        Held::Number(self)
    }

    fn held(held: &mut Held) -> Option<&mut Self> {
        match held {
            Held::Number(point) => Some(point),
            _ => None,
        }
    }

    fn release(held: Held) -> Option<Self> {
        match held {
            Held::Number(point) => Some(point),
            _ => None,
        }
    }
}

macro_rules! boxed {
    ($($type:ty => $variant:ident),*) => {$(
        impl Holdable for $type {
            fn hold(self) -> Held {
                Held::$variant(Box::new(self))
            }

            fn held(held: &mut Held) -> Option<&mut Self> {
                match held {
                    Held::$variant(point) => Some(point),
                    _ => None,
                }
            }

            fn release(held: Held) -> Option<Self> {
                match held {
                    Held::$variant(point) => Some(*point),
                    _ => None,
                }
            }
        }
    )*};
}

boxed!(
    HistogramDataPoint => Histogram,
    ExponentialHistogramDataPoint => Exponential,
    SummaryDataPoint => Summary
);
