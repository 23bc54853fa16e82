//! Paths of URLs with what is particular to one call left out: `/users/4711/orders` becomes `/users/*/orders`.
//!
//! As github.com/grafana/clusterurl: a segment with digits or signs in it is an identity, and so is one that reads
//! like no word. What reads like a word is decided by a table of how often one letter follows another, which was
//! counted in English prose; it is not Alloy's table, so that the two may differ about a word.

/// Segments of a path; what comes behind them is cut off.
const MOST_SEGMENTS: usize = 10;
/// In the place of an identity.
const PLACEHOLDER: &str = "*";
/// Shorter texts are abbreviations as often as they are identities: `http`, `css`.
const SHORTEST: usize = 5;
/// A text whose letters follow one another less likely than this on average is no word, in bits.
const LIMIT: f64 = 6.5;

/// How unlikely a letter (or the space) follows another: a row for the first, a byte for the second; the byte's
/// distance from `0` in quarters of a bit.
const FOLLOWS: [&[u8; 27]; 27] = [
    b"`CBB^NGWDXH=E;`E_=?:HGQRH]?",
    b"@VNW9VYY?IW:PX@U[@FQ;U[[=WF",
    b"<YI[=RY<C\\BDWZ9QZ?J<CV^_K_A",
    b"BWWB9VPW>VUJTPAW^JDTERT[N_4",
    b"ATC?HILTN[_ED=THL<>DWIMFO`7",
    b"A\\RT=AP\\:]]EST9Z]ALHB\\\\ZK[8",
    b"FVVW9TIBB\\YGQDCTZBCNC[X[S[5",
    b":X[Y5\\_]<^]UKT@W_HOHL_]_Q_<",
    b"FF@DFDFaVaNAA8>K\\F=<^HcGbIH",
    b"AMLL6MNN:MKNLL?IML?N<LNNNMH",
    b"DUKP7PLT;UTJSEKOSN<MHSNUPU8",
    b"@UOB9LR_<_V<XW>O_SEDDLP_>\\<",
    b":ETN8V\\]>]\\LEU>;\\\\DRDSZ]R^=",
    b"BZA<@K;YD\\KJQL@PaY?<JKZ`J^9",
    b"PLEDN@K_KQME@:JEc:EB?ECU[_<",
    b"<ZSJ;UTIA^U<U[<?];IAC]Z\\K]B",
    b"MNJMMNNNMNNINJNMMMKN1NMNNME",
    b"=UJH8LHY?bIOFH>RbFABCMT_Eb:",
    b"F[IS<WZG?bQMNPCG\\PC<B[VaJa5",
    b"A\\LR<O_8=dbJW[>SdBCJF^O]F]9",
    b"FHCGALF]B^\\>B=Q@_<:=ZY]O]SB",
    b";XSU3TVX9XXWNWDVXTTVPXXRVXD",
    b"=ZXW=YV:8ZZPZD?XZCCVYZZZVZ;",
    b"=SDO;STL?TSSNTM;TRR=MTRRQT6",
    b"ISSUJWWXIZZNJF=@[OBESXQYWU3",
    b"<ONN5OLN?OLJLO<ONNFONNOOICC",
    b"=B@CDAJH?QRECEACUB?;EIBWKTi",
];

/// The path of a URL, or a URL, with identities replaced; query and fragment go.
pub(super) fn clustered(text: &str) -> String {
    let path = text.split(['?', '&', '#']).next().unwrap_or_default();
    let mut out = String::with_capacity(path.len());
    for (at, segment) in path.split('/').enumerate() {
        if at >= MOST_SEGMENTS {
            break;
        }
        if at > 0 {
            out.push('/');
        }
        out.push_str(if segment.is_empty() || is_name(segment) { segment } else { PLACEHOLDER });
    }
    out
}

/// Whether identities are all that is left.
pub(super) fn is_nothing_but_placeholders(text: &str) -> bool {
    text.contains(PLACEHOLDER) && text.split('/').all(|segment| segment.is_empty() || segment == PLACEHOLDER)
}

/// Whether a text by itself is a URL or a path.
pub(super) fn is_url(text: &str) -> bool {
    !text.contains(char::is_whitespace) && (text.starts_with('/') || text.contains("://"))
}

/// Letters and a few signs; as the second character anything is allowed, for `v1`.
fn is_name(segment: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphabetic() || b"-_. ".contains(&byte);
    let odd = segment.bytes().enumerate().any(|(at, byte)| at != 1 && !allowed(byte));
    !odd && reads_like_a_word(segment)
}

fn reads_like_a_word(text: &str) -> bool {
    let place = |byte: u8| match byte.to_ascii_lowercase() {
        letter @ b'a'..=b'z' => Some(usize::from(letter - b'a')),
        b' ' => Some(26),
        _ => None,
    };
    let letters: Vec<usize> = text.bytes().filter_map(place).collect();
    if letters.len() < SHORTEST {
        return true;
    }
    let bits: u32 = letters.windows(2).map(|pair| u32::from(FOLLOWS[pair[0]][pair[1]] - b'0')).sum();
    let pairs = f64::from(u32::try_from(letters.len() - 1).unwrap_or(u32::MAX));
    f64::from(bits) / 4.0 / pairs < LIMIT
}

/// Clusters any text as a URL; for `tests/fuzz/fuzz_targets/redaction.rs` only.
pub(super) fn read_arbitrary(text: &str) {
    let clustered = clustered(text);
    assert!(clustered.split('/').count() <= MOST_SEGMENTS);
    assert_eq!(self::clustered(&clustered), clustered, "what is left names nobody");
    let _ = (is_nothing_but_placeholders(text), is_url(text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_particular_to_one_call_is_replaced() {
        for (path, expected) in [
            ("", ""),
            ("/users/fdklsd/j4elk/23993/job/2", "/users/*/j4elk/*/job/*"),
            ("123", "*"),
            ("/123", "/*"),
            ("123/", "*/"),
            ("123/ljgdflgjf", "*/*"),
            ("/**", "/*"),
            ("/u/2", "/u/*"),
            ("/v1/products/22", "/v1/products/*"),
            ("/v1/products/22j", "/v1/products/*"),
            ("/products//org/3", "/products//org/*"),
            ("/v1/k6-test-runs/1", "/v1/k6-test-runs/*"),
            ("/usuarios/fdklsd/j4elk/23993/trabajo/2", "/usuarios/*/j4elk/*/trabajo/*"),
            ("/Benutzer/fdklsd/j4elk/23993/Arbeit/2", "/Benutzer/*/j4elk/*/Arbeit/*"),
            ("/utilisateurs/fdklsd/j4elk/23993/tache/2", "/utilisateurs/*/j4elk/*/tache/*"),
            ("/products/", "/products/"),
            ("/user_space/", "/user_space/"),
            ("/api.backup/hello.world.again", "/api.backup/hello.world.again"),
            ("OPTIONS /user_space/", "OPTIONS /user_space/"),
            ("/attach?session_id=ddfsdsf&track_id=sjdklnfldsn", "/attach"),
            ("/attach#section-1", "/attach"),
            ("/sjdklnfldsn?x=1", "/*"),
            ("HTTP GET", "HTTP GET"),
            ("/getquote", "/getquote"),
            ("/w/index.php/*", "/w/index.php/*"),
            ("?", ""),
            ("attach12?", "*"),
            ("/a#", "/a"),
            ("/1#", "/*"),
            ("/a/b/c/d/e/f/g/h/i/j", "/a/b/c/d/e/f/g/h/i"),
            ("/orders/9f1b5c1e-5d6d-482a-80c4-799e3c72dfb0", "/orders/*"),
            ("/straße", "/*"),
            ("https://example.com/a/1", "*//example.com/a/*"),
        ] {
            assert_eq!(clustered(path), expected, "{path}");
        }
        assert!(is_nothing_but_placeholders("/*//*"));
        assert!(!is_nothing_but_placeholders("/a/*"));
        assert!(!is_nothing_but_placeholders("//"));
    }

    #[test]
    fn a_url_is_told_from_prose() {
        for (text, expected) in
            [("/a/1", true), ("https://a/b", true), ("GET /a", false), ("either/or", false), ("", false)]
        {
            assert_eq!(is_url(text), expected, "{text}");
        }
    }
}
