//! What the documents promise: each row of a table of proofs must name a test that exists.

use std::collections::BTreeSet;

/// The names of all functions in the sources.
pub(super) fn functions<'a>(sources: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    sources.flat_map(|text| text.lines().filter_map(function_of)).collect()
}

fn function_of(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let is_declaration = before
        .split_whitespace()
        .all(|word| matches!(word, "async" | "const" | "pub" | "pub(crate)" | "pub(super)"));
    let end = after.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    is_declaration.then(|| &after[..end])
}

/// A document with a table whose last column names the test that proves the row.
pub(super) struct Promises {
    /// The file, relative to the root.
    pub(super) file: &'static str,
    header: &'static str,
}

/// Every such table.
pub(super) const PROMISES: &[Promises] = &[
    Promises { file: "README.md", header: "| promise | proof |" },
    Promises { file: "docs/reliability.md", header: "| failure | what happens | test |" },
];

impl Promises {
    /// One sentence for each row whose proof is missing, and one if there is no table in `text`.
    pub(super) fn check(&self, text: &str, functions: &BTreeSet<&str>) -> Vec<String> {
        let file = self.file;
        let mut rows = text.lines().skip_while(|line| *line != self.header);
        if rows.next().is_none() {
            return vec![format!("{file}: there is no table of promises and proofs")];
        }
        let rows = rows.skip(1).take_while(|line| line.starts_with('|'));
        let mut missing = Vec::new();
        for row in rows {
            let proof = row.rsplit('|').nth(1).unwrap_or_default().trim();
            let name = proof.trim_matches('`');
            if !functions.contains(name) {
                missing.push(format!("{file}: proof: no test is called {proof}"));
            }
        }
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const README: &str = "# x\n| promise | proof |\n|---|---|\n| a | `kept` |\n| b | `gone` |\n\n";

    #[test]
    fn a_promise_without_a_test_is_found() {
        let sources = "#[test]\nfn kept() {\n    // fn gone\n}\n";
        let found = PROMISES[0].check(README, &functions([sources].into_iter()));
        assert_eq!(found, ["README.md: proof: no test is called `gone`"]);
    }

    #[test]
    fn a_readme_without_the_table_is_found() {
        assert_eq!(PROMISES[0].check("# x\n", &BTreeSet::new()).len(), 1);
    }

    #[test]
    fn functions_are_found_by_their_declarations() {
        let sources = "    async fn one() {\npub(crate) fn two<T>(\nlet x = \"fn three(\";\n";
        let expected: BTreeSet<&str> = ["one", "two"].into();
        assert_eq!(functions([sources].into_iter()), expected);
    }
}
