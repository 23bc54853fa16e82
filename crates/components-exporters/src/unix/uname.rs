//! `uname`: kernel and host names, from uname(2).

use super::{Family, Outcome, Paths};

#[expect(clippy::unnecessary_wraps, reason = "all collectors have one signature")]
pub(super) fn collect(_: &Paths, out: &mut Vec<Family>) -> Outcome {
    let uname = rustix::system::uname();
    let texts = [
        ("sysname", uname.sysname()),
        ("release", uname.release()),
        ("version", uname.version()),
        ("machine", uname.machine()),
        ("nodename", uname.nodename()),
        #[cfg(target_os = "linux")]
        ("domainname", uname.domainname()),
    ]
    .map(|(label, text)| (label, text.to_string_lossy()));
    let labels = texts.each_ref().map(|(label, text)| (*label, text.as_ref()));
    let help = "Labeled system information as provided by the uname system call.";
    out.push(Family::gauge("node_uname_info", help).with(&labels, 1.0));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn this_machine_runs_linux() {
        let text = Tree::new(&[]).samples(collect);
        assert!(
            text.starts_with("node_uname_info{domainname=\"") && text.contains("sysname=\"Linux\""),
            "{text}"
        );
    }
}
