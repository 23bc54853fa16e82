//! Lines of text whose cells line up: elastic tab stops.
//!
//! Adjacent lines of a run that both end a cell at the same place in their list of cells get that cell as
//! wide as the widest one, plus a space. As Go's text/tabwriter, which Alloy's printer is built on.

/// The text that is put together.
#[derive(Default)]
pub(crate) struct Layout {
    text: String,
    lines: Vec<Line>,
    /// Offsets in `text` where a cell ends, of all lines in order.
    stops: Vec<usize>,
    /// Line ends written so far, those inside of a piece of text included.
    line_ends: usize,
}

#[derive(Clone, Copy, Default)]
struct Line {
    /// Offset of its first byte in `text`; it ends where the next one starts.
    start: usize,
    /// Index of its first stop.
    first_stop: usize,
    indent: usize,
    /// Starts a new run.
    breaks: bool,
}

impl Layout {
    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Line ends written so far.
    pub(crate) fn line_ends(&self) -> usize {
        self.line_ends
    }

    /// Appends to the current line. `indent` counts where the line has no text yet.
    pub(crate) fn text(&mut self, text: &str, indent: usize) {
        match self.lines.last_mut() {
            Some(line) if line.start == self.text.len() => line.indent = indent,
            Some(_) => {}
            None => self.lines.push(Line { indent, ..Line::default() }),
        }
        self.text.push_str(text);
        self.line_ends += text.bytes().filter(|b| *b == b'\n').count();
    }

    /// Ends a cell of the current line.
    pub(crate) fn cell(&mut self) {
        self.stops.push(self.text.len());
    }

    /// Ends the line, and leaves `count - 1` blank ones.
    pub(crate) fn newline(&mut self, count: usize, breaks: bool) {
        for _ in 0..count {
            let (start, first_stop) = (self.text.len(), self.stops.len());
            self.lines.push(Line { start, first_stop, indent: 0, breaks });
        }
        self.line_ends += count;
    }

    fn stops_of(&self, index: usize) -> std::ops::Range<usize> {
        let end = self.lines.get(index + 1).map_or(self.stops.len(), |l| l.first_stop);
        self.lines[index].first_stop..end
    }

    /// The whole text with its cells lined up, one line end at its end.
    pub(crate) fn finish(self) -> String {
        let mut widths = vec![0; self.stops.len()];
        let mut start = 0;
        for index in 1..=self.lines.len() {
            let ends = self.lines.get(index).is_none_or(|l| l.breaks || l.indent != self.lines[start].indent);
            if ends {
                self.align(start..index, &mut widths);
                start = index;
            }
        }
        self.write(&widths)
    }

    /// Gives the cells of a run their widths: column by column, each within the block of lines that the
    /// column before it spans. Open work is a list, because one line may have any number of cells.
    fn align(&self, run: std::ops::Range<usize>, widths: &mut [usize]) {
        let mut open = vec![(run, 0)];
        while let Some((lines, column)) = open.pop() {
            let mut index = lines.start;
            while index < lines.end {
                let first = index;
                let mut width = 0;
                while index < lines.end && self.stops_of(index).len() > column {
                    width = width.max(self.cell_width(index, column) + 1);
                    index += 1;
                }
                for line in first..index {
                    widths[self.lines[line].first_stop + column] = width;
                }
                if first < index {
                    open.push((first..index, column + 1));
                } else {
                    index += 1;
                }
            }
        }
    }

    fn cell_text(&self, line: usize, column: usize) -> &str {
        let stop = self.lines[line].first_stop + column;
        let start = if column == 0 { self.lines[line].start } else { self.stops[stop - 1] };
        &self.text[start..self.stops[stop]]
    }

    /// Characters of a cell; of its last line, where it has more than one.
    fn cell_width(&self, line: usize, column: usize) -> usize {
        let text = self.cell_text(line, column);
        text[text.rfind('\n').map_or(0, |n| n + 1)..].chars().count()
    }

    fn write(&self, widths: &[usize]) -> String {
        let mut out = String::with_capacity(self.text.len() * 5 / 4 + 1);
        for (index, line) in self.lines.iter().enumerate() {
            let end = self.lines.get(index + 1).map_or(self.text.len(), |l| l.start);
            if line.start < end {
                out.extend(std::iter::repeat_n('\t', line.indent));
            }
            let stops = self.stops_of(index);
            for column in 0..stops.len() {
                out.push_str(self.cell_text(index, column));
                let pad = widths[stops.start + column] - self.cell_width(index, column);
                out.extend(std::iter::repeat_n(' ', pad));
            }
            let rest = if stops.is_empty() { line.start } else { self.stops[stops.end - 1] };
            out.push_str(&self.text[rest..end]);
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of cells divided by `|`; a line that starts with `!` starts a new run.
    fn lay_out(lines: &[&str]) -> String {
        let mut layout = Layout::default();
        for (index, line) in lines.iter().enumerate() {
            if index > 0 {
                layout.newline(1, line.starts_with('!'));
            }
            for (column, cell) in line.trim_start_matches('!').split('|').enumerate() {
                if column > 0 {
                    layout.cell();
                }
                layout.text(cell, 0);
            }
        }
        layout.finish()
    }

    #[test]
    fn cells_of_neighbours_line_up() {
        for (lines, want) in [
            (&["a|= 1", "bbb|= 2"][..], "a   = 1\nbbb = 2\n"),
            (&["a|= 1", "!bbb|= 2"], "a = 1\nbbb = 2\n"),
            (&["a|= 1", "x", "bbb|= 2"], "a = 1\nx\nbbb = 2\n"),
            (&["a|= 1|// c", "bbb|= 22|// c"], "a   = 1  // c\nbbb = 22 // c\n"),
            (&["a|= 1|// c", "bbb|= 22", "c|= 333|// c"], "a   = 1 // c\nbbb = 22\nc   = 333 // c\n"),
            (&["é|= 1", "bb|= 2"], "é  = 1\nbb = 2\n"),
        ] {
            assert_eq!(lay_out(lines), want);
        }
    }

    #[test]
    fn a_line_may_have_any_number_of_cells() {
        let line = "a|".repeat(100_000);
        assert_eq!(lay_out(&[&line]).len(), 200_001);
    }
}
