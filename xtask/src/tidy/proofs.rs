//! What the documents promise: each row of a table of proofs must name tests that exist.

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

/// A document with a table whose last column names the tests that prove the row, and the files of
/// some.
pub(super) struct Promises {
    /// The file, relative to the root.
    pub(super) file: &'static str,
    header: &'static str,
}

/// Every such table.
pub(super) const PROMISES: &[Promises] = &[
    Promises { file: "README.md", header: "| promise | proof |" },
    Promises { file: "docs/reliability.md", header: "| failure | what happens | test |" },
    Promises { file: "docs/reliability.md", header: "| the disk | what happens | test |" },
    Promises { file: "docs/reliability.md", header: "| attack | what happens | file and test |" },
    Promises { file: "docs/reliability.md", header: "| bug | guarded by |" },
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
            let quoted = proof.split('`').skip(1).step_by(2);
            let names: Vec<&str> = quoted.filter(|name| !name.ends_with(".rs")).collect();
            if names.is_empty() {
                missing.push(format!("{file}: proof: no test is named in {proof:?}"));
            }
            let gone = names.iter().filter(|name| !functions.contains(**name));
            missing.extend(gone.map(|name| format!("{file}: proof: no test is called `{name}`")));
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
    fn a_row_may_name_several_tests_and_their_files_and_names_one_at_least() {
        let table =
            "| bug | guarded by |\n|---|---|\n| a | `a.rs` `kept`, `b.rs` `gone` |\n| b | soon |";
        let found = PROMISES[4].check(table, &functions(["fn kept() {"].into_iter()));
        let [gone, none] = &found[..] else { panic!("{found:?}") };
        assert!(gone.ends_with("no test is called `gone`"));
        assert!(none.ends_with("no test is named in \"soon\""));
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
