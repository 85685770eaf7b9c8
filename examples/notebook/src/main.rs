//! The notebook.

fn main() {}
