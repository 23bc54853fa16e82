//! Diagnostics → text for people: message, `file:line:column`, the source line with a marker, what to do.

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use crate::diagnostic::{Diagnostic, Severity};

/// Prints diagnostics one after the other with a blank line between, each ended by a newline. `color` adds
/// terminal escape sequences.
pub fn render(diagnostics: &[Diagnostic], color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let mut out = String::new();
    for diagnostic in diagnostics {
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&one(diagnostic, &renderer));
        out.push('\n');
    }
    out
}

fn one(diagnostic: &Diagnostic, renderer: &Renderer) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(diagnostic.message.as_str()).id(diagnostic.code);
    let help = diagnostic.help.as_deref().map(|text| Level::HELP.message(text));
    let group = match &diagnostic.location {
        Some(place) => {
            let text = place.source.text();
            let end = (place.span.end as usize).min(text.len());
            let start = (place.span.start as usize).min(end);
            // One line is enough to find the place again; a marker over a whole block hides the message.
            let line_end = text[start..end].find('\n').map_or(end, |n| start + n);
            let snippet = Snippet::source(text)
                .path(place.source.name())
                .annotation(AnnotationKind::Primary.span(start..line_end));
            title.element(snippet).elements(help)
        }
        None => annotate_snippets::Group::with_title(title).elements(help),
    };
    renderer.render(&[group])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Source, Span};

    #[test]
    fn a_problem_shows_its_line_and_what_to_do() {
        let source = Source::new("config.alloy", "a = 1\nb = é'x'\n");
        let at = Diagnostic::error("syntax", "no such quotes", &source, Span::new(12, 15));
        let all = [at.with_help("write \"x\""), Diagnostic::plain("io", "cannot read it")];
        let text = render(&all, false);
        let want = "error[syntax]: no such quotes\n --> config.alloy:2:6\n  |\n2 | b = é'x'\n  |      ^^^\n  |\n  = help: write \"x\"\n\nerror[io]: cannot read it\n";
        assert_eq!(text, want);
        assert!(render(&all, true).contains("\u{1b}["));
    }

    #[test]
    fn a_span_outside_of_the_text_does_no_harm() {
        let source = Source::new("f", "a");
        let at = Diagnostic::warning("x", "beyond", &source, Span::new(7, 9));
        assert!(render(&[at], false).contains("f:1:2"));
    }
}
