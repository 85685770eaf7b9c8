//! Keys as the DevTools protocol wants them.

use serde_json::{Value, json};

/// A key that is not simply a character, or a chord.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// Line break, or the default action of a form.
    Enter,
    /// To the next thing that takes focus.
    Tab,
    /// To the previous one.
    ShiftTab,
    /// A space, as a button takes it.
    Space,
    /// Deletes before the caret.
    Backspace,
    /// To the line's start.
    Home,
    /// To the line's end.
    End,
    /// To the text's start.
    ControlHome,
    /// To the text's end.
    ControlEnd,
    /// One to the left.
    Left,
    /// One to the right.
    Right,
}

const CONTROL: u8 = 2;
const SHIFT: u8 = 8;

impl Key {
    /// Name, code, virtual key, modifiers and text.
    fn parts(self) -> (&'static str, &'static str, u16, u8, &'static str) {
        match self {
            Self::Enter => ("Enter", "Enter", 13, 0, "\r"),
            Self::Tab => ("Tab", "Tab", 9, 0, ""),
            Self::ShiftTab => ("Tab", "Tab", 9, SHIFT, ""),
            Self::Space => (" ", "Space", 32, 0, " "),
            Self::Backspace => ("Backspace", "Backspace", 8, 0, ""),
            Self::Home => ("Home", "Home", 36, 0, ""),
            Self::End => ("End", "End", 35, 0, ""),
            Self::ControlHome => ("Home", "Home", 36, CONTROL, ""),
            Self::ControlEnd => ("End", "End", 35, CONTROL, ""),
            Self::Left => ("ArrowLeft", "ArrowLeft", 37, 0, ""),
            Self::Right => ("ArrowRight", "ArrowRight", 39, 0, ""),
        }
    }

    /// The two events of pressing it.
    pub(crate) fn events(self) -> [Value; 2] {
        let (key, code, virtual_key, modifiers, text) = self.parts();
        let event = |kind: &str, text: &str| {
            json!({
                "type": kind,
                "key": key,
                "code": code,
                "windowsVirtualKeyCode": virtual_key,
                "nativeVirtualKeyCode": virtual_key,
                "modifiers": modifiers,
                "text": text,
                "unmodifiedText": text,
            })
        };
        [event(if text.is_empty() { "rawKeyDown" } else { "keyDown" }, text), event("keyUp", "")]
    }
}

/// The events of typing one character on a keyboard that has it.
pub(crate) fn character(c: char) -> [Value; 2] {
    if c == '\n' {
        return Key::Enter.events();
    }
    if c == ' ' {
        return Key::Space.events();
    }
    let text = c.to_string();
    // The page sees `key` and `text`; a key code exists for letters and digits only.
    let code = c.to_ascii_uppercase();
    let virtual_key = if code.is_ascii_alphanumeric() { code as u32 } else { 0 };
    let event = |kind: &str, text: &str| {
        json!({
            "type": kind,
            "key": c.to_string(),
            "windowsVirtualKeyCode": virtual_key,
            "text": text,
            "unmodifiedText": text,
        })
    };
    [event("keyDown", &text), event("keyUp", "")]
}
