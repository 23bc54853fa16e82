//! Any text as a file of target groups, YAML or JSON: no panic, and it ends.
#![cfg_attr(feature = "libfuzzer", no_main)]

use components_discovery::groups::{from_json, from_yaml};

fuzz::target!(|text: &str| {
    for groups in [from_json(text.as_bytes()), from_yaml(text)].into_iter().flatten() {
        for group in &groups {
            group.targets(("__meta_filepath", "a.yml")).for_each(drop);
        }
    }
});
