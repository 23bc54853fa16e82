//! `interrupts`: interrupts by CPU and kind, from `/proc/interrupts`.

use super::{CollectorError, Family, Outcome, Paths, read};

pub(super) fn collect(paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let path = paths.proc("interrupts");
    let text = read::text(&path)?;
    let mut lines = text.lines();
    let header = lines.next().ok_or_else(|| CollectorError::parse(&path, "the file is empty"))?;
    let cpus = header.split_whitespace().count();
    let mut family = Family::counter("node_interrupts_total", "Interrupt details.");
    for line in lines {
        let Some((kind, rest)) = line.split_once(':') else { continue };
        let fields: Vec<_> = rest.split_whitespace().collect();
        // `ERR` and `MIS` are one number for all CPUs and have no description.
        if fields.len() <= cpus {
            continue;
        }
        let kind = kind.trim_start();
        let (counts, words) = fields.split_at(cpus);
        let (info, devices) = if kind.parse::<u32>().is_ok() {
            (words[0].to_string(), words[1..].join(" "))
        } else {
            (words.join(" "), String::new())
        };
        for (cpu, count) in counts.iter().enumerate() {
            let labels =
                [("cpu", cpu.to_string().as_str()), ("type", kind), ("info", &info), ("devices", &devices)]
                    .map(|(name, value)| (name, value.to_string()));
            let labels = labels.each_ref().map(|(name, value)| (*name, value.as_str()));
            family.add(&labels, read::parse(&path, count)?);
        }
    }
    out.push(family);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn numbered_and_named_interrupts_are_given_by_cpu() {
        let tree = Tree::new(&[(
            "proc/interrupts",
            "           CPU0       CPU1\n   0:         18          0   IO-APIC   2-edge      timer\n\
             NMI:         47       5031   Non-maskable interrupts\nERR:          0\n",
        )]);
        let expected = "\
node_interrupts_total{cpu=\"0\",devices=\"\",info=\"Non-maskable interrupts\",type=\"NMI\"} 47
node_interrupts_total{cpu=\"0\",devices=\"2-edge timer\",info=\"IO-APIC\",type=\"0\"} 18
node_interrupts_total{cpu=\"1\",devices=\"\",info=\"Non-maskable interrupts\",type=\"NMI\"} 5031
node_interrupts_total{cpu=\"1\",devices=\"2-edge timer\",info=\"IO-APIC\",type=\"0\"} 0
";
        assert_eq!(tree.samples(collect), expected);
    }
}
