//! What keys and elements are called, for people.
//!
//! The checks know numbers only. Who reads a history gives each key and each element a number here,
//! and what is told of a history gets the names back.

use std::collections::HashMap;

use super::transaction::{Element, Key};

/// The names of a history's keys and elements.
///
/// Without names, numbers stand for themselves.
#[derive(Debug, Clone, Default)]
pub struct Names {
    keys: Interned,
    elements: Interned,
}

impl Names {
    /// No names yet.
    pub fn new() -> Names {
        Names::default()
    }

    /// The key with this name, new or known.
    pub fn key(&mut self, name: &str) -> Key {
        Key(self.keys.number(name))
    }

    /// The element with this name, new or known. Elements of different keys may share a name and a
    /// number: only of one key must they be distinct.
    pub fn element(&mut self, name: &str) -> Element {
        Element(self.elements.number(name))
    }

    /// What a key is called.
    pub fn of_key(&self, key: Key) -> String {
        self.keys.name(key.0)
    }

    /// What an element is called.
    pub fn of_element(&self, element: Element) -> String {
        self.elements.name(element.0)
    }

    /// What a list is called: "[1 2 3]".
    pub fn of_list(&self, list: &[Element]) -> String {
        let names: Vec<String> = list.iter().map(|element| self.of_element(*element)).collect();
        format!("[{}]", names.join(" "))
    }
}

/// Names, numbered in the order in which they came.
#[derive(Debug, Clone, Default)]
struct Interned {
    numbers: HashMap<String, u32>,
    names: Vec<String>,
}

impl Interned {
    fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = super::numbering::number(self.names.len());
        self.numbers.insert(name.to_owned(), number);
        self.names.push(name.to_owned());
        number
    }

    fn name(&self, number: u32) -> String {
        let known = self.names.get(super::numbering::at(number));
        known.cloned().unwrap_or_else(|| number.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_number() {
        let mut names = Names::new();
        let (x, y) = (names.key("x"), names.key("y"));
        assert_eq!((x, y, names.key("x")), (Key(0), Key(1), Key(0)));
        assert_eq!(names.element("x"), Element(0), "elements are counted apart");
        assert_eq!(names.of_key(y), "y");
        assert_eq!(names.of_key(Key(7)), "7");
        assert_eq!(names.of_list(&[Element(0), Element(3)]), "[x 3]");
    }
}
