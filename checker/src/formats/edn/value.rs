//! A form of EDN, in memory.

/// A form. Two are equal if they are written alike: of maps and sets the order counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Edn {
    /// `nil`
    Nil,
    /// `true` or `false`
    Bool(bool),
    /// A whole number of 64 bits.
    Integer(i64),
    /// Any other number, as it is written: `1.5`, `1.5M`, `1/3`, `##Inf`, one of more than 64 bits.
    Number(String),
    /// `\a`
    Char(char),
    /// `"text"`
    String(String),
    /// `name`
    Symbol(String),
    /// `:name`, without the colon.
    Keyword(String),
    /// `(1 2)`
    List(Vec<Edn>),
    /// `[1 2]`
    Vector(Vec<Edn>),
    /// `{:a 1}`
    Map(Vec<(Edn, Edn)>),
    /// `#{1 2}`
    Set(Vec<Edn>),
    /// `#tag form`
    Tagged(String, Box<Edn>),
}

impl Edn {
    /// A keyword.
    pub fn keyword(name: &str) -> Edn {
        Edn::Keyword(name.to_owned())
    }

    /// A string.
    pub fn string(text: impl Into<String>) -> Edn {
        Edn::String(text.into())
    }

    /// The name that a keyword, symbol or string says.
    pub fn name(&self) -> Option<&str> {
        match self {
            Edn::Keyword(name) | Edn::Symbol(name) | Edn::String(name) => Some(name),
            _ => None,
        }
    }

    /// The items of a vector, list or set, whatever its tag.
    pub fn items(&self) -> Option<&[Edn]> {
        match self.untagged() {
            Edn::Vector(items) | Edn::List(items) | Edn::Set(items) => Some(items),
            _ => None,
        }
    }

    /// The two items of a vector or list of two, whatever its tag.
    pub fn pair(&self) -> Option<(&Edn, &Edn)> {
        match self.untagged() {
            Edn::Vector(items) | Edn::List(items) => match items.as_slice() {
                [first, second] => Some((first, second)),
                _ => None,
            },
            _ => None,
        }
    }

    /// The form without its tags.
    pub fn untagged(&self) -> &Edn {
        match self {
            Edn::Tagged(_, form) => form.untagged(),
            form => form,
        }
    }

    /// What kind of form it is, for errors.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Edn::Nil => "nil",
            Edn::Bool(_) => "a boolean",
            Edn::Integer(_) | Edn::Number(_) => "a number",
            Edn::Char(_) => "a character",
            Edn::String(_) => "a string",
            Edn::Symbol(_) => "a symbol",
            Edn::Keyword(_) => "a keyword",
            Edn::List(_) => "a list",
            Edn::Vector(_) => "a vector",
            Edn::Map(_) => "a map",
            Edn::Set(_) => "a set",
            Edn::Tagged(..) => "a tagged form",
        }
    }
}
