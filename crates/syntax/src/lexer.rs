//! Text → tokens and comments. Newlines become terminators where the line may end a statement.
//!
//! Invariants: the token list ends with [`Kind::Eof`]; spans ascend and lie on character borders;
//! whatever is no part of the language is reported and left out, so that the parser meets known tokens
//! only. Rules as syntax/scanner of Alloy.

use std::sync::LazyLock;

use regex::Regex;

use crate::diagnostic::Diagnostic;
use crate::span::{Source, Span};

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Ident,
    Null,
    Bool,
    Number,
    Float,
    /// `"…"` or `` `…` ``, quotes included.
    String,
    /// A literal that was already reported; counts as one so that the parser goes on.
    Broken,
    Or,
    And,
    Not,
    Assign,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    LCurly,
    RCurly,
    LParen,
    RParen,
    LBrack,
    RBrack,
    Comma,
    Dot,
    /// No part of the grammar; a token so that the parser can tell what to write instead.
    Colon,
    /// The end of a line that ends a statement; an empty span behind the last token.
    Term,
    Eof,
}

impl Kind {
    /// Whether a line that ends with this token ends the statement.
    const fn ends_statement(self) -> bool {
        use Kind::*;
        matches!(self, Ident | Null | Bool | Number | Float | String | Broken | RCurly | RParen | RBrack)
    }

    /// How a token is called in a message.
    pub(crate) const fn describe(self) -> &'static str {
        match self {
            Self::Ident => "a name",
            Self::Null => "`null`",
            Self::Bool => "a boolean",
            Self::Number | Self::Float => "a number",
            Self::String | Self::Broken => "a string",
            Self::Or => "`||`",
            Self::And => "`&&`",
            Self::Not => "`!`",
            Self::Assign => "`=`",
            Self::Eq => "`==`",
            Self::Ne => "`!=`",
            Self::Lt => "`<`",
            Self::Le => "`<=`",
            Self::Gt => "`>`",
            Self::Ge => "`>=`",
            Self::Add => "`+`",
            Self::Sub => "`-`",
            Self::Mul => "`*`",
            Self::Div => "`/`",
            Self::Mod => "`%`",
            Self::Pow => "`^`",
            Self::LCurly => "`{`",
            Self::RCurly => "`}`",
            Self::LParen => "`(`",
            Self::RParen => "`)`",
            Self::LBrack => "`[`",
            Self::RBrack => "`]`",
            Self::Comma => "`,`",
            Self::Dot => "`.`",
            Self::Colon => "`:`",
            Self::Term => "the end of the line",
            Self::Eof => "the end of the file",
        }
    }
}

/// One token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) span: Span,
    /// The first token of its line.
    pub(crate) line_start: bool,
}

/// What the lexer makes of a text.
pub(crate) struct Lexed {
    pub(crate) tokens: Vec<Token>,
    pub(crate) comments: Vec<crate::ast::Comment>,
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// A comment or raw string ran to the end of the file, so that what follows is unknown.
    pub(crate) truncated: bool,
}

/// Reads the whole text.
pub(crate) fn lex(source: &Source) -> Lexed {
    let text = source.text();
    let mut lexer = Lexer {
        source,
        text,
        bytes: text.as_bytes(),
        at: if text.starts_with(BOM) { BOM.len_utf8() } else { 0 },
        line_start: true,
        needs_term: false,
        last_end: 0,
        out: Lexed {
            tokens: Vec::with_capacity(text.len() / 5 + 2),
            comments: Vec::new(),
            diagnostics: Vec::new(),
            truncated: false,
        },
    };
    while lexer.at < lexer.bytes.len() {
        lexer.step();
    }
    lexer.terminate();
    let end = lexer.bytes.len();
    lexer.push(Kind::Eof, end, end);
    lexer.out
}

/// The strings of a text, each with the name that it is assigned to and its span with quotes. Told by tokens alone: of a
/// line that is broken the tree knows nothing.
pub fn assigned_strings(source: &Source) -> Vec<(&str, Span)> {
    let (mut found, mut name, mut previous) = (Vec::new(), None, None);
    let tokens = lex(source).tokens;
    for (token, next) in tokens.iter().zip(&tokens[1..]) {
        match token.kind {
            // A key of an object.
            Kind::String if next.kind == Kind::Assign => {}
            Kind::Assign => name = previous.map(|span| source.slice(span).trim_matches(['"', '`'])),
            Kind::Term | Kind::LCurly | Kind::RCurly => name = None,
            Kind::String => found.extend(name.map(|name| (name, token.span))),
            _ => {}
        }
        previous = Some(token.span);
    }
    found
}

/// Whether a text can stand as an identifier: a letter or `_`, then letters, digits, `_`; no keyword.
pub fn is_identifier(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(is_letter)
        && chars.all(|c| is_letter(c) || is_digit(c))
        && !matches!(text, "null" | "true" | "false")
}

const BOM: char = '\u{feff}';

/// Letters are Unicode category L, digits category Nd, as Go's `unicode` package has them; the standard
/// library's `is_alphabetic` is wider.
fn is_letter(c: char) -> bool {
    static LETTER: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^\p{L}$").expect("a fixed pattern"));
    c.is_ascii_alphabetic()
        || c == '_'
        || (!c.is_ascii() && c.is_alphabetic() && LETTER.is_match(c.encode_utf8(&mut [0; 4])))
}

fn is_digit(c: char) -> bool {
    static DIGIT: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^\p{Nd}$").expect("a fixed pattern"));
    c.is_ascii_digit() || (!c.is_ascii() && c.is_numeric() && DIGIT.is_match(c.encode_utf8(&mut [0; 4])))
}

struct Lexer<'s> {
    source: &'s Source,
    text: &'s str,
    bytes: &'s [u8],
    at: usize,
    line_start: bool,
    needs_term: bool,
    last_end: usize,
    out: Lexed,
}

impl Lexer<'_> {
    fn step(&mut self) {
        let start = self.at;
        match self.bytes[start] {
            b' ' | b'\t' | b'\r' => self.at += 1,
            b'\n' => {
                self.at += 1;
                self.newline();
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => self.identifier(),
            b'0'..=b'9' => self.number(),
            b'.' if self.peek(1).is_ascii_digit() => self.number(),
            b'"' => self.quoted(b'"'),
            b'\'' => {
                self.report(
                    start..start + 1,
                    "a string cannot stand in single quotes",
                    "write it in double quotes",
                );
                self.quoted(b'\'');
            }
            b'`' => self.raw_string(),
            b'/' if self.peek(1) == b'/' => self.line_comment(),
            b'/' if self.peek(1) == b'*' => self.block_comment(),
            b'#' => {
                self.report(start..start + 1, "`#` does not start a comment", "write `//` instead");
                self.at = self.line_end();
            }
            b if b.is_ascii() => self.symbol(b),
            _ => self.foreign(),
        }
    }

    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    /// Offset of the newline that ends the current line, or of the end of the text.
    fn line_end(&self) -> usize {
        self.text[self.at..].find('\n').map_or(self.text.len(), |n| self.at + n)
    }

    fn push(&mut self, kind: Kind, start: usize, end: usize) {
        let line_start = std::mem::take(&mut self.line_start);
        self.out.tokens.push(Token { kind, span: Span::new(start as u32, end as u32), line_start });
        self.needs_term = kind.ends_statement();
        self.last_end = end;
        self.at = end;
    }

    fn newline(&mut self) {
        self.terminate();
        self.line_start = true;
    }

    fn terminate(&mut self) {
        if std::mem::take(&mut self.needs_term) {
            let span = Span::new(self.last_end as u32, self.last_end as u32);
            self.out.tokens.push(Token { kind: Kind::Term, span, line_start: false });
        }
    }

    fn report(&mut self, range: std::ops::Range<usize>, message: impl Into<String>, help: &str) {
        let span = Span::new(range.start as u32, range.end as u32);
        self.out.diagnostics.push(Diagnostic::error("syntax", message, self.source, span).with_help(help));
    }

    fn identifier(&mut self) {
        let start = self.at;
        let rest = &self.text[start..];
        let end = rest.find(|c| !is_letter(c) && !is_digit(c)).map_or(self.text.len(), |n| start + n);
        let kind = match &self.text[start..end] {
            "null" => Kind::Null,
            "true" | "false" => Kind::Bool,
            _ => Kind::Ident,
        };
        self.push(kind, start, end);
    }

    fn digits(&self, from: usize) -> usize {
        from + self.bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count()
    }

    fn number(&mut self) {
        let start = self.at;
        let mut kind = Kind::Number;
        let mut end = self.digits(start);
        if self.bytes.get(end) == Some(&b'.') {
            kind = Kind::Float;
            end = self.digits(end + 1);
        }
        if matches!(self.bytes.get(end), Some(b'e' | b'E')) {
            kind = Kind::Float;
            end += 1;
            if matches!(self.bytes.get(end), Some(b'+' | b'-')) {
                end += 1;
            }
            let digits = self.digits(end);
            if digits == end {
                self.report(start..end, "the exponent has no digits", "write a number behind the `e`");
                kind = Kind::Broken;
            }
            end = digits;
        }
        self.push(kind, start, end);
    }

    /// A string up to its closing quote on the same line. Escape sequences are checked when decoded.
    fn quoted(&mut self, quote: u8) {
        let start = self.at;
        let mut end = start + 1;
        loop {
            match self.bytes.get(end) {
                None | Some(b'\n') => {
                    if quote == b'"' {
                        self.report(
                            start..end,
                            "the string is not closed on its line",
                            "close it with `\"`; a text over several lines stands in backquotes",
                        );
                    }
                    return self.push(Kind::Broken, start, end);
                }
                Some(b) if *b == quote => {
                    let kind = if quote == b'"' { Kind::String } else { Kind::Broken };
                    return self.push(kind, start, end + 1);
                }
                Some(b'\\') if self.bytes.get(end + 1).is_some_and(|b| *b != b'\n') => end += 2,
                Some(_) => end += 1,
            }
        }
    }

    fn raw_string(&mut self) {
        let start = self.at;
        if let Some(n) = self.text[start + 1..].find('`') {
            return self.push(Kind::String, start, start + n + 2);
        }
        self.report(start..start + 1, "the raw string is not closed", "close it with a backquote");
        self.out.truncated = true;
        self.push(Kind::Broken, start, self.text.len());
    }

    fn line_comment(&mut self) {
        let start = self.at;
        let end = self.line_end();
        self.at = end;
        let text = self.text[start..end].trim_end_matches('\r');
        self.comment(start, start + text.len(), false);
    }

    fn block_comment(&mut self) {
        let start = self.at;
        let Some(n) = self.text[start + 2..].find("*/") else {
            self.report(start..start + 2, "the comment is not closed", "close it with `*/`");
            self.out.truncated = true;
            self.at = self.text.len();
            return self.comment(start, self.at, true);
        };
        self.at = start + n + 4;
        self.comment(start, self.at, true);
        if self.text[start..self.at].contains('\n') {
            self.newline();
        }
    }

    fn comment(&mut self, start: usize, end: usize, block: bool) {
        let span = Span::new(start as u32, end as u32);
        self.out.comments.push(crate::ast::Comment { span, block });
    }

    fn symbol(&mut self, byte: u8) {
        let next = self.peek(1);
        let (kind, length) = match (byte, next) {
            (b'|', b'|') => (Kind::Or, 2),
            (b'&', b'&') => (Kind::And, 2),
            (b'|', _) => return self.half_operator(Kind::Or, "||"),
            (b'&', _) => return self.half_operator(Kind::And, "&&"),
            (b'!', b'=') => (Kind::Ne, 2),
            (b'!', _) => (Kind::Not, 1),
            (b'=', b'=') => (Kind::Eq, 2),
            (b'=', _) => (Kind::Assign, 1),
            (b'<', b'=') => (Kind::Le, 2),
            (b'<', _) => (Kind::Lt, 1),
            (b'>', b'=') => (Kind::Ge, 2),
            (b'>', _) => (Kind::Gt, 1),
            (b'+', _) => (Kind::Add, 1),
            (b'-', _) => (Kind::Sub, 1),
            (b'*', _) => (Kind::Mul, 1),
            (b'/', _) => (Kind::Div, 1),
            (b'%', _) => (Kind::Mod, 1),
            (b'^', _) => (Kind::Pow, 1),
            (b'{', _) => (Kind::LCurly, 1),
            (b'}', _) => (Kind::RCurly, 1),
            (b'(', _) => (Kind::LParen, 1),
            (b')', _) => (Kind::RParen, 1),
            (b'[', _) => (Kind::LBrack, 1),
            (b']', _) => (Kind::RBrack, 1),
            (b',', _) => (Kind::Comma, 1),
            (b'.', _) => (Kind::Dot, 1),
            (b':', _) => (Kind::Colon, 1),
            _ => return self.foreign(),
        };
        self.push(kind, self.at, self.at + length);
    }

    fn half_operator(&mut self, kind: Kind, symbol: &str) {
        let start = self.at;
        self.report(
            start..start + 1,
            format!("an operator `{}` does not exist", &symbol[..1]),
            &format!("write `{symbol}`"),
        );
        self.push(kind, start, start + 1);
    }

    /// A character beyond ASCII, or one that the language does not use.
    fn foreign(&mut self) {
        let start = self.at;
        let Some(c) = self.text[start..].chars().next() else { return };
        if is_letter(c) {
            return self.identifier();
        }
        let end = start + c.len_utf8();
        let code = c as u32;
        let (message, help) = match c {
            '\0' => ("a NUL character does not belong into a configuration".to_owned(), "remove it"),
            BOM => (
                "a byte order mark may stand only at the start of the file".to_owned(),
                "remove it; it is invisible in most editors",
            ),
            ';' => ("`;` does not end a statement".to_owned(), "remove it; the end of the line does"),
            '\u{201c}' | '\u{201d}' | '\u{2018}' | '\u{2019}' => {
                ("typographic quotes do not open a string".to_owned(), "write `\"`")
            }
            _ if c.is_control() || c.is_whitespace() => {
                (format!("the character U+{code:04X} is not allowed here"), "remove it")
            }
            _ => (
                format!("the character `{c}` is not allowed here"),
                "remove it, or put the text in double quotes",
            ),
        };
        self.report(start..end, message, help);
        self.at = end;
    }
}
