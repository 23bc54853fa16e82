//! Finding secrets in a line.
//!
//! Data path: one pass for the keywords of all rules → the patterns of the rules whose keywords are there →
//! group, entropy, allow-lists. As gitleaks/detect: `DetectContext`, `detectRule`.
//! Invariant: a line without keywords costs the one pass and nothing else.

use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, AhoCorasickKind, MatchKind};
use hashbrown::HashMap;
use signal::re2::Regex;
use smallvec::SmallVec;

/// A set of rules, ready to be used.
pub struct Detector {
    rules: Vec<Rule>,
    allowlists: Vec<Allowlist>,
    keywords: Option<AhoCorasick>,
    /// The rules of each keyword.
    of_keyword: Vec<SmallVec<[u32; 2]>>,
    /// Rules without keywords: tried on every line.
    always: Bits,
}

/// What one kind of secret looks like.
pub struct Rule {
    /// Its name.
    pub id: Arc<str>,
    /// Where it is.
    pub pattern: Pattern,
    /// The group of the pattern that is the secret; 0: the first that took part, or the whole match.
    pub secret_group: usize,
    /// What is not more random than this, in bits a byte, is no secret; 0: not asked.
    pub entropy: f64,
    /// In lower case; one has to be in the line.
    pub keywords: Vec<String>,
    /// What is no secret.
    pub allowlists: Vec<Allowlist>,
    /// Rules that have to find something near by.
    pub required: Vec<Required>,
    /// `false`: only others require it.
    pub reported: bool,
}

/// Another rule that has to find something too.
pub struct Required {
    /// Its place.
    pub rule: usize,
    /// Not farther than so many line ends.
    pub within_lines: Option<usize>,
    /// Not farther than so many bytes.
    pub within_columns: Option<usize>,
}

/// A pattern, compiled when it is needed: most lines need few.
pub struct Pattern {
    text: String,
    compiled: OnceLock<Regex>,
}

impl Pattern {
    /// `eagerly`: at once, so that a mistake is found.
    pub fn new(text: &str, eagerly: bool) -> Result<Self, String> {
        let compiled = OnceLock::new();
        if eagerly {
            let regex = Regex::new(text).map_err(|error| error.to_string())?;
            let _ = compiled.set(regex);
        }
        Ok(Self { text: text.to_string(), compiled })
    }

    /// The pattern.
    pub fn regex(&self) -> &Regex {
        let compile = || Regex::new(&self.text).expect("a test compiles every pattern that is not checked");
        self.compiled.get_or_init(compile)
    }
}

/// What a rule is not to find.
pub struct Allowlist {
    /// What the patterns are held against.
    pub target: Target,
    /// All of its conditions have to be met, not one.
    pub all: bool,
    /// It has conditions on paths or commits, which a log line does not meet.
    pub elsewhere: bool,
    /// One has to match.
    pub regexes: Vec<Regex>,
    /// In lower case; one has to be in the secret.
    pub stopwords: Vec<String>,
}

/// What patterns of an allow-list are held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The secret.
    Secret,
    /// What the rule's pattern has matched.
    Match,
    /// The whole line.
    Line,
}

impl Allowlist {
    fn allows(&self, line: &str, finding: &Finding) -> bool {
        let secret = &line[finding.secret.clone()];
        let target = match self.target {
            Target::Secret => secret,
            Target::Match => &line[finding.matched.clone()],
            Target::Line => line,
        };
        let by_regex = || self.regexes.iter().any(|r| r.is_match(target));
        let by_word = || {
            let secret = secret.to_lowercase();
            self.stopwords.iter().any(|word| secret.contains(word.as_str()))
        };
        match (self.regexes.is_empty(), self.stopwords.is_empty()) {
            _ if self.all && self.elsewhere => false,
            (true, true) => false,
            (false, true) => by_regex(),
            (true, false) => by_word(),
            (false, false) if self.all => by_regex() && by_word(),
            (false, false) => by_regex() || by_word(),
        }
    }
}

/// A secret in a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule's place in the detector.
    pub rule: usize,
    /// Bytes of the line.
    pub secret: Range<usize>,
    /// Bytes of the line that the pattern has matched.
    pub matched: Range<usize>,
}

/// What a line has in it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Secrets.
    pub findings: Vec<Finding>,
    /// There was no time to try every rule.
    pub timed_out: bool,
}

/// Rules that may find something in a line.
pub struct Candidates(Bits);

/// A set of rules.
type Bits = SmallVec<[u64; 4]>;

impl Detector {
    /// From rules and the allow-lists of all of them.
    pub fn new(rules: Vec<Rule>, allowlists: Vec<Allowlist>) -> Result<Self, String> {
        let mut of_keyword: Vec<SmallVec<[u32; 2]>> = Vec::new();
        let mut places: HashMap<&str, usize> = HashMap::new();
        let mut keywords: Vec<&str> = Vec::new();
        let mut always: Bits = SmallVec::from_elem(0, rules.len().div_ceil(64));
        for (i, rule) in rules.iter().enumerate() {
            if rule.keywords.iter().all(|k| k.is_empty()) {
                always[i / 64] |= 1 << (i % 64);
                continue;
            }
            for keyword in rule.keywords.iter().filter(|k| !k.is_empty()) {
                let place = *places.entry(keyword).or_insert_with(|| {
                    keywords.push(keyword);
                    of_keyword.push(SmallVec::new());
                    keywords.len() - 1
                });
                of_keyword[place].push(i as u32);
            }
        }
        let automaton = AhoCorasickBuilder::new()
            .match_kind(MatchKind::Standard)
            .ascii_case_insensitive(true)
            .kind(Some(AhoCorasickKind::DFA))
            .build(&keywords);
        let automaton = automaton.map_err(|error| format!("the keywords of the rules: {error}"))?;
        drop(places);
        let keywords = (!of_keyword.is_empty()).then_some(automaton);
        Ok(Self { rules, allowlists, keywords, of_keyword, always })
    }

    /// The rule at a place.
    pub fn rule(&self, place: usize) -> &Rule {
        &self.rules[place]
    }

    /// The rules.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Looks for secrets.
    pub fn scan(&self, line: &str) -> Scan {
        match self.candidates(line) {
            Some(candidates) => self.scan_for(line, candidates, None),
            None => Scan::default(),
        }
    }

    /// Looks for the secrets of candidates; until `deadline`, if there is one: it is looked at between two
    /// rules.
    pub fn scan_for(&self, line: &str, candidates: Candidates, deadline: Option<Instant>) -> Scan {
        let mut scan = Scan::default();
        for (block, bits) in candidates.0.into_iter().enumerate() {
            let mut bits = bits;
            while bits != 0 {
                let place = block * 64 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                    scan.timed_out = true;
                    return self.reported(line, scan);
                }
                let rule = &self.rules[place];
                if !rule.reported {
                    continue;
                }
                let found = self.try_rule(place, line);
                scan.findings.extend(found.into_iter().filter(|f| self.is_accompanied(line, f)));
            }
        }
        // The last rule may have taken the time that there was.
        scan.timed_out = deadline.is_some_and(|deadline| Instant::now() >= deadline);
        self.reported(line, scan)
    }

    /// The rules whose keywords are in the line; `None`: no rule.
    pub fn candidates(&self, line: &str) -> Option<Candidates> {
        let mut candidates: Option<Bits> = self.always.iter().any(|b| *b != 0).then(|| self.always.clone());
        for found in self.keywords.iter().flat_map(|k| k.find_overlapping_iter(line)) {
            let bits = candidates.get_or_insert_with(|| SmallVec::from_elem(0, self.always.len()));
            for rule in &self.of_keyword[found.pattern().as_usize()] {
                bits[*rule as usize / 64] |= 1 << (rule % 64);
            }
        }
        candidates.map(Candidates)
    }

    fn try_rule(&self, place: usize, line: &str) -> Vec<Finding> {
        let rule = &self.rules[place];
        let regex = rule.pattern.regex();
        let mut findings = Vec::new();
        let mut at = 0;
        while at <= line.len()
            && let Some(matched) = regex.find_at(line, at)
        {
            let step = line[matched.end..].chars().next().map_or(1, char::len_utf8);
            at = if matched.is_empty() { matched.end + step } else { matched.end };
            let Some(secret) = rule.secret(line, &matched) else { continue };
            let finding = Finding { rule: place, secret, matched };
            let text = &line[finding.secret.clone()];
            let random = rule.entropy == 0.0 || entropy(text) > rule.entropy;
            let mut allowlists = self.allowlists.iter().chain(&rule.allowlists);
            if random && !allowlists.any(|a| a.allows(line, &finding)) {
                findings.push(finding);
            }
        }
        findings
    }

    /// Whether all rules that it requires have found something near it.
    fn is_accompanied(&self, line: &str, finding: &Finding) -> bool {
        let near = |required: &Required, other: &Finding| {
            let (from, to) = (
                finding.matched.start.min(other.matched.start),
                finding.matched.start.max(other.matched.start),
            );
            let lines = line.as_bytes()[from..to].iter().filter(|b| **b == b'\n').count();
            required.within_lines.is_none_or(|most| lines <= most)
                && required.within_columns.is_none_or(|most| to - from <= most)
        };
        let required = &self.rules[finding.rule].required;
        required.iter().all(|r| self.try_rule(r.rule, line).iter().any(|other| near(r, other)))
    }

    /// Without findings of rules for anything that others know better. As gitleaks/detect: `filter`.
    fn reported(&self, line: &str, mut scan: Scan) -> Scan {
        let generic = |f: &Finding| self.rules[f.rule].id.contains("generic");
        if scan.findings.len() > 1 && scan.findings.iter().any(generic) {
            let known: Vec<Finding> = scan.findings.iter().filter(|f| !generic(f)).cloned().collect();
            scan.findings.retain(|f| {
                let secret = &line[f.secret.clone()];
                !generic(f) || !known.iter().any(|k| line[k.secret.clone()].contains(secret))
            });
        }
        scan
    }
}

impl Rule {
    /// Where in a match the secret is; `None` where it is empty.
    fn secret(&self, line: &str, matched: &Range<usize>) -> Option<Range<usize>> {
        let text = &line[matched.clone()];
        let regex = self.pattern.regex();
        let mut secret = text;
        if regex.group_count() > 1
            && let Some(groups) = regex.captures(text)
        {
            let mut all = (1..regex.group_count()).map(|group| groups.get(group).unwrap_or_default());
            let chosen = match self.secret_group {
                0 => all.find(|group| !group.is_empty()),
                group => groups.get(group),
            };
            secret = chosen.unwrap_or(if self.secret_group == 0 { text } else { "" });
        }
        let secret = secret.trim_matches('\n');
        // Both are parts of the line.
        let start = secret.as_ptr() as usize - line.as_ptr() as usize;
        (!secret.is_empty()).then(|| start..start + secret.len())
    }
}

/// Shannon's entropy in bits a byte.
pub fn entropy(text: &str) -> f64 {
    let mut counts = [0u32; 256];
    for byte in text.bytes() {
        counts[usize::from(byte)] += 1;
    }
    let length = text.len() as f64;
    let part = |count: &u32| {
        let frequency = f64::from(*count) / length;
        -frequency * frequency.log2()
    };
    counts.iter().filter(|count| **count > 0).map(part).sum()
}
