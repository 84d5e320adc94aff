//! What a server answered, normalised, and how a script writes it.

use tonic::Code;

/// Longest line of a written answer.
const COLUMNS_MAX: usize = 100;

/// A field of a normalised message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Shown,
}

/// A value as it is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// As text format has it, or `*`, or `$NAME`.
    Scalar(String),
    /// A message.
    Message(Vec<Field>),
    /// A bare word that stands for several fields.
    Word(&'static str),
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A message.
    Message(Vec<Field>),
    /// A refusal, with etcd's text.
    Error {
        /// gRPC's code.
        code: Code,
        /// The text.
        text: String,
    },
    /// The stream ended without an error.
    End,
    /// Nothing came in time.
    Nothing,
}

impl Answer {
    /// In one line: two answers are equal exactly if this is.
    pub fn flat(&self) -> String {
        match self {
            Answer::Message(fields) if fields.is_empty() => "(empty)".to_owned(),
            Answer::Message(fields) => flat(fields),
            Answer::Error { code, text } => format!("{code:?}: {}", text.replace('\n', "\\n")),
            Answer::End => "(end)".to_owned(),
            Answer::Nothing => "(nothing came)".to_owned(),
        }
    }

    /// In indented lines, for a script.
    pub fn lines(&self) -> Vec<String> {
        let flat = self.flat();
        match self {
            Answer::Message(fields) if 2 + flat.len() > COLUMNS_MAX => {
                let mut lines = Vec::new();
                wrap(fields, 2, &mut lines);
                lines
            }
            _ => vec![format!("  {flat}")],
        }
    }
}

fn flat(fields: &[Field]) -> String {
    let fields: Vec<String> = fields.iter().map(flat_field).collect();
    fields.join(" ")
}

fn flat_field(field: &Field) -> String {
    let name = &field.name;
    match &field.value {
        Shown::Scalar(value) => format!("{name}: {value}"),
        Shown::Message(fields) if fields.is_empty() => format!("{name} {{ }}"),
        Shown::Message(fields) => format!("{name} {{ {} }}", flat(fields)),
        Shown::Word(word) => (*word).to_owned(),
    }
}

/// One field a line; a message that does not fit has its fields in lines of their own.
fn wrap(fields: &[Field], indent: usize, lines: &mut Vec<String>) {
    let margin = " ".repeat(indent);
    for field in fields {
        let line = flat_field(field);
        match &field.value {
            Shown::Message(inner) if indent + line.len() > COLUMNS_MAX => {
                lines.push(format!("{margin}{} {{", field.name));
                wrap(inner, indent + 2, lines);
                lines.push(format!("{margin}}}"));
            }
            _ => lines.push(format!("{margin}{line}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar(name: &str, value: &str) -> Field {
        Field { name: name.to_owned(), value: Shown::Scalar(value.to_owned()) }
    }

    #[test]
    fn a_long_answer_is_wrapped_and_joins_to_the_same_line() {
        let long = format!("\"{}\"", "x".repeat(60));
        let pair = vec![scalar("key", &long), scalar("value", &long)];
        let kv = Field { name: "kv".to_owned(), value: Shown::Message(pair) };
        let answer = Answer::Message(vec![scalar("count", "1"), kv]);
        let lines = answer.lines();
        assert_eq!(lines.len(), 5);
        assert_eq!(lines[1], "  kv {");
        let joined: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
        assert_eq!(joined.join(" "), answer.flat());
    }

    #[test]
    fn an_error_is_its_code_and_text() {
        let text = "etcdserver: key is not provided".to_owned();
        let answer = Answer::Error { code: Code::InvalidArgument, text };
        assert_eq!(answer.flat(), "InvalidArgument: etcdserver: key is not provided");
    }
}
