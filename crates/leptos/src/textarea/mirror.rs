//! An invisible copy of a textarea's text that says where on the screen a character is.

use std::ops::RangeInclusive;

use wasm_bindgen::JsCast;
use web_sys::{Document, HtmlElement, HtmlTextAreaElement, Text};

use super::carets::{element, set};

/// What decides where text goes.
const STYLES: [&str; 23] = [
    "font-family",
    "font-size",
    "font-style",
    "font-variant",
    "font-weight",
    "font-stretch",
    "font-kerning",
    "font-feature-settings",
    "line-height",
    "letter-spacing",
    "word-spacing",
    "text-indent",
    "text-transform",
    "text-align",
    "tab-size",
    "direction",
    "white-space",
    "overflow-wrap",
    "word-break",
    "padding-top",
    "padding-right",
    "padding-bottom",
    "padding-left",
];

/// Where a caret stands, relative to the start of the text.
pub(super) struct Place {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) height: f64,
}

pub(super) struct Mirror {
    root: HtmlElement,
    /// The length of each line, without its line break. There is an element for each.
    lines: Vec<usize>,
}

impl Mirror {
    pub(super) fn new(page: &Document, area: &HtmlTextAreaElement, text: &str) -> Option<Self> {
        let root = element(page, "div")?;
        let style = page.default_view()?.get_computed_style(area).ok()??;
        for name in STYLES {
            set(&root, name, &style.get_property_value(name).unwrap_or_default());
        }
        let width = area.unchecked_ref::<web_sys::Element>().client_width();
        for (name, value) in [
            ("position", "absolute"),
            ("left", "0"),
            ("top", "0"),
            ("box-sizing", "border-box"),
            ("width", &format!("{width}px")),
            ("visibility", "hidden"),
        ] {
            set(&root, name, value);
        }
        let mut lines = Vec::new();
        for line in text.split('\n') {
            let new = line_element(page, line)?;
            root.append_child(&new).ok()?;
            lines.push(units(line));
        }
        Some(Self { root, lines })
    }

    pub(super) fn root(&self) -> &HtmlElement {
        &self.root
    }

    pub(super) fn len16(&self) -> usize {
        self.lines.iter().sum::<usize>() + self.lines.len() - 1
    }

    /// Follows an edit of the text. `None` if it does not fit; the mirror is of no use then.
    pub(super) fn splice(
        &mut self,
        page: &Document,
        at16: usize,
        deleted16: usize,
        inserted: &str,
    ) -> Option<()> {
        let (first, column) = self.line_at(at16)?;
        let (last, end) = self.line_at(at16 + deleted16)?;
        let head = self.data(first)?.get(..byte(&self.data(first)?, column))?.to_owned();
        let tail = self.data(last)?;
        let tail = tail.get(byte(&tail, end)..)?.strip_suffix('\n')?.to_owned();
        let replaced = format!("{head}{inserted}{tail}");
        self.replace_lines(page, first..=last, &replaced)
    }

    fn replace_lines(
        &mut self,
        page: &Document,
        replaced: RangeInclusive<usize>,
        text: &str,
    ) -> Option<()> {
        let children = self.root.children();
        let index = |line: usize| u32::try_from(line).ok();
        let after = children.item(index(replaced.end() + 1)?);
        let gone: Option<Vec<_>> =
            replaced.clone().map(|line| children.item(index(line)?)).collect();
        for line in gone? {
            line.remove();
        }
        let after = after.as_ref().map(AsRef::as_ref);
        let mut lines = Vec::new();
        for line in text.split('\n') {
            let new = line_element(page, line)?;
            self.root.insert_before(&new, after).ok()?;
            lines.push(units(line));
        }
        self.lines.splice(replaced, lines);
        Some(())
    }

    /// Which line a unit offset is in, and where in it.
    fn line_at(&self, at16: usize) -> Option<(usize, usize)> {
        let mut left = at16;
        for (line, len) in self.lines.iter().enumerate() {
            if left <= *len {
                return Some((line, left));
            }
            left -= len + 1;
        }
        None
    }

    fn node(&self, line: usize) -> Option<Text> {
        let line = self.root.children().item(u32::try_from(line).ok()?)?;
        line.first_child()?.dyn_into().ok()
    }

    fn data(&self, line: usize) -> Option<String> {
        self.node(line)?.text_content()
    }

    /// Where the caret before this unit is on the screen.
    pub(super) fn place(&self, page: &Document, at16: usize) -> Option<Place> {
        let (line, column) = self.line_at(at16)?;
        let node = self.node(line)?;
        let origin = self.root.get_bounding_client_rect();
        let range = page.create_range().ok()?;
        // The character before the caret, or the whole line's start. The end of a surrogate pair
        // is measured with all of it.
        let data = node.text_content()?;
        let before = data.encode_utf16().nth(column.checked_sub(1).unwrap_or(column));
        let pair = before.is_some_and(|unit| (0xdc00..0xe000).contains(&unit));
        let start = column.saturating_sub(if pair { 2 } else { 1 });
        let end = column.max(1);
        range.set_start(&node, u32::try_from(start).ok()?).ok()?;
        range.set_end(&node, u32::try_from(end).ok()?).ok()?;
        let rect = range.get_bounding_client_rect();
        let edge = if column == 0 { rect.left() } else { rect.right() };
        let height = if rect.height() > 0.0 { rect.height() } else { 16.0 };
        let (left, top) = (edge - origin.left(), rect.bottom() - height - origin.top());
        Some(Place { left, top, height })
    }
}

// The line break is in the line's element too, so that an empty line has a height.
fn line_element(page: &Document, line: &str) -> Option<HtmlElement> {
    let new = element(page, "div")?;
    new.append_child(&page.create_text_node(&format!("{line}\n"))).ok()?;
    Some(new)
}

fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

fn byte(text: &str, unit: usize) -> usize {
    let mut left = unit;
    for (byte, c) in text.char_indices() {
        if left == 0 {
            return byte;
        }
        left = left.saturating_sub(c.len_utf16());
    }
    text.len()
}
