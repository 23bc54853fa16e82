//! `selinux`: whether and how SELinux is enforced, from `/sys/fs/selinux/` and `/etc/selinux/config`.

use super::{Family, Outcome, Paths, read};

pub(super) fn collect(paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let current = read::attribute(paths.sys("fs/selinux/enforce"))?;
    let enabled = Family::gauge("node_selinux_enabled", "SELinux is enabled, 1 is true, 0 is false");
    let Some(current) = current else {
        out.push(enabled.with(&[], 0.0));
        return Ok(());
    };
    out.push(enabled.with(&[], 1.0));
    let config = read::optional(paths.host("/etc/selinux/config"))?.unwrap_or_default();
    let setting = config.lines().find_map(|line| line.trim().strip_prefix("SELINUX=")).unwrap_or_default();
    let configured = match setting.trim().to_ascii_lowercase().as_str() {
        "enforcing" => 1.0,
        "permissive" => 0.0,
        _ => -1.0,
    };
    out.push(
        Family::gauge("node_selinux_config_mode", "Configured SELinux enforcement mode")
            .with(&[], configured),
    );
    let current = read::parse(paths.sys("fs/selinux/enforce"), &current)?;
    out.push(
        Family::gauge("node_selinux_current_mode", "Current SELinux enforcement mode").with(&[], current),
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn the_modes_are_given_only_where_it_is_enabled() {
        assert_eq!(Tree::new(&[]).samples(collect), "node_selinux_enabled 0\n");
        let tree = Tree::new(&[
            ("sys/fs/selinux/enforce", "0"),
            ("rootfs/etc/selinux/config", "# SELINUX=disabled\nSELINUX=enforcing\nSELINUXTYPE=targeted\n"),
        ]);
        assert_eq!(
            tree.samples(collect),
            "node_selinux_config_mode 1\nnode_selinux_current_mode 0\nnode_selinux_enabled 1\n"
        );
    }
}
