//! Telling code from comments and literals, as far as the rules need it.
//!
//! [`blank`] replaces every character of a comment or literal by a space and keeps line breaks,
//! so that positions stay true and what is left can be searched as plain words.

/// `text` with comments, strings and characters blanked out.
pub(super) fn blank(text: &str) -> String {
    let mut scanner = Scanner { rest: text, out: String::with_capacity(text.len()) };
    while !scanner.rest.is_empty() {
        scanner.step();
    }
    scanner.out
}

struct Scanner<'a> {
    rest: &'a str,
    out: String,
}

impl Scanner<'_> {
    fn step(&mut self) {
        let after_word = self.out.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let length = if self.rest.starts_with("//") {
            self.rest.find('\n').unwrap_or(self.rest.len())
        } else if self.rest.starts_with("/*") {
            block_comment(self.rest)
        } else if let Some(length) = raw_string(self.rest).filter(|_| !after_word) {
            length
        } else if self.rest.starts_with('"') {
            quoted(self.rest, '"')
        } else if self.rest.starts_with('\'') && is_character(self.rest) {
            quoted(self.rest, '\'')
        } else {
            let first = self.rest.chars().next().map_or(0, char::len_utf8);
            self.out.push_str(&self.rest[..first]);
            self.rest = &self.rest[first..];
            return;
        };
        let (hidden, rest) = self.rest.split_at(length);
        self.out.extend(hidden.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        self.rest = rest;
    }
}

/// The length of the block comment that `text` starts with; they nest.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// The length of the raw string that `text` starts with, if it does.
fn raw_string(text: &str) -> Option<usize> {
    let start = ["r", "br", "cr"].iter().find_map(|prefix| text.strip_prefix(prefix))?;
    let hashes = start.len() - start.trim_start_matches('#').len();
    let body = start[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let prefix = text.len() - body.len();
    Some(body.find(&end).map_or(text.len(), |at| prefix + at + end.len()))
}

/// The length of the literal that `text` starts with, up to its closing `quote`.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote {
            return at + 1;
        }
    }
    text.len()
}

/// Whether a quote opens a character and not a lifetime.
fn is_character(text: &str) -> bool {
    let mut inside = text.chars().skip(1);
    match inside.next() {
        Some('\\') => true,
        Some(_) => inside.next() == Some('\''),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::blank;

    #[test]
    fn comments_and_literals_are_blanked_and_code_stays() {
        assert_eq!(blank("a // b\nc /* d /* e */ f */ g"), "a     \nc                   g");
        assert_eq!(blank(r#"x = "}\"{"; y"#), "x =       ; y");
        assert_eq!(blank("r#\"{\"# z"), "       z");
    }

    #[test]
    fn lifetimes_are_code_and_characters_are_not() {
        assert_eq!(blank("fn f<'a>(x: &'a str) { '{' }"), "fn f<'a>(x: &'a str) {     }");
        assert_eq!(blank(r"'\'' b'x'"), "     b   ");
    }

    #[test]
    fn an_identifier_that_ends_in_r_opens_no_raw_string() {
        assert_eq!(blank("for\"x\" {}"), "for    {}");
    }
}
