//! `netstat`: protocol statistics, from `/proc/net/{netstat,snmp,snmp6}`.

use std::path::Path;

use signal::samples::MetricKind::Unknown;

use super::config::Config;
use super::error::ConfigError;
use super::filter::{Pattern, pattern};
use super::{Collect, CollectorError, Family, Outcome, Paths, read};

pub(super) fn build(config: &Config) -> Result<Collect, ConfigError> {
    let fields = pattern("netstat.fields", &config.netstat.fields)?;
    Ok(Box::new(move |paths, out| collect(&fields, paths, out)))
}

fn collect(fields: &Pattern, paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let mut wanted = Wanted { fields, key: String::new(), out };
    for file in ["net/netstat", "net/snmp"] {
        wanted.pairs_of_lines(&paths.proc(file))?;
    }
    // Not there where IPv6 is disabled.
    let path = paths.proc("net/snmp6");
    for line in read::optional(&path)?.unwrap_or_default().lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(name), Some(value)) = (words.next(), words.next()) else { continue };
        if let Some(end) = name.find('6') {
            wanted.add(&path, &name[..=end], &name[end + 1..], value)?;
        }
    }
    Ok(())
}

/// Where wanted fields go.
struct Wanted<'a> {
    fields: &'a Pattern,
    /// `Protocol_Field`, kept because most of the hundreds of fields are not wanted.
    key: String,
    out: &'a mut Vec<Family>,
}

impl Wanted<'_> {
    /// Lines come in pairs: `Tcp: ActiveOpens …` and `Tcp: 3556 …`.
    fn pairs_of_lines(&mut self, path: &Path) -> Outcome {
        let text = read::text(path)?;
        let mut lines = text.lines();
        while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
            let (mut names, mut values) = (names.split_ascii_whitespace(), values.split_ascii_whitespace());
            let protocol = names.next().unwrap_or_default();
            if values.next() != Some(protocol) || names.clone().count() != values.clone().count() {
                return Err(CollectorError::parse(
                    path,
                    format!("names and values of {protocol:?} do not match"),
                ));
            }
            for (name, value) in names.zip(values) {
                self.add(path, protocol.trim_end_matches(':'), name, value)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, path: &Path, protocol: &str, name: &str, value: &str) -> Outcome {
        self.key.clear();
        self.key.extend([protocol, "_", name]);
        if self.fields.is_match(&self.key) {
            let help = format!("Statistic {protocol}{name}.");
            let family = Family::new(format!("node_netstat_{}", self.key), help, Unknown);
            self.out.push(family.with(&[], read::parse(path, value)?));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Tree, build as with};
    use super::*;

    #[test]
    fn wanted_fields_of_all_three_files_are_given() {
        let tree = Tree::new(&[
            ("proc/net/netstat", "TcpExt: SyncookiesSent Other\nTcpExt: 4 5\n"),
            ("proc/net/snmp", "Tcp: MaxConn CurrEstab\nTcp: -1 2\n"),
            ("proc/net/snmp6", "Ip6InOctets 460\nUdpLite6InErrors 1\n"),
        ]);
        let expected = "\
node_netstat_Ip6_InOctets 460
node_netstat_TcpExt_SyncookiesSent 4
node_netstat_Tcp_CurrEstab 2
node_netstat_UdpLite6_InErrors 1
";
        assert_eq!(tree.samples(with(build, |_| {})), expected);
        let text = tree.samples(with(build, |config| config.netstat.fields = "MaxConn".into()));
        assert_eq!(text, "node_netstat_Tcp_MaxConn -1\n");
    }

    #[test]
    fn names_without_values_are_an_error() {
        let tree = Tree::new(&[("proc/net/netstat", "TcpExt: A B\nTcpExt: 4\n")]);
        assert!(tree.run(with(build, |_| {})).1.is_err());
    }
}
