//! Who you are to the others: a name and a colour, remembered on this device.

use leptos::prelude::window;

const NAME: &str = "notebook:name";
const COLOUR: &str = "notebook:colour";

/// Dark enough for white letters (contrast of at least 4.5 to 1).
const COLOURS: [&str; 8] =
    ["#c2255c", "#9c36b5", "#6741d9", "#3b5bdb", "#1971c2", "#0b7285", "#2b7a3f", "#b45309"];

const ANIMALS: [&str; 12] = [
    "Otter", "Heron", "Lynx", "Wren", "Badger", "Marten", "Swift", "Hare", "Stork", "Ibex", "Newt",
    "Finch",
];

/// A name and a colour.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) name: String,
    pub(crate) colour: String,
}

impl Person {
    /// Who this device's user said they are; at first, some animal.
    pub(crate) fn load() -> Self {
        let colour = stored(COLOUR).filter(|colour| COLOURS.contains(&&**colour));
        let name = stored(NAME).filter(|name| !name.trim().is_empty());
        let [first, second] = random_bytes();
        let person = Self {
            name: name.unwrap_or_else(|| ANIMALS[usize::from(first) % ANIMALS.len()].to_owned()),
            colour: colour
                .unwrap_or_else(|| COLOURS[usize::from(second) % COLOURS.len()].to_owned()),
        };
        person.save();
        person
    }

    /// Remembers the person. Where the browser forbids it, the next visit starts as someone new.
    pub(crate) fn save(&self) {
        if let Ok(Some(storage)) = window().local_storage() {
            let stored = storage
                .set_item(NAME, &self.name)
                .and_then(|()| storage.set_item(COLOUR, &self.colour));
            if let Err(error) = stored {
                leptos::logging::warn!("the name is not remembered: {error:?}");
            }
        }
    }
}

fn stored(key: &str) -> Option<String> {
    window().local_storage().ok()??.get_item(key).ok()?
}

/// The letters that stand for a name in a small circle.
pub(crate) fn initials(name: &str) -> String {
    let mut words = name.split_whitespace().filter_map(|word| word.chars().next());
    let letters: String = words.next().into_iter().chain(words.next_back()).collect();
    if letters.is_empty() { "?".to_owned() } else { letters.to_uppercase() }
}

/// Bytes that nobody can guess.
///
/// # Panics
/// In a browser without `crypto.getRandomValues`; every one since 2014 has it.
pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let crypto = window().crypto().expect("the browser has crypto");
    crypto.get_random_values_with_u8_array(&mut bytes).expect("the browser has randomness");
    bytes
}
