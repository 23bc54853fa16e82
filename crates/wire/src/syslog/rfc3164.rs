//! Messages of RFC 3164 as they are met with: BSD's format, what rsyslog makes of it, and Cisco's.
//!
//! The grammar is that of github.com/leodido/go-syslog (`rfc3164`). Laxer: a time may be written as RFC 3339
//! has it (rsyslog's `ForwardFormat`), a text may have control characters and line ends, and a process in
//! brackets need not be followed by a colon and a space. A word in quotes or braces before a colon is the text's
//! (JSON), not the name of a program.

use super::{Message, SyslogError, Time, Yearless, priority, rfc3339};

/// Which of Cisco's additions stand before the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cisco {
    /// `237: `: a count of messages.
    pub counter: bool,
    /// `000485: `: a sequence number.
    pub sequence: bool,
    /// `router1: `: a host name.
    pub hostname: bool,
    /// `22:14:15.003`: fractions of a second.
    pub fractions: bool,
}

impl Cisco {
    fn any(self) -> bool {
        self != Self::default()
    }
}

/// Characters that a host name may have.
const HOSTNAME: usize = 255;
/// Characters that the name of a program may have; go-syslog found 32 too few.
const TAG: usize = 48;

/// Reads a message.
///
/// # Errors
/// If it is not of this format.
pub fn parse(message: &str, cisco: Cisco) -> Result<Message<'_>, SyslogError> {
    let (priority, at) = priority(message)?;
    let mut found = Message { priority: Some(priority), ..Message::default() };
    let mut rest = spaces(&message[at..]);
    if cisco.counter
        && let Some((number, after)) = number(rest)
    {
        (found.counter, rest) = (Some(number), after);
    }
    if cisco.sequence
        && let Some((number, after)) = number(rest)
    {
        (found.sequence, rest) = (Some(number), after);
    }
    if cisco.hostname
        && let Some((name, after)) = cisco_hostname(rest)
    {
        (found.hostname, rest) = (Some(name), after);
    }
    if cisco.any() {
        // Not synchronised, or no longer.
        rest = rest.strip_prefix(['*', '.']).unwrap_or(rest);
    }
    let error = |what, rest: &str| SyslogError { what, at: message.len() - rest.len() };
    let (time, after) = stamp(rest, cisco.fractions)
        .or_else(|| instant(rest))
        .ok_or_else(|| error("expected a time like Oct 11 22:14:15", rest))?;
    found.time = Some(time);
    rest = if cisco.any() { after.strip_prefix(':').unwrap_or(after) } else { after };
    if !rest.starts_with(' ') {
        return Err(error("expected a space after the time", rest));
    }
    rest = spaces(rest);
    if let Some((name, after)) = hostname(rest) {
        (found.hostname, rest) = (Some(name), after);
    }
    content(rest, &mut found);
    Ok(found)
}

fn spaces(text: &str) -> &str {
    text.trim_start_matches(' ')
}

/// `237: `
fn number(text: &str) -> Option<(u32, &str)> {
    let end = text.bytes().position(|b| !b.is_ascii_digit()).filter(|end| *end > 0)?;
    let rest = text[end..].strip_prefix(':')?;
    Some((text[..end].parse().ok()?, spaces(rest)))
}

/// `router1: `
fn cisco_hostname(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().position(|b| !b.is_ascii_graphic() || b == b':')?;
    let rest = text[end..].strip_prefix(':')?;
    (1..=HOSTNAME).contains(&end).then(|| (&text[..end], spaces(rest)))
}

/// A word without a colon, if anything follows it.
fn hostname(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().position(|b| !b.is_ascii_graphic() || b == b':')?;
    let rest = spaces(text[end..].strip_prefix(' ')?);
    ((1..=HOSTNAME).contains(&end) && !rest.is_empty()).then(|| (&text[..end], rest))
}

/// `Oct 11 22:14:15`, `Oct  1 …`, `Oct 01 …`
fn stamp(text: &str, fractions: bool) -> Option<(Time, &str)> {
    const MONTHS: [&[u8]; 12] =
        [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    let bytes: &[u8; 15] = text.as_bytes().first_chunk()?;
    let month = MONTHS.iter().position(|name| *name == &bytes[..3])?;
    let two = |at: usize| {
        let tens = if at == 4 && bytes[at] == b' ' { b'0' } else { bytes[at] };
        let digits = tens.is_ascii_digit() && bytes[at + 1].is_ascii_digit();
        digits.then(|| (tens - b'0') as i8 * 10 + (bytes[at + 1] - b'0') as i8)
    };
    let separated = (bytes[3], bytes[6], bytes[9], bytes[12]) == (b' ', b' ', b':', b':');
    let (day, hour, minute, second) = (two(4)?, two(7)?, two(10)?, two(13)?);
    let valid = separated && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 60;
    if !valid {
        return None;
    }
    let (nanosecond, rest) = match text[15..].strip_prefix('.') {
        Some(rest) if fractions => fraction(rest)?,
        _ => (0, &text[15..]),
    };
    let time = Yearless { month: month as i8 + 1, day, hour, minute, second, nanosecond };
    Some((Time::Yearless(time), rest))
}

/// Up to nine digits of a second.
fn fraction(text: &str) -> Option<(i32, &str)> {
    let end = text.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    if !(1..=9).contains(&end) {
        return None;
    }
    let digits: i32 = text[..end].parse().ok()?;
    Some((digits * 10i32.pow(9 - end as u32), &text[end..]))
}

/// `2003-10-11T22:14:15.003Z`
fn instant(text: &str) -> Option<(Time, &str)> {
    let end = text.bytes().position(|b| b == b' ')?;
    Some((Time::Instant(rfc3339(&text[..end])?), &text[end..]))
}

/// `tag[process]: text`, and what is less than that.
fn content<'a>(rest: &'a str, found: &mut Message<'a>) {
    found.text = Some(rest).filter(|text| !text.trim_matches([' ', '\n', '\r']).is_empty());
    let bytes = rest.as_bytes();
    let tag = |b: &u8| matches!(b, b'!'..=b'~') && !matches!(b, b':' | b'[' | b'"' | b'{' | b'}');
    let end = bytes.iter().take_while(|b| tag(b)).count();
    if !(1..=TAG).contains(&end) {
        return;
    }
    match bytes.get(end) {
        Some(b':') => {
            found.app_name = Some(&rest[..end]);
            if let Some(text) = rest[end + 1..].strip_prefix(' ') {
                found.text = Some(text).filter(|t| !t.is_empty());
            } else if rest.len() == end + 1 {
                found.text = None;
            }
        }
        Some(b'[') => {
            found.app_name = Some(&rest[..end]);
            let process = |b: &u8| matches!(b, b'!'..=b'~') && !matches!(b, b'[' | b']');
            let length = bytes[end + 1..].iter().take_while(|b| process(b)).count();
            let Some(after) = rest[end + 1 + length..].strip_prefix(']') else { return };
            found.proc_id = Some(&rest[end + 1..end + 1 + length]).filter(|p| !p.is_empty());
            let after = after.strip_prefix(':').unwrap_or(after);
            found.text = Some(after.strip_prefix(' ').unwrap_or(after)).filter(|t| !t.is_empty());
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: Cisco = Cisco { counter: true, sequence: true, hostname: true, fractions: true };

    /// Host, program, process, text.
    type Parts<'a> = [Option<&'a str>; 4];

    fn parts<'a>(text: &'a str, cisco: Cisco) -> Result<Parts<'a>, usize> {
        parse(text, cisco).map(|m| [m.hostname, m.app_name, m.proc_id, m.text]).map_err(|e| e.at)
    }

    #[test]
    fn fields_are_found_where_senders_put_them() {
        let some = |parts: [&'static str; 4]| parts.map(|p| (!p.is_empty()).then_some(p));
        for (rest, expected) in [
            ("mymachine su: 'su root' failed", ["mymachine", "su", "", "'su root' failed"]),
            ("host app[123]: text here", ["host", "app", "123", "text here"]),
            ("app[123]: no host", ["", "app", "123", "no host"]),
            ("host app[123]:tight", ["host", "app", "123", "tight"]),
            ("host app[123] no colon", ["host", "app", "123", "no colon"]),
            ("host app[12 broken", ["host", "app", "", "app[12 broken"]),
            ("host no tag here", ["host", "", "", "no tag here"]),
            ("alone", ["", "", "", "alone"]),
            ("host url://x y", ["host", "url", "", "url://x y"]),
            ("host {\"a\": 1}", ["host", "", "", "{\"a\": 1}"]),
            ("host tag:  two spaces", ["host", "tag", "", " two spaces"]),
            ("host tag: tab\there\nand a line", ["host", "tag", "", "tab\there\nand a line"]),
            ("  host   tag: x", ["host", "tag", "", "x"]),
            ("host tag: ", ["host", "tag", "", ""]),
            ("host tag:", ["host", "tag", "", ""]),
            ("höst tag: x", ["", "", "", "höst tag: x"]),
        ] {
            let text = format!("<34>Oct 11 22:14:15 {rest}");
            assert_eq!(parts(&text, Cisco::default()), Ok(some(expected)), "{rest}");
        }
    }

    #[test]
    fn times_of_both_kinds_are_read_and_others_refused() {
        let time =
            |text: &str| parse(&format!("<1>{text} h x"), Cisco::default()).map(|m| m.time).map_err(|e| e.at);
        let yearless = |month, day| {
            Ok(Some(Time::Yearless(Yearless { month, day, hour: 22, minute: 14, second: 15, nanosecond: 0 })))
        };
        assert_eq!(time("Oct 11 22:14:15"), yearless(10, 11));
        assert_eq!(time("Feb  1 22:14:15"), yearless(2, 1));
        assert_eq!(time("Feb 01 22:14:15"), yearless(2, 1));
        assert_eq!(time("2003-10-11T22:14:15.003Z"), Ok(Some(Time::Instant(1_065_910_455_003_000_000))));
        assert_eq!(time("2003-10-11T22:14:15+00:00"), Ok(Some(Time::Instant(1_065_910_455_000_000_000))));
        for bad in [
            "Okt 11 22:14:15",
            "Oct 32 22:14:15",
            "Oct 11 24:14:15",
            "oct 11 22:14:15",
            "1 2003-10-11T22:14:15Z",
            "",
        ] {
            assert_eq!(time(bad), Err(if bad.is_empty() { 4 } else { 3 }), "{bad}");
        }
        assert_eq!(time("Oct 11 22:14:15.003"), Err(18), "fractions have to be allowed");
    }

    #[test]
    fn ciscos_additions_are_read_where_they_are_expected() {
        let text =
            "<189>237: 000485: router1: *Jan  8 19:46:03.295: %SYS-5-CONFIG_I: Configured from console";
        let message = parse(text, ALL).expect("valid");
        assert_eq!((message.counter, message.sequence), (Some(237), Some(485)));
        assert_eq!(
            parts(text, ALL),
            Ok([Some("router1"), Some("%SYS-5-CONFIG_I"), None, Some("Configured from console")])
        );
        let expected =
            Yearless { month: 1, day: 8, hour: 19, minute: 46, second: 3, nanosecond: 295_000_000 };
        assert_eq!(message.time, Some(Time::Yearless(expected)));
        let sequence =
            parse("<189>269614: Apr 11 10:02:08: %LINK: x", Cisco { sequence: true, ..Cisco::default() });
        assert_eq!(sequence.map(|m| (m.counter, m.sequence)), Ok((None, Some(269_614))));
        assert_eq!(parts(text, Cisco::default()), Err(5));
    }

    proptest! {
        #[test]
        fn any_text_is_an_answer_and_never_a_panic(text in ".{0,80}", tail in "[ -~\u{80}-\u{ff}]{0,60}") {
            for cisco in [Cisco::default(), ALL] {
                let _ = parse(&text, cisco);
                let _ = parse(&format!("<34>{tail}"), cisco);
                let _ = parse(&format!("<34>Oct 11 22:14:15 {tail}"), cisco);
            }
        }

        #[test]
        fn what_is_written_comes_back(host in "[a-z][a-z0-9.-]{0,20}", app in "[a-z/_.-]{1,48}", pid in 0u32.., text in "[!-~][ -~]{0,40}") {
            let message = format!("<13>Oct  1 22:14:15 {host} {app}[{pid}]: {text}");
            let pid = pid.to_string();
            prop_assert_eq!(
                parts(&message, Cisco::default()),
                Ok([Some(host.as_str()), Some(app.as_str()), Some(pid.as_str()), Some(text.as_str())])
            );
        }
    }
}
