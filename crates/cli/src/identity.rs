//! The identity of a storage folder: `alloy_seed.json`, as Alloy keeps it, so that a migrated folder keeps it.

use std::fs;
use std::path::Path;

use anyhow::Context;

/// Reads the identity, or makes one. A file that cannot be read is replaced.
pub fn load(storage: &Path) -> anyhow::Result<String> {
    let path = storage.join("alloy_seed.json");
    if let Ok(text) = fs::read_to_string(&path)
        && let Ok(seed) = serde_json::from_str::<serde_json::Value>(&text)
        && let Some(uid) = seed["UID"].as_str().filter(|u| !u.is_empty())
    {
        return Ok(uid.to_string());
    }
    let uid = uuid::Uuid::new_v4().to_string();
    let created = jiff::Timestamp::now().to_string();
    let seed = serde_json::json!({ "UID": uid, "created_at": created, "version": crate::VERSION });
    let next = path.with_extension("json.new");
    fs::create_dir_all(storage)
        .and_then(|()| fs::write(&next, seed.to_string()))
        .and_then(|()| fs::rename(&next, &path))
        .with_context(|| {
            let storage = storage.display();
            format!("--storage.path: {storage} has to be a folder that this user may write to, and is not")
        })?;
    Ok(uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_kept_and_a_broken_one_replaced() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let first = load(folder.path()).expect("made");
        assert_eq!(load(folder.path()).expect("kept"), first);
        fs::write(folder.path().join("alloy_seed.json"), "{").expect("written");
        assert_ne!(load(folder.path()).expect("replaced"), first);
    }

    #[test]
    fn a_folder_that_cannot_be_written_to_is_told_with_the_flag() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let file = folder.path().join("file");
        fs::write(&file, "").expect("written");
        for storage in [file.clone(), file.join("below"), Path::new("/proc/none").to_path_buf()] {
            let error = format!("{:#}", load(&storage).expect_err("no folder"));
            assert!(
                error.starts_with(&format!("--storage.path: {} has to be", storage.display())),
                "{error}"
            );
        }
    }
}
