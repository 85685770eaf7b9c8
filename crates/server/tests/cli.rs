//! The command line: documents out, documents in, and errors that say what to do.

mod common;

use common::run;

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a temporary directory") }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().expect("a utf-8 path").to_owned()
    }

    fn file(&self, name: &str, content: &[u8]) -> String {
        std::fs::write(self.path(name), content).expect("the file is written");
        self.path(name)
    }

    /// Runs `doc ARGS` on the store `data`; standard output if it succeeds.
    fn doc(&self, data: &str, args: &[&str]) -> Result<Vec<u8>, String> {
        let data = self.path(data);
        let output = run(&[&["doc"], args, &["--data", &data]].concat());
        if output.status.success() {
            Ok(output.stdout)
        } else {
            Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
        }
    }

    fn text(&self, data: &str, id: &str) -> String {
        let text = self.doc(data, &["export", id, "--format", "text"]).expect("it exports");
        String::from_utf8(text).expect("utf-8")
    }
}

#[test]
fn text_goes_in_and_comes_out() {
    let place = Place::new();
    let long = "Zeile mit Umlauten: äöü 👋\n".repeat(8_000);
    let file = place.file("long.txt", long.as_bytes());
    place.doc("data", &["import", "notes/long", &file]).unwrap();
    assert_eq!(place.text("data", "notes/long"), long);
    let listed = place.doc("data", &["ls"]).unwrap();
    assert_eq!(String::from_utf8(listed).unwrap(), "notes/long\n");
}

#[test]
fn importing_text_again_replaces_what_differs() {
    let place = Place::new();
    for content in ["one two three", "one 2 three", "one 2 three", ""] {
        let file = place.file("t.txt", content.as_bytes());
        place.doc("data", &["import", "d", &file]).unwrap();
        assert_eq!(place.text("data", "d"), content);
    }
}

#[test]
fn an_update_carries_the_whole_document_to_another_store() {
    let place = Place::new();
    let file = place.file("t.txt", b"carried");
    place.doc("here", &["import", "d", &file]).unwrap();
    let update = place.path("d.update");
    place.doc("here", &["export", "d", "--output", &update]).unwrap();
    place.doc("there", &["import", "d", &update]).unwrap();
    assert_eq!(place.text("there", "d"), "carried");
    let again = place.doc("there", &["import", "d", &update]).unwrap();
    assert_eq!(String::from_utf8(again).unwrap(), "d: 0 changes imported\n");
    let (one, two) = (place.doc("here", &["show", "d"]), place.doc("there", &["show", "d"]));
    assert_eq!(one, two);
}

#[test]
fn show_prints_json() {
    let place = Place::new();
    let file = place.file("t.txt", b"hello");
    place.doc("data", &["import", "d", &file, "--text", "body"]).unwrap();
    let shown: serde_json::Value =
        serde_json::from_slice(&place.doc("data", &["show", "d"]).unwrap()).unwrap();
    assert_eq!(shown["id"], "d");
    assert_eq!(shown["texts"]["body"], "hello");
}

#[test]
fn mistakes_are_explained() {
    let place = Place::new();
    let missing = place.doc("data", &["ls"]).unwrap_err();
    assert!(missing.starts_with("error: there is no store in"), "{missing}");
    let file = place.file("t.txt", b"x");
    place.doc("data", &["import", "d", &file]).unwrap();
    let unknown = place.doc("data", &["show", "other"]).unwrap_err();
    assert!(unknown.starts_with("error: there is no document other"), "{unknown}");
    let binary = place.file("b.bin", &[0xff, 0xfe, 0]);
    let neither = place.doc("data", &["import", "d", &binary]).unwrap_err();
    assert!(neither.contains("neither an exported update nor UTF-8 text"), "{neither}");
    let torn = place.file("torn", b"LSU2\x01");
    let damaged = place.doc("data", &["import", "d", &torn]).unwrap_err();
    assert!(damaged.contains("the exported update is damaged"), "{damaged}");
    let id = place.doc("data", &["show", ""]).unwrap_err();
    assert!(id.contains("may not be empty"), "{id}");
    assert_eq!(place.text("data", "d"), "x");
}

#[test]
fn a_public_address_needs_a_secret() {
    let place = Place::new();
    let data = place.path("data");
    let output = run(&["serve", "--listen", "0.0.0.0:0", "--data", &data]);
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("--token-secret") && text.contains("--insecure-open"), "{text}");
    let short = place.file("secret", b"short");
    let output =
        run(&["serve", "--listen", "127.0.0.1:0", "--data", &data, "--token-secret", &short]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("at least 32 are needed"), "{text}");
}

#[test]
fn a_list_of_revoked_users_must_be_readable_and_needs_tokens() {
    let place = Place::new();
    let (data, missing) = (place.path("data"), place.path("missing"));
    let secret = place.file("secret", b"a secret that nobody would guess, 32 bytes");
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data", &data, "--revoked", &missing];
    let told = |args: &[&str]| {
        let output = run(&[&serve[..], args].concat());
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let text = told(&["--token-secret", &secret]);
    assert!(text.contains("cannot read the revoked users") && text.contains("missing"), "{text}");
    assert!(told(&[]).contains("--token-secret"));
}
