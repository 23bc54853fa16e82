//! `timex`: how the kernel steers its clock, from adjtimex(2).

use std::io;

use signal::samples::MetricKind::{Counter, Gauge};

use super::{CollectorError, Family, Outcome, Paths};

/// The call's answer for a clock that is not synchronised.
const TIME_ERROR: i32 = 5;
/// In `status`: offset and jitter are in nanoseconds, else in microseconds.
const STA_NANO: i32 = 0x2000;
const MICRO: f64 = 1e6;
const NANO: f64 = 1e9;
/// Parts per million with a 16-bit fraction.
const SCALED_PPM: f64 = 65536.0 * 1e6;

pub(super) fn collect(_: &Paths, out: &mut Vec<Family>) -> Outcome {
    let (state, timex) = match adjtimex() {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(CollectorError::NoData),
        Err(source) => return Err(CollectorError::System { call: "adjtimex", source }),
    };
    families(state, &timex, out);
    Ok(())
}

/// Reads the clock's state; `modes` of 0 changes nothing and needs no privilege.
#[expect(unsafe_code, reason = "neither std nor rustix has adjtimex")]
fn adjtimex() -> io::Result<(i32, libc::timex)> {
    // SAFETY: the structure is integers only, for which all zeroes is a valid value.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live structure of the type that the call fills in.
    let state = unsafe { libc::adjtimex(&raw mut timex) };
    if state < 0 { Err(io::Error::last_os_error()) } else { Ok((state, timex)) }
}

fn families(state: i32, timex: &libc::timex, out: &mut Vec<Family>) {
    let unit = if timex.status & STA_NANO == 0 { MICRO } else { NANO };
    let synchronised = if state == TIME_ERROR { 0.0 } else { 1.0 };
    let rows = [
        (
            "offset_seconds",
            "Time offset in between local system and reference clock.",
            Gauge,
            timex.offset as f64 / unit,
        ),
        (
            "frequency_adjustment_ratio",
            "Local clock frequency adjustment.",
            Gauge,
            1.0 + timex.freq as f64 / SCALED_PPM,
        ),
        ("maxerror_seconds", "Maximum error in seconds.", Gauge, timex.maxerror as f64 / MICRO),
        ("estimated_error_seconds", "Estimated error in seconds.", Gauge, timex.esterror as f64 / MICRO),
        ("status", "Value of the status array bits.", Gauge, f64::from(timex.status)),
        ("loop_time_constant", "Phase-locked loop time constant.", Gauge, timex.constant as f64),
        ("tick_seconds", "Seconds between clock ticks.", Gauge, timex.tick as f64 / MICRO),
        ("pps_frequency_hertz", "Pulse per second frequency.", Gauge, timex.ppsfreq as f64 / SCALED_PPM),
        ("pps_jitter_seconds", "Pulse per second jitter.", Gauge, timex.jitter as f64 / unit),
        ("pps_shift_seconds", "Pulse per second interval duration.", Gauge, f64::from(timex.shift)),
        (
            "pps_stability_hertz",
            "Pulse per second stability, average of recent frequency changes.",
            Gauge,
            timex.stabil as f64 / SCALED_PPM,
        ),
        (
            "pps_jitter_total",
            "Pulse per second count of jitter limit exceeded events.",
            Counter,
            timex.jitcnt as f64,
        ),
        (
            "pps_calibration_total",
            "Pulse per second count of calibration intervals.",
            Counter,
            timex.calcnt as f64,
        ),
        ("pps_error_total", "Pulse per second count of calibration errors.", Counter, timex.errcnt as f64),
        (
            "pps_stability_exceeded_total",
            "Pulse per second count of stability limit exceeded events.",
            Counter,
            timex.stbcnt as f64,
        ),
        ("tai_offset_seconds", "International Atomic Time (TAI) offset.", Gauge, f64::from(timex.tai)),
        ("sync_status", "Is clock synchronized to a reliable server (1 = yes, 0 = no).", Gauge, synchronised),
    ];
    for (name, help, kind, value) in rows {
        out.push(Family::new(format!("node_timex_{name}"), help, kind).with(&[], value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_of_this_machine_can_be_read() {
        let (state, timex) = adjtimex().unwrap();
        assert!((0..=TIME_ERROR).contains(&state));
        // Linux allows a tick of a hundredth of a second, give or take a tenth of it.
        assert!((9_000..=11_000).contains(&timex.tick), "{}", timex.tick);
    }

    #[test]
    fn values_are_given_in_base_units() {
        let (_, mut timex) = adjtimex().unwrap();
        timex.offset = 2_000_000;
        timex.freq = 65536;
        let value = |state: i32, timex: &libc::timex, name: &str| {
            let mut out = Vec::new();
            families(state, timex, &mut out);
            out.iter().find(|family| family.name == name).unwrap().metrics[0].value
        };
        timex.status = STA_NANO;
        assert_eq!(value(0, &timex, "node_timex_offset_seconds"), 0.002);
        timex.status = 0;
        assert_eq!(value(0, &timex, "node_timex_offset_seconds"), 2.0);
        assert_eq!(value(0, &timex, "node_timex_frequency_adjustment_ratio"), 1.000_001);
        assert_eq!(value(0, &timex, "node_timex_sync_status"), 1.0);
        assert_eq!(value(TIME_ERROR, &timex, "node_timex_sync_status"), 0.0);
    }
}
