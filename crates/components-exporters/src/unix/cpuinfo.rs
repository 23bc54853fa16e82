//! What `/proc/cpuinfo` says about each CPU, on x86 and on ARM.

use super::{CollectorError, Paths, read};

/// One CPU of the list; what the architecture does not tell is empty.
#[derive(Debug, Default, PartialEq)]
pub(super) struct CpuInfo {
    pub(super) processor: String,
    pub(super) package: String,
    pub(super) core: String,
    pub(super) vendor: String,
    pub(super) family: String,
    pub(super) model: String,
    pub(super) model_name: String,
    pub(super) microcode: String,
    pub(super) stepping: String,
    pub(super) cache_size: String,
    pub(super) mhz: Option<f64>,
    pub(super) flags: Vec<String>,
    pub(super) bugs: Vec<String>,
}

/// The CPUs in order of the file.
pub(super) fn list(paths: &Paths) -> Result<Vec<CpuInfo>, CollectorError> {
    Ok(parse(&read::text(paths.proc("cpuinfo"))?))
}

fn parse(text: &str) -> Vec<CpuInfo> {
    let mut cpus: Vec<CpuInfo> = Vec::new();
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        let (key, value) = (key.trim(), value.trim());
        if key == "processor" {
            cpus.push(CpuInfo { processor: value.to_string(), ..CpuInfo::default() });
            continue;
        }
        let Some(cpu) = cpus.last_mut() else { continue };
        let words = || value.split_whitespace().map(str::to_string).collect();
        match key {
            "physical id" => cpu.package = value.to_string(),
            "core id" => cpu.core = value.to_string(),
            "vendor_id" | "CPU implementer" => cpu.vendor = value.to_string(),
            "cpu family" | "CPU architecture" => cpu.family = value.to_string(),
            "model" | "CPU part" => cpu.model = value.to_string(),
            "model name" => cpu.model_name = value.to_string(),
            "microcode" => cpu.microcode = value.to_string(),
            "stepping" | "CPU revision" => cpu.stepping = value.to_string(),
            "cache size" => cpu.cache_size = value.to_string(),
            "cpu MHz" => cpu.mhz = value.parse().ok(),
            "flags" | "Features" => cpu.flags = words(),
            "bugs" => cpu.bugs = words(),
            _ => {}
        }
    }
    cpus
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_layouts_are_read() {
        let x86 = "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Some CPU\ncpu MHz\t\t: 800.5\n\
                   flags\t\t: fpu vme\nbugs\t\t: \n\nprocessor\t: 1\nphysical id\t: 1\n";
        let cpus = parse(x86);
        assert_eq!(cpus.len(), 2);
        assert_eq!((cpus[0].vendor.as_str(), cpus[0].mhz), ("GenuineIntel", Some(800.5)));
        assert_eq!(cpus[0].flags, ["fpu", "vme"]);
        assert_eq!(cpus[1].package, "1");

        let arm = parse("processor\t: 0\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n");
        assert_eq!((arm[0].vendor.as_str(), arm[0].model.as_str(), arm[0].mhz), ("0x41", "0xd0c", None));
    }
}
