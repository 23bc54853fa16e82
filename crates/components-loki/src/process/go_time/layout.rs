//! A layout, taken apart into steps.

/// One step of a layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Text that stands for itself; a run of spaces stands for any.
    Text(Box<str>),
    LongMonth,
    Month,
    NumMonth,
    ZeroMonth,
    LongWeekday,
    Weekday,
    Day,
    UnderDay,
    ZeroDay,
    UnderYearDay,
    ZeroYearDay,
    Hour,
    Hour12,
    ZeroHour12,
    Minute,
    ZeroMinute,
    Second,
    ZeroSecond,
    LongYear,
    Year,
    UpperPm,
    LowerPm,
    /// `MST`
    ZoneName,
    Offset(OffsetForm),
    /// `.000` or `,000`: exactly so many digits.
    Fraction0(u8, char),
    /// `.999` or `,999`: digits may be missing.
    Fraction9(u8, char),
}

/// How an offset from UTC is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OffsetForm {
    /// `Z07:00`: UTC is `Z`.
    pub(super) iso: bool,
    pub(super) colon: bool,
    pub(super) minutes: bool,
    pub(super) seconds: bool,
}

/// A layout of Go's `time` package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    pub(super) steps: Box<[Step]>,
    has_year: bool,
}

/// Layouts that have a name.
const NAMED: [(&str, &str); 10] = [
    ("ANSIC", "Mon Jan _2 15:04:05 2006"),
    ("UnixDate", "Mon Jan _2 15:04:05 MST 2006"),
    ("RubyDate", "Mon Jan 02 15:04:05 -0700 2006"),
    ("RFC822", "02 Jan 06 15:04 MST"),
    ("RFC822Z", "02 Jan 06 15:04 -0700"),
    ("RFC850", "Monday, 02-Jan-06 15:04:05 MST"),
    ("RFC1123", "Mon, 02 Jan 2006 15:04:05 MST"),
    ("RFC1123Z", "Mon, 02 Jan 2006 15:04:05 -0700"),
    ("RFC3339", "2006-01-02T15:04:05Z07:00"),
    ("RFC3339Nano", "2006-01-02T15:04:05.999999999Z07:00"),
];

impl Layout {
    /// The layout that a text shows. Any text is one.
    pub fn new(text: &str) -> Self {
        let mut steps = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            // A literal underscore may be in front of a year.
            let literal = usize::from(rest.starts_with("_2006"));
            let found = if literal == 1 { Some((Step::LongYear, 4)) } else { element(rest) };
            let Some((step, length)) = found else {
                plain.push(first);
                rest = &rest[first.len_utf8()..];
                continue;
            };
            plain.push_str(&rest[..literal]);
            if !plain.is_empty() {
                steps.push(Step::Text(std::mem::take(&mut plain).into()));
            }
            steps.push(step);
            rest = &rest[literal + length..];
        }
        if !plain.is_empty() {
            steps.push(Step::Text(plain.into()));
        }
        let has_year = steps.iter().any(|step| matches!(step, Step::LongYear | Step::Year));
        Self { steps: steps.into(), has_year }
    }

    /// The layout with a name of Go's `time` package, such as `RFC3339`.
    pub fn named(name: &str) -> Option<Self> {
        NAMED.iter().find(|(known, _)| *known == name).map(|(_, text)| Self::new(text))
    }

    /// Whether times of this layout tell their year.
    pub fn has_year(&self) -> bool {
        self.has_year
    }

    /// Whether it has any element at all, so that it can tell one time from another.
    pub fn has_elements(&self) -> bool {
        self.steps.iter().any(|step| !matches!(step, Step::Text(_)))
    }
}

/// Elements by their first characters; of several the first that fits is meant.
const ELEMENTS: [(&str, Step); 26] = [
    ("January", Step::LongMonth),
    ("Monday", Step::LongWeekday),
    ("MST", Step::ZoneName),
    ("01", Step::ZeroMonth),
    ("02", Step::ZeroDay),
    ("03", Step::ZeroHour12),
    ("04", Step::ZeroMinute),
    ("05", Step::ZeroSecond),
    ("06", Step::Year),
    ("002", Step::ZeroYearDay),
    ("15", Step::Hour),
    ("1", Step::NumMonth),
    ("2006", Step::LongYear),
    ("2", Step::Day),
    ("_2", Step::UnderDay),
    ("__2", Step::UnderYearDay),
    ("3", Step::Hour12),
    ("4", Step::Minute),
    ("5", Step::Second),
    ("PM", Step::UpperPm),
    ("pm", Step::LowerPm),
    ("070000", Step::Offset(OffsetForm { iso: false, colon: false, minutes: true, seconds: true })),
    ("07:00:00", Step::Offset(OffsetForm { iso: false, colon: true, minutes: true, seconds: true })),
    ("0700", Step::Offset(OffsetForm { iso: false, colon: false, minutes: true, seconds: false })),
    ("07:00", Step::Offset(OffsetForm { iso: false, colon: true, minutes: true, seconds: false })),
    ("07", Step::Offset(OffsetForm { iso: false, colon: false, minutes: false, seconds: false })),
];
/// Where the offsets begin, which have a `-` or a `Z` in front.
const OFFSETS: usize = 21;

/// The element at the start of a text and its length. As time/format: `nextStdChunk`.
fn element(text: &str) -> Option<(Step, usize)> {
    let lower = |rest: &str| rest.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
    match text.as_bytes()[0] {
        b'.' | b',' => return fraction(text),
        sign @ (b'-' | b'Z') => {
            let fits = |(form, _): &&(&str, Step)| text[1..].starts_with(*form);
            let (form, step) = ELEMENTS[OFFSETS..].iter().find(fits)?;
            let Step::Offset(offset) = step else { return None };
            return Some((Step::Offset(OffsetForm { iso: sign == b'Z', ..*offset }), 1 + form.len()));
        }
        // "Jan" and "Mon" are no elements where they begin a longer word, such as "Month".
        b'J' if !text.starts_with("January") => {
            return text.strip_prefix("Jan").filter(|rest| !lower(rest)).map(|_| (Step::Month, 3));
        }
        b'M' if text.starts_with("Mon") && !text.starts_with("Monday") => {
            return Some((Step::Weekday, 3)).filter(|_| !lower(&text[3..]));
        }
        _ => {}
    }
    let (form, step) = ELEMENTS[..OFFSETS].iter().find(|(form, _)| text.starts_with(form))?;
    Some((step.clone(), form.len()))
}

/// `.000`, `,999`: only where no other digit follows.
fn fraction(text: &str) -> Option<(Step, usize)> {
    let bytes = text.as_bytes();
    let digit = *bytes.get(1).filter(|b| matches!(b, b'0' | b'9'))?;
    let digits = bytes[1..].iter().take_while(|b| **b == digit).count();
    if bytes.get(1 + digits).is_some_and(u8::is_ascii_digit) {
        return None;
    }
    let count = u8::try_from(digits).ok()?;
    let point = char::from(bytes[0]);
    let step = if digit == b'0' { Step::Fraction0(count, point) } else { Step::Fraction9(count, point) };
    Some((step, 1 + digits))
}
