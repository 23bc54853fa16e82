//! Compression of request bodies, with a hard limit on what comes out.
//!
//! Decompressors stream into a growing buffer and stop one byte past the limit: a bomb costs at most the
//! limit, whatever it claims.

use std::io::{Read, Write};

use crate::proto::push_zeros;

/// How a body is compressed, as in `Content-Encoding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all.
    Identity,
    /// RFC 1952, several members allowed.
    Gzip,
    /// RFC 1950 (`deflate` in HTTP); bare RFC 1951 streams, which some clients send, are taken too.
    Deflate,
    /// RFC 8878, several frames allowed.
    Zstd,
    /// One snappy block, as in remote write and the Loki push API; the framed format, which gRPC clients use,
    /// is told apart and taken too.
    Snappy,
    /// The framed format of snappy, to write for gRPC.
    SnappyFramed,
}

impl Encoding {
    /// Reads a `Content-Encoding` value; `None` where it names something else or several encodings.
    pub fn from_content_encoding(value: &str) -> Option<Self> {
        const NAMES: [(&str, Encoding); 7] = [
            ("", Encoding::Identity),
            ("identity", Encoding::Identity),
            ("gzip", Encoding::Gzip),
            ("x-gzip", Encoding::Gzip),
            ("deflate", Encoding::Deflate),
            ("zstd", Encoding::Zstd),
            ("snappy", Encoding::Snappy),
        ];
        let value = value.trim();
        NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(value)).map(|(_, e)| *e)
    }
}

/// Why a body could not be decompressed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// More than the limit would come out.
    #[error("the decompressed body exceeds the limit of {limit} bytes")]
    TooLarge {
        /// The limit that was given.
        limit: usize,
    },
    /// The bytes are not what the encoding says.
    #[error("the body is not valid {encoding:?}: {reason}")]
    Corrupt {
        /// The encoding tried.
        encoding: Encoding,
        /// What the decompressor said.
        reason: String,
    },
}

/// Decompresses `body` and appends it to `out`; at most `limit` bytes are appended. On an error `out` is
/// as long as before.
pub fn decompress(encoding: Encoding, body: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), Error> {
    let before = out.len();
    let result = match encoding {
        Encoding::Identity if body.len() > limit => Err(Error::TooLarge { limit }),
        Encoding::Identity => {
            out.extend_from_slice(body);
            Ok(())
        }
        Encoding::Gzip => copy(encoding, flate2::bufread::MultiGzDecoder::new(body), limit, out),
        Encoding::Deflate if is_zlib(body) => {
            copy(encoding, flate2::bufread::ZlibDecoder::new(body), limit, out)
        }
        Encoding::Deflate => copy(encoding, flate2::bufread::DeflateDecoder::new(body), limit, out),
        Encoding::Zstd => unzstd(body, limit, out),
        Encoding::Snappy | Encoding::SnappyFramed if is_framed(body) => {
            copy(encoding, snap::read::FrameDecoder::new(body), limit, out)
        }
        Encoding::Snappy | Encoding::SnappyFramed => unsnap(body, limit, out),
    };
    if result.is_err() {
        out.truncate(before);
    }
    result
}

/// The most that [`decompress`] can make of a body: for those who have to find room before.
pub fn most(encoding: Encoding, body: &[u8], limit: usize) -> usize {
    // RFC 1951: 258 bytes for two bits, and what the format puts around them does not make it more.
    const DEFLATE: usize = 1032;
    match encoding {
        Encoding::Identity => body.len().min(limit),
        Encoding::Gzip | Encoding::Deflate => body.len().saturating_mul(DEFLATE).min(limit),
        Encoding::Zstd => limit,
        Encoding::Snappy | Encoding::SnappyFramed if is_framed(body) => limit,
        Encoding::Snappy | Encoding::SnappyFramed => snap::raw::decompress_len(body).unwrap_or(0).min(limit),
    }
}

fn corrupt(encoding: Encoding, reason: impl ToString) -> Error {
    Error::Corrupt { encoding, reason: reason.to_string() }
}

/// RFC 1950: compression method 8, and the two header bytes are a multiple of 31.
fn is_zlib(body: &[u8]) -> bool {
    matches!(body, [cmf, flg, ..] if cmf & 0x0f == 8 && (u16::from(*cmf) << 8 | u16::from(*flg)) % 31 == 0)
}

/// The first chunk of snappy's framing format.
const STREAM_IDENTIFIER: &[u8] = b"\xff\x06\x00\x00sNaPpY";

/// Whether a snappy body is framed, by the first chunk of the format. No block begins so: its third byte on would be a literal of one
/// byte and a copy from far before the beginning.
pub fn is_framed(body: &[u8]) -> bool {
    body.starts_with(STREAM_IDENTIFIER)
}

fn copy(encoding: Encoding, reader: impl Read, limit: usize, out: &mut Vec<u8>) -> Result<(), Error> {
    let before = out.len();
    let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    reader.take(bound).read_to_end(out).map_err(|e| corrupt(encoding, e))?;
    if out.len() - before > limit { Err(Error::TooLarge { limit }) } else { Ok(()) }
}

fn unzstd(body: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), Error> {
    let mut decoder =
        zstd::stream::read::Decoder::with_buffer(body).map_err(|e| corrupt(Encoding::Zstd, e))?;
    // The window is memory that a frame header may demand: 8 MiB must be supported (RFC 8878, 3.1.1.1.2),
    // more only where the output may be that large.
    let window_log = (usize::BITS - limit.leading_zeros()).clamp(23, 27);
    decoder.window_log_max(window_log).map_err(|e| corrupt(Encoding::Zstd, e))?;
    copy(Encoding::Zstd, decoder, limit, out)
}

fn unsnap(body: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), Error> {
    let len = snap::raw::decompress_len(body).map_err(|e| corrupt(Encoding::Snappy, e))?;
    if len > limit {
        return Err(Error::TooLarge { limit });
    }
    // A snappy element of 3 bytes makes at most 64: a longer claim is a lie that must not cost memory.
    if len / 64 > body.len() {
        return Err(corrupt(Encoding::Snappy, "the claimed length cannot come out of so few bytes"));
    }
    let before = out.len();
    push_zeros(out, len);
    let n = snap::raw::Decoder::new()
        .decompress(body, &mut out[before..])
        .map_err(|e| corrupt(Encoding::Snappy, e))?;
    if n == len { Ok(()) } else { Err(corrupt(Encoding::Snappy, "the length is wrong")) }
}

/// Compresses what `parts` are one after the other, and appends it to `out`; `None` is the level that the format's
/// own tools use. Fails only for what the format cannot hold or for a level that it does not have.
pub fn compress(
    encoding: Encoding,
    level: Option<i32>,
    parts: &[&[u8]],
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let before = out.len();
    let written = match encoding {
        Encoding::Identity => write_all(&mut *out, parts).map(drop),
        Encoding::Gzip => {
            let encoder = flate2::write::GzEncoder::new(&mut *out, deflate_level(level));
            write_all(encoder, parts).and_then(|e| e.finish().map(drop))
        }
        Encoding::Deflate => {
            let encoder = flate2::write::ZlibEncoder::new(&mut *out, deflate_level(level));
            write_all(encoder, parts).and_then(|e| e.finish().map(drop))
        }
        Encoding::Zstd => zstd::stream::write::Encoder::new(&mut *out, level.unwrap_or(0))
            .and_then(|encoder| write_all(encoder, parts))
            .and_then(|e| e.finish().map(drop)),
        // A stream of nothing: the encoder would write nothing at all, which is no stream.
        Encoding::SnappyFramed if parts.iter().all(|part| part.is_empty()) => {
            out.extend_from_slice(STREAM_IDENTIFIER);
            Ok(())
        }
        Encoding::SnappyFramed => write_all(snap::write::FrameEncoder::new(&mut *out), parts)
            .and_then(|e| e.into_inner().map(drop).map_err(|e| e.into_error())),
        Encoding::Snappy => {
            let joined;
            let body = match parts {
                [only] => *only,
                _ => {
                    joined = parts.concat();
                    &joined
                }
            };
            return SnappyEncoder::new().compress(body, out);
        }
    };
    written.map_err(|e| {
        out.truncate(before);
        corrupt(encoding, e)
    })
}

fn write_all<W: Write>(mut into: W, parts: &[&[u8]]) -> std::io::Result<W> {
    parts.iter().try_for_each(|part| into.write_all(part))?;
    Ok(into)
}

fn deflate_level(level: Option<i32>) -> flate2::Compression {
    level
        .and_then(|l| u32::try_from(l).ok())
        .map_or_else(flate2::Compression::default, |l| flate2::Compression::new(l.min(9)))
}

/// A snappy block compressor that keeps its tables from one body to the next.
pub struct SnappyEncoder {
    encoder: snap::raw::Encoder,
}

impl SnappyEncoder {
    /// An encoder; its tables are allocated at the first use.
    pub fn new() -> Self {
        Self { encoder: snap::raw::Encoder::new() }
    }

    /// Compresses `body` as one block and appends it to `out`. Fails only where `body` has 4 GiB or more.
    pub fn compress(&mut self, body: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        let before = out.len();
        push_zeros(out, snap::raw::max_compress_len(body.len()));
        match self.encoder.compress(body, &mut out[before..]) {
            Ok(n) => {
                out.truncate(before + n);
                Ok(())
            }
            Err(e) => {
                out.truncate(before);
                Err(corrupt(Encoding::Snappy, e))
            }
        }
    }
}

impl Default for SnappyEncoder {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    const ALL: [Encoding; 5] =
        [Encoding::Gzip, Encoding::Deflate, Encoding::Zstd, Encoding::Snappy, Encoding::SnappyFramed];

    fn compressed(encoding: Encoding, body: &[u8]) -> Vec<u8> {
        match encoding {
            Encoding::Identity => body.to_vec(),
            Encoding::Gzip => {
                let mut e = GzEncoder::new(Vec::new(), Compression::fast());
                e.write_all(body).unwrap();
                e.finish().unwrap()
            }
            Encoding::Deflate => {
                let mut e = ZlibEncoder::new(Vec::new(), Compression::fast());
                e.write_all(body).unwrap();
                e.finish().unwrap()
            }
            Encoding::Zstd => zstd::encode_all(body, 1).unwrap(),
            Encoding::Snappy => {
                let mut out = Vec::new();
                SnappyEncoder::new().compress(body, &mut out).unwrap();
                out
            }
            Encoding::SnappyFramed => {
                let mut e = snap::write::FrameEncoder::new(Vec::new());
                e.write_all(body).unwrap();
                e.into_inner().unwrap()
            }
        }
    }

    fn body() -> Vec<u8> {
        (0..40_000u32).flat_map(|i| (i / 7).to_le_bytes()).collect()
    }

    #[test]
    fn every_encoding_comes_back_after_what_the_buffer_held() {
        for encoding in ALL {
            let mut out = b"before".to_vec();
            decompress(encoding, &compressed(encoding, &body()), 1 << 20, &mut out).unwrap();
            assert!(out.starts_with(b"before") && out[6..] == body(), "{encoding:?}");
        }
    }

    #[test]
    fn nothing_comes_back_as_nothing() {
        for encoding in ALL.into_iter().chain([Encoding::Identity]) {
            let (mut packed, mut out) = (Vec::new(), Vec::new());
            compress(encoding, None, &[b"", b""], &mut packed).unwrap();
            decompress(encoding, &packed, 1, &mut out).unwrap();
            assert_eq!(out, b"", "{encoding:?}");
        }
    }

    #[test]
    fn what_is_compressed_in_parts_comes_back_whole_at_every_level() {
        let body = body();
        let (a, b) = body.split_at(1234);
        for encoding in ALL.into_iter().chain([Encoding::Identity]) {
            for level in [None, Some(1), Some(9)] {
                let mut packed = b"before".to_vec();
                compress(encoding, level, &[a, b], &mut packed).unwrap();
                let mut out = Vec::new();
                decompress(encoding, &packed[6..], 1 << 20, &mut out).unwrap();
                assert!(out == body && packed.starts_with(b"before"), "{encoding:?} {level:?}");
            }
        }
    }

    #[test]
    fn no_more_comes_out_than_can_be_told_before() {
        for body in [body(), vec![0; 1 << 20], Vec::new()] {
            for encoding in ALL.into_iter().chain([Encoding::Identity]) {
                let packed = compressed(encoding, &body);
                assert!(most(encoding, &packed, 1 << 24) >= body.len(), "{encoding:?} {}", body.len());
                assert!(most(encoding, &packed, 100) <= 100);
            }
        }
    }

    #[test]
    fn framed_snappy_is_told_apart_and_is_limited_too() {
        let mut encoder = snap::write::FrameEncoder::new(Vec::new());
        encoder.write_all(&body()).unwrap();
        let framed = encoder.into_inner().unwrap();
        let mut out = Vec::new();
        decompress(Encoding::Snappy, &framed, 1 << 20, &mut out).unwrap();
        assert!(out == body() && most(Encoding::Snappy, &framed, 1 << 20) >= out.len());
        let limit = out.len() - 1;
        out.clear();
        assert_eq!(decompress(Encoding::Snappy, &framed, limit, &mut out), Err(Error::TooLarge { limit }));
        let broken = decompress(Encoding::Snappy, &framed[..framed.len() - 3], 1 << 20, &mut out);
        assert!(matches!(broken, Err(Error::Corrupt { .. })) && out.is_empty());
    }

    #[test]
    fn the_limit_holds_to_the_byte() {
        for encoding in ALL.into_iter().chain([Encoding::Identity]) {
            let body = body();
            let packed = compressed(encoding, &body);
            let mut out = Vec::new();
            assert_eq!(decompress(encoding, &packed, body.len(), &mut out), Ok(()), "{encoding:?}");
            out.clear();
            let limit = body.len() - 1;
            assert_eq!(decompress(encoding, &packed, limit, &mut out), Err(Error::TooLarge { limit }));
            assert!(out.is_empty());
        }
    }

    #[test]
    fn a_bomb_costs_no_more_than_the_limit() {
        let zeros = vec![0; 4 << 20];
        for encoding in [Encoding::Gzip, Encoding::Deflate, Encoding::Zstd] {
            let mut out = Vec::new();
            let result = decompress(encoding, &compressed(encoding, &zeros), 1 << 16, &mut out);
            assert_eq!(result, Err(Error::TooLarge { limit: 1 << 16 }));
            assert!(out.capacity() <= 4 << 16, "{encoding:?} took {}", out.capacity());
        }
    }

    #[test]
    fn truncated_bodies_are_corrupt_and_never_a_prefix() {
        for encoding in ALL {
            let packed = compressed(encoding, &body());
            for end in (0..packed.len()).step_by(packed.len() / 97 + 1).skip(1) {
                let mut out = Vec::new();
                let result = decompress(encoding, &packed[..end], 1 << 20, &mut out);
                assert!(
                    matches!(result, Err(Error::Corrupt { .. })),
                    "{encoding:?} cut at {end}: {result:?}"
                );
                assert!(out.is_empty());
            }
        }
    }

    #[test]
    fn a_snappy_length_that_lies_is_refused_before_memory_is_taken() {
        let mut out = Vec::new();
        let claim = [0xff, 0xff, 0xff, 0x7f, 0];
        assert!(matches!(
            decompress(Encoding::Snappy, &claim, 1 << 30, &mut out),
            Err(Error::Corrupt { .. })
        ));
        assert_eq!(out.capacity(), 0);
    }

    #[test]
    fn bare_deflate_streams_are_taken_too() {
        let mut e = DeflateEncoder::new(Vec::new(), Compression::fast());
        e.write_all(b"hello hello hello").unwrap();
        let mut out = Vec::new();
        decompress(Encoding::Deflate, &e.finish().unwrap(), 100, &mut out).unwrap();
        assert_eq!(out, b"hello hello hello");
    }

    #[test]
    fn several_gzip_members_and_zstd_frames_are_one_body() {
        for encoding in [Encoding::Gzip, Encoding::Zstd] {
            let mut packed = compressed(encoding, b"one ");
            packed.extend(compressed(encoding, b"two"));
            let mut out = Vec::new();
            decompress(encoding, &packed, 100, &mut out).unwrap();
            assert_eq!(out, b"one two");
        }
    }

    #[test]
    fn content_encodings_are_named_in_any_case() {
        let cases = [
            ("GZIP", Some(Encoding::Gzip)),
            (" snappy ", Some(Encoding::Snappy)),
            ("br", None),
            ("gzip, zstd", None),
        ];
        for (name, encoding) in cases {
            assert_eq!(Encoding::from_content_encoding(name), encoding);
        }
    }
}
