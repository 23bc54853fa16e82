//! Hashes and identities.

use std::net::IpAddr;

use base64::Engine as _;
use md5::Md5;
use sha1::{Digest as _, Sha1};
use sha2::{Sha256, Sha512};

use super::Takes::{Int, Str};
use super::{Args, Function, Param, optional, param};
use crate::error::EvalError;
use crate::expr::Env;
use crate::value::Value;

const VALUE: &[Param] = &[param("value", Str)];

pub(super) const TABLE: &[Function] = &[
    Function::convert(
        "CommunityID",
        &[
            param("source_ip", Str),
            param("source_port", Int),
            param("destination_ip", Str),
            param("destination_port", Int),
            optional("protocol", Str),
            optional("seed", Int),
        ],
        community_id,
    ),
    Function::convert("FNV", VALUE, |args, env| {
        let offset = 0xcbf2_9ce4_8422_2325_u64;
        let text = args.str(0, env)?;
        // FNV-1a, 64 bits, as Go's hash/fnv.New64a.
        let hash =
            text.bytes().fold(offset, |hash, b| (hash ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3));
        Ok(Value::Int(hash as i64))
    }),
    Function::convert("MD5", VALUE, |args, env| hex(Md5::digest(args.str(0, env)?.as_bytes()).as_slice())),
    Function::convert("Murmur3Hash", &[param("target", Str)], |args, env| {
        hex(&murmur3_32(args.str(0, env)?.as_bytes()).to_le_bytes())
    }),
    Function::convert("Murmur3Hash128", &[param("target", Str)], |args, env| {
        let (low, high) = murmur3_128(args.str(0, env)?.as_bytes());
        hex(&[low.to_le_bytes(), high.to_le_bytes()].concat())
    }),
    Function::convert("SHA1", VALUE, |args, env| hex(Sha1::digest(args.str(0, env)?.as_bytes()).as_slice())),
    Function::convert("SHA256", VALUE, |args, env| {
        hex(Sha256::digest(args.str(0, env)?.as_bytes()).as_slice())
    }),
    Function::convert("SHA512", VALUE, |args, env| {
        hex(Sha512::digest(args.str(0, env)?.as_bytes()).as_slice())
    }),
    Function::convert("UUID", &[], |_, _| Ok(Value::string(uuid::Uuid::new_v4().to_string()))),
    Function::convert("UUIDv7", &[], |_, _| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let random: [u8; 10] = std::array::from_fn(|_| fastrand::u8(..));
        let millis = u64::try_from(now.as_millis()).unwrap_or_default();
        Ok(Value::string(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid().to_string()))
    }),
    Function::convert("XXH3", VALUE, |args, env| {
        hex(&xxhash_rust::xxh3::xxh3_64(args.str(0, env)?.as_bytes()).to_be_bytes())
    }),
    Function::convert("XXH128", VALUE, |args, env| {
        hex(&xxhash_rust::xxh3::xxh3_128(args.str(0, env)?.as_bytes()).to_be_bytes())
    }),
];

fn hex(bytes: &[u8]) -> Result<Value<'static>, EvalError> {
    Ok(Value::string(const_hex::encode(bytes)))
}

fn word<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut word = [0; N];
    word[..bytes.len()].copy_from_slice(bytes);
    word
}

fn murmur3_32(bytes: &[u8]) -> u32 {
    let mix = |k: u32| k.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    let chunks = bytes.chunks_exact(4);
    let tail = chunks.remainder();
    let mut h = chunks.fold(0u32, |h, chunk| {
        (h ^ mix(u32::from_le_bytes(word(chunk)))).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64)
    });
    if !tail.is_empty() {
        h ^= mix(u32::from_le_bytes(word(tail)));
    }
    h ^= bytes.len() as u32;
    h = (h ^ (h >> 16)).wrapping_mul(0x85eb_ca6b);
    h = (h ^ (h >> 13)).wrapping_mul(0xc2b2_ae35);
    h ^ (h >> 16)
}

/// The two halves of the hash for 64-bit machines.
fn murmur3_128(bytes: &[u8]) -> (u64, u64) {
    const C1: u64 = 0x87c3_7b91_1142_53d5;
    const C2: u64 = 0x4cf5_ad43_2745_937f;
    let mix1 = |k: u64| k.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2);
    let mix2 = |k: u64| k.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1);
    let last = |mut k: u64| {
        k = (k ^ (k >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        k = (k ^ (k >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        k ^ (k >> 33)
    };
    let (mut h1, mut h2) = (0u64, 0u64);
    let chunks = bytes.chunks_exact(16);
    let tail = chunks.remainder();
    for chunk in chunks {
        h1 ^= mix1(u64::from_le_bytes(word(&chunk[..8])));
        h1 = h1.rotate_left(27).wrapping_add(h2).wrapping_mul(5).wrapping_add(0x52dc_e729);
        h2 ^= mix2(u64::from_le_bytes(word(&chunk[8..])));
        h2 = h2.rotate_left(31).wrapping_add(h1).wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }
    if tail.len() > 8 {
        h2 ^= mix2(u64::from_le_bytes(word(&tail[8..])));
    }
    if !tail.is_empty() {
        h1 ^= mix1(u64::from_le_bytes(word(&tail[..tail.len().min(8)])));
    }
    h1 ^= bytes.len() as u64;
    h2 ^= bytes.len() as u64;
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    h1 = last(h1);
    h2 = last(h2);
    h1 = h1.wrapping_add(h2);
    (h1, h2.wrapping_add(h1))
}

/// Community ID version 1: the ends of a flow in order, hashed.
fn community_id<'a>(args: &'a Args, env: &Env<'a>) -> Result<Value<'a>, EvalError> {
    let ip = |at: usize| {
        let text = args.str(at, env)?;
        text.parse::<IpAddr>().map_err(|_| EvalError::new(format!("`{text}` is no IP address")))
    };
    let small = |at: usize, default: i64| {
        let value = args.int_or(at, env, default)?;
        u16::try_from(value).map_err(|_| EvalError::new(format!("{value} is not between 0 and 65535")))
    };
    let protocol: u8 = match args.str_or(4, env, "TCP")?.as_ref() {
        "ICMP" => 1,
        "TCP" => 6,
        "UDP" => 17,
        "RSVP" => 46,
        "ICMP6" => 58,
        "SCTP" => 132,
        other => return Err(EvalError::new(format!("the protocol `{other}` is not known"))),
    };
    let bytes = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let (from, to) = ((bytes(ip(0)?), small(1, 0)?), (bytes(ip(2)?), small(3, 0)?));
    let (from, to) = if from <= to { (from, to) } else { (to, from) };
    let mut hash = Sha1::new();
    hash.update(small(5, 0)?.to_be_bytes());
    hash.update(&from.0);
    hash.update(&to.0);
    hash.update([protocol, 0]);
    hash.update(from.1.to_be_bytes());
    hash.update(to.1.to_be_bytes());
    let text = base64::engine::general_purpose::STANDARD.encode(hash.finalize());
    Ok(Value::string(format!("1:{text}")))
}
