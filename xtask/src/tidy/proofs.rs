//! The README's promises: each row of its table must name a test that exists.

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

/// One sentence for each row of the table under `| promise | proof |` whose proof is missing, and
/// one if there is no such table.
pub(super) fn check(readme: &str, functions: &BTreeSet<&str>) -> Vec<String> {
    let mut rows = readme.lines().skip_while(|line| *line != "| promise | proof |");
    if rows.next().is_none() {
        return vec!["README.md: there is no table of promises and proofs".to_owned()];
    }
    let rows = rows.skip(1).take_while(|line| line.starts_with('|'));
    let mut missing = Vec::new();
    for row in rows {
        let proof = row.rsplit('|').nth(1).unwrap_or_default().trim();
        let name = proof.trim_matches('`');
        if !functions.contains(name) {
            missing.push(format!("README.md: proof: no test is called {proof}"));
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    const README: &str = "# x\n| promise | proof |\n|---|---|\n| a | `kept` |\n| b | `gone` |\n\n";

    #[test]
    fn a_promise_without_a_test_is_found() {
        let sources = "#[test]\nfn kept() {\n    // fn gone\n}\n";
        let found = check(README, &functions([sources].into_iter()));
        assert_eq!(found, ["README.md: proof: no test is called `gone`"]);
    }

    #[test]
    fn a_readme_without_the_table_is_found() {
        assert_eq!(check("# x\n", &BTreeSet::new()).len(), 1);
    }

    #[test]
    fn functions_are_found_by_their_declarations() {
        let sources = "    async fn one() {\npub(crate) fn two<T>(\nlet x = \"fn three(\";\n";
        let expected: BTreeSet<&str> = ["one", "two"].into();
        assert_eq!(functions([sources].into_iter()), expected);
    }
}
