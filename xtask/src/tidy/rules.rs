//! The rules that one source file can break by itself.

use std::fmt;

use super::code::blank;

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;
const LINE_WIDTH_MAX: usize = 100;

/// Crates that are functions of their inputs: no clock, no entropy, no I/O, no tasks.
const PURE: &[&str] = &["crates/crdt/src/", "crates/protocol/src/"];

/// What pure crates must not name, and why.
const IMPURE: &[(&str, &str)] = &[
    ("std::time", "reads the clock"),
    ("SystemTime", "reads the clock"),
    ("std::fs", "does I/O"),
    ("std::net", "does I/O"),
    ("std::env", "reads its surroundings"),
    ("std::process", "reads its surroundings"),
    ("std::thread", "starts threads"),
    ("thread_local", "keeps hidden state"),
    ("getrandom", "draws entropy"),
    ("async", "is asynchronous"),
    ("await", "is asynchronous"),
    ("HashMap", "iterates in random order; use BTreeMap, or allow it where it is only looked up"),
    ("HashSet", "iterates in random order; use BTreeSet, or allow it where it is only looked up"),
];

/// One broken rule at one place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Breach {
    file: String,
    line: usize,
    rule: &'static str,
    what: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.file, self.line, self.rule, self.what)
    }
}

/// Everything that `text`, the content of `file`, breaks; a file that only tests use may be impure.
pub(super) fn check(file: &str, text: &str, for_tests: bool) -> Vec<Breach> {
    let code = blank(text);
    let source = Source { file, lines: text.lines().collect(), code: code.lines().collect() };
    let mut found = Vec::new();
    found.extend(source.module_docs());
    found.extend(source.file_lines());
    found.extend(source.line_widths());
    found.extend(source.function_lines(&code));
    if !for_tests && PURE.iter().any(|folder| file.starts_with(folder)) {
        found.extend(source.purity());
    }
    found.extend(source.reasons());
    found
}

/// How the paths begin of those files that `file` declares for its tests only.
pub(super) fn test_modules(file: &str, text: &str) -> Vec<String> {
    let stem = file.strip_suffix(".rs").unwrap_or(file);
    let roots = ["/lib", "/main", "/mod"];
    let folder = roots.iter().find_map(|root| stem.strip_suffix(root)).unwrap_or(stem);
    let lines: Vec<_> = text.lines().collect();
    let gated = lines.windows(2).filter(|pair| pair[0] == "#[cfg(test)]");
    let named = gated.filter_map(|pair| {
        let shared = pair[1].strip_prefix("pub(crate) ").unwrap_or(pair[1]);
        shared.strip_prefix("mod ")?.strip_suffix(';')
    });
    named.flat_map(|name| [format!("{folder}/{name}.rs"), format!("{folder}/{name}/")]).collect()
}

struct Source<'a> {
    file: &'a str,
    lines: Vec<&'a str>,
    code: Vec<&'a str>,
}

impl Source<'_> {
    fn breach(&self, index: usize, rule: &'static str, what: String) -> Breach {
        Breach { file: self.file.to_owned(), line: index + 1, rule, what }
    }

    fn module_docs(&self) -> Option<Breach> {
        let documented = self.lines.first().is_some_and(|line| line.starts_with("//! "));
        (!documented)
            .then(|| self.breach(0, "module-docs", "a file begins with its `//!` docs".into()))
    }

    fn file_lines(&self) -> Option<Breach> {
        let count = self.lines.len();
        let allowed = self.lines.iter().take(30).any(|line| allows(line, "file-lines"));
        (count > FILE_LINES_MAX && !allowed).then(|| {
            let what = format!("{count} lines, at most {FILE_LINES_MAX}");
            self.breach(FILE_LINES_MAX, "file-lines", what)
        })
    }

    fn line_widths(&self) -> impl Iterator<Item = Breach> {
        let wide = self.lines.iter().enumerate().filter_map(move |(index, line)| {
            let width = line.chars().count();
            // A link cannot be broken in two.
            let excused = line.contains("://") || self.allowed_at(index, "line-width");
            (width > LINE_WIDTH_MAX && !excused).then(|| {
                let what = format!("{width} characters, at most {LINE_WIDTH_MAX}");
                self.breach(index, "line-width", what)
            })
        });
        wide.collect::<Vec<_>>().into_iter()
    }

    fn function_lines(&self, code: &str) -> Vec<Breach> {
        let mut found = Vec::new();
        for (start, _) in words(code, "fn") {
            let Some((first, last)) = function_span(code, start) else { continue };
            let count = last - first + 1;
            if count > FUNCTION_LINES_MAX && !self.allowed_at(first, "function-lines") {
                let what = format!("{count} lines, at most {FUNCTION_LINES_MAX}");
                found.push(self.breach(first, "function-lines", what));
            }
        }
        found
    }

    /// Names the first use of each impure thing outside the file's tests.
    fn purity(&self) -> Vec<Breach> {
        let tests = self.code.iter().position(|line| line.trim() == "#[cfg(test)]");
        let code = &self.code[..tests.unwrap_or(self.code.len())];
        let mut found = Vec::new();
        for (word, why) in IMPURE {
            let first = code.iter().position(|line| words(line, word).next().is_some());
            if let Some(index) = first.filter(|index| !self.allowed_at(*index, "purity")) {
                found.push(self.breach(index, "purity", format!("`{word}` {why}")));
            }
        }
        found
    }

    /// An exception without a reason is none.
    fn reasons(&self) -> Vec<Breach> {
        let mut found = Vec::new();
        for (index, line) in self.lines.iter().enumerate() {
            let Some((rule, reason)) = marker(line) else { continue };
            if reason.split_whitespace().count() < 3 {
                let what = format!("the exception from {rule} says no reason");
                found.push(self.breach(index, "tidy-allow", what));
            }
        }
        found
    }

    /// Whether the line, or the comments and attributes right above it, allow the breach.
    fn allowed_at(&self, index: usize, rule: &str) -> bool {
        let above = self.lines[..index].iter().rev().map(|line| line.trim_start());
        let belongs = above.take_while(|line| line.starts_with("//") || line.starts_with("#["));
        allows(self.lines[index], rule) || belongs.into_iter().any(|line| allows(line, rule))
    }
}

/// The rule and the reason of the marker on this line, if it is a comment that holds one.
fn marker(line: &str) -> Option<(&str, &str)> {
    let comment = line.trim_start();
    let comment = comment.strip_prefix("//! ").or_else(|| comment.strip_prefix("// "))?;
    comment.strip_prefix("tidy-allow: ")?.split_once(": ")
}

fn allows(line: &str, rule: &str) -> bool {
    marker(line).is_some_and(|(name, _)| name == rule)
}

/// Where `word` stands by itself in `code`: byte positions of its start and its end.
fn words(code: &str, word: &str) -> impl Iterator<Item = (usize, usize)> {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word)
        .map(move |(start, found)| (start, start + found.len()))
        .filter(move |(start, end)| {
            !code[..*start].ends_with(part) && !code[*end..].starts_with(part)
        })
        .collect::<Vec<_>>()
        .into_iter()
}

/// The first and last line, from 0, of the function whose `fn` is at `start`; none without body.
fn function_span(code: &str, start: usize) -> Option<(usize, usize)> {
    let name = code[start + 2..].trim_start();
    if !name.starts_with(|c: char| c.is_alphabetic() || c == '_') {
        return None;
    }
    let (mut parens, mut braces) = (0_i32, 0_i32);
    for (at, c) in code[start..].char_indices() {
        match c {
            '(' | '[' => parens += 1,
            ')' | ']' => parens -= 1,
            ';' if parens == 0 && braces == 0 => return None,
            '{' => braces += 1,
            '}' => {
                braces -= 1;
                if braces == 0 && parens == 0 {
                    let line = |end: usize| code[..end].matches('\n').count();
                    return Some((line(start), line(start + at)));
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCS: &str = "//! What it is.\n";

    fn rules_broken(file: &str, text: &str) -> Vec<(usize, &'static str)> {
        check(file, text, false).into_iter().map(|breach| (breach.line, breach.rule)).collect()
    }

    fn function_of(lines: usize) -> String {
        format!("fn long() {{\n{}}}\n", "    work();\n".repeat(lines - 2))
    }

    #[test]
    fn a_file_without_module_docs_is_named() {
        assert_eq!(rules_broken("a.rs", "use x;\n"), [(1, "module-docs")]);
        assert_eq!(rules_broken("a.rs", DOCS), []);
    }

    #[test]
    fn a_function_may_have_70_lines_and_not_71() {
        let short = format!("{DOCS}{}", function_of(70));
        let long = format!("{DOCS}{}", function_of(71));
        assert_eq!(rules_broken("a.rs", &short), []);
        assert_eq!(rules_broken("a.rs", &long), [(2, "function-lines")]);
    }

    #[test]
    fn an_exception_with_a_reason_is_honoured() {
        let marker = "// tidy-allow: function-lines: one table in one order.\n#[test]\n";
        let text = format!("{DOCS}{marker}{}", function_of(90));
        assert_eq!(rules_broken("a.rs", &text), []);
    }

    #[test]
    fn an_exception_without_a_reason_is_a_breach() {
        let text = format!("{DOCS}// tidy-allow: line-width: because\n");
        assert_eq!(rules_broken("a.rs", &text), [(2, "tidy-allow")]);
    }

    #[test]
    fn an_exception_covers_one_place_and_one_rule() {
        let marker = "// tidy-allow: line-width: a table of numbers.\n";
        let text = format!("{DOCS}{marker}{}{}", function_of(3), function_of(71));
        assert_eq!(rules_broken("a.rs", &text), [(6, "function-lines")]);
    }

    #[test]
    fn braces_in_text_do_not_end_a_function() {
        let text = format!("{DOCS}fn f() {{\n    let a = \"}}\"; // }}\n{}}}\n", "\n".repeat(80));
        assert_eq!(rules_broken("a.rs", &text), [(2, "function-lines")]);
    }

    #[test]
    fn functions_without_body_and_function_types_have_no_length() {
        let text = format!("{DOCS}trait T {{ fn f(a: [u8; 4]); }}\ntype F = fn(u8);\n");
        assert_eq!(rules_broken("a.rs", &text), []);
    }

    #[test]
    fn long_files_and_lines_are_named_but_links_are_not() {
        let text = format!("{DOCS}{}", "\n".repeat(600));
        assert_eq!(rules_broken("a.rs", &text), [(601, "file-lines")]);
        let text = format!("{DOCS}// {}\n// https://{}\n", "x".repeat(98), "x".repeat(98));
        assert_eq!(rules_broken("a.rs", &text), [(2, "line-width")]);
    }

    #[test]
    fn pure_crates_name_no_clock_and_no_hash_map() {
        let text = format!("{DOCS}use std::time::Instant;\nasync fn f() {{}}\n");
        let file = "crates/protocol/src/lib.rs";
        assert_eq!(rules_broken(file, &text), [(2, "purity"), (3, "purity")]);
        assert_eq!(rules_broken("crates/engine/src/lib.rs", &text), []);
        let allowed = "// tidy-allow: purity: looked up and never iterated.\nuse a::HashMap;\n";
        assert_eq!(rules_broken(file, &format!("{DOCS}{allowed}")), []);
    }

    #[test]
    fn modules_for_tests_only_are_free_too() {
        let text = "mod a;\n#[cfg(test)]\nmod model;\n#[cfg(test)]\nmod tests {}\n";
        let shared = "#[cfg(test)]\npub(crate) mod model;\n";
        assert_eq!(test_modules("crates/crdt/src/lib.rs", shared).len(), 2);
        let found = test_modules("crates/crdt/src/lib.rs", text);
        assert_eq!(found, ["crates/crdt/src/model.rs", "crates/crdt/src/model/"]);
        let found = test_modules("crates/crdt/src/text.rs", text);
        assert_eq!(found[0], "crates/crdt/src/text/model.rs");
        let impure = format!("{DOCS}use std::fs;\n");
        assert_eq!(check("crates/crdt/src/model.rs", &impure, true), []);
    }

    #[test]
    fn tests_and_comments_of_pure_crates_are_free() {
        let text = format!("{DOCS}// async\n#[cfg(test)]\nmod tests {{ use std::fs; }}\n");
        assert_eq!(rules_broken("crates/crdt/src/lib.rs", &text), []);
    }
}
