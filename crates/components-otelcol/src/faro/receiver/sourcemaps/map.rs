//! A source map, read with limits.

use net::Url;
use sourcemap::{DecodedMap, SourceMap};

use super::Place;

/// Bytes of a source map.
pub(super) const MOST_BYTES: usize = 64 << 20;
/// Mappings of a source map: each becomes a token in memory.
const MOST_MAPPINGS: usize = 4_000_000;
/// Bytes that a token takes.
const TOKEN: usize = 32;

/// A source map.
pub(super) struct Map {
    map: SourceMap,
    /// What relative names of sources are relative to.
    base: Option<Url>,
    /// Bytes that it takes, about.
    pub(super) memory: usize,
}

impl Map {
    /// Reads one; `url` is where it is from.
    ///
    /// # Errors
    /// One sentence.
    pub(super) fn parse(content: &[u8], url: &str) -> Result<Self, String> {
        if content.len() > MOST_BYTES {
            return Err(format!("the source map has more than {MOST_BYTES} bytes"));
        }
        // An upper bound: separators stand in texts too, but those of sources are not as many.
        let mappings = memchr::memchr2_iter(b',', b';', content).count();
        if mappings > MOST_MAPPINGS {
            return Err(format!("the source map has more than {MOST_MAPPINGS} mappings"));
        }
        let decoded = sourcemap::decode_slice(content).map_err(|e| format!("not a source map: {e}"))?;
        let mut map = match decoded {
            DecodedMap::Regular(map) => map,
            DecodedMap::Index(index) => index.flatten().map_err(|e| format!("not a source map: {e}"))?,
            DecodedMap::Hermes(_) => return Err("a source map of Hermes is not supported".to_owned()),
        };
        for source in 0..map.get_source_count() {
            map.set_source_contents(source, None);
        }
        let tokens = map.get_token_count() as usize * TOKEN;
        let names: usize = map.names().map(|name| name.len() + 32).sum();
        let sources: usize = map.sources().map(|source| source.len() + 64).sum();
        Ok(Self { map, base: Url::parse(url).ok(), memory: tokens + names + sources + 1024 })
    }

    /// Where in the source a place of the code is: the last mapping of its line that is not behind it.
    pub(super) fn place(&self, line: u32, column: u32) -> Option<Place> {
        let line = line.checked_sub(1)?;
        let token = self.map.lookup_token(line, column.saturating_sub(1))?;
        if token.get_dst_line() != line {
            return None;
        }
        let source = token.get_source()?;
        Some(Place {
            file: self.absolute(source),
            function: token.get_name().map(str::to_owned),
            // A map may name any line: the last one there is has no number that counts from 1.
            line: token.get_src_line().checked_add(1)?,
            column: token.get_src_col(),
        })
    }

    /// Names of sources may be relative to the map.
    fn absolute(&self, source: &str) -> String {
        let is_absolute = source.starts_with('/') || source.contains("://");
        match &self.base {
            Some(base) if !is_absolute => base.join(source).map_or_else(|_| source.to_owned(), Url::into),
            _ => source.to_owned(),
        }
    }
}

/// Reads any bytes as a source map and looks places up in it; for `tests/fuzz/fuzz_targets/source_map.rs` only.
pub(super) fn read_arbitrary(content: &[u8], line: u32, column: u32) {
    let Ok(map) = Map::parse(content, "https://example.com/a/b.js.map") else { return };
    assert!(map.memory >= map.map.get_token_count() as usize * TOKEN);
    for (line, column) in [(line, column), (1, 0), (line % 8, column % 64)] {
        assert!(map.place(line, column).is_none_or(|place| place.line > 0));
    }
}
