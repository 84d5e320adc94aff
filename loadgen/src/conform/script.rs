//! Scripts: what is sent, and what etcd answers.
//!
//! ```text
//! # A put answers with the previous key-value only if it is asked for.
//! since 3.4
//!
//! Put key: "a" value: "1"
//!   header { * revision: 2 }
//! w = Watch
//! w > create_request { key: "a" }
//! w <
//!   header { * revision: 2 } created: true
//! ```
//!
//! A step starts at the line's beginning, its answer is indented; a step ending in `\` goes on in
//! the next line. `conform/README.md` has the whole format.

use prost_reflect::MethodDescriptor;

use super::schema;
use super::version::Version;

/// One situation.
#[derive(Debug, Clone)]
pub struct Script {
    /// `area/situation`.
    pub name: String,
    /// What must hold, in the words of its first lines.
    pub about: String,
    /// What it needs.
    pub needs: Needs,
    /// What is done, in order.
    pub steps: Vec<Step>,
}

/// What a script needs of its server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// First version of etcd that answers so.
    pub since: Option<Version>,
    /// Last version of etcd that answers so.
    pub until: Option<Version>,
    /// A server that nobody has used, nor will.
    pub fresh: bool,
    /// Flags that the server was started with.
    pub flags: Vec<String>,
    /// How many members, if more than one.
    pub members: Option<u32>,
}

impl Needs {
    /// Whether a server of its own must be started.
    pub fn own_server(&self) -> bool {
        self.fresh || !self.flags.is_empty() || self.members.is_some()
    }

    /// Why this version of etcd is not held to the script.
    pub fn excludes(&self, version: &Version) -> Option<String> {
        if let Some(since) = self.since.as_ref().filter(|since| version < *since) {
            return Some(format!("etcd answers so since {since}"));
        }
        let until = self.until.as_ref()?;
        let is_past = version > until && !version.is_within(until);
        is_past.then(|| format!("etcd answered so until {until}"))
    }
}

/// One line of a script.
#[derive(Debug, Clone)]
pub struct Step {
    /// Its first line, counted from 1.
    pub line: usize,
    /// As it was written.
    pub text: String,
    /// What is done.
    pub action: Action,
    /// Values of the answer that get a name: name and path.
    pub names: Vec<(String, String)>,
    /// The answer, in one line, if it has one.
    pub expected: Option<String>,
    /// The lines between the step and what follows, as indices from 0.
    pub answer_lines: std::ops::Range<usize>,
}

impl Step {
    /// A step that stands in no file, and whose answer nobody knows.
    pub fn new(text: String, action: Action) -> Step {
        let (names, expected) = (Vec::new(), None);
        Step { line: 0, text, action, names, expected, answer_lines: 0..0 }
    }
}

/// What a step does. A request is text format, with `$NAME`s.
#[derive(Debug, Clone)]
pub enum Action {
    /// Sends a request and waits for the answer.
    Call {
        /// The RPC.
        method: MethodDescriptor,
        /// The request.
        request: String,
        /// Again and again, until the answer is the expected one.
        until_expected: bool,
    },
    /// Starts a call that does not wait.
    Open {
        /// Name of the call from now on.
        stream: String,
        /// The RPC.
        method: MethodDescriptor,
        /// The request, or the first one; a stream may start without.
        request: String,
    },
    /// Sends a further request.
    Send {
        /// Which call.
        stream: String,
        /// The RPC.
        method: MethodDescriptor,
        /// The request.
        request: String,
    },
    /// Waits for the next message.
    Receive {
        /// Which call.
        stream: String,
    },
    /// Waits for all that a watch stream owes up to now.
    Settle {
        /// Which call.
        stream: String,
    },
    /// Says that no more requests come.
    HalfClose {
        /// Which call.
        stream: String,
    },
    /// Drops the call.
    Cancel {
        /// Which call.
        stream: String,
    },
    /// Sets what goes along with each later call; without pairs, nothing does.
    Metadata(Vec<(String, String)>),
    /// Sends later calls to another member, counted from 0.
    Member(usize),
}

impl Action {
    /// Whether it has an answer.
    pub fn is_answered(&self) -> bool {
        matches!(self, Action::Call { .. } | Action::Receive { .. } | Action::Settle { .. })
    }
}

/// A script that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{script}:{line}: {problem}")]
pub struct ScriptError {
    /// Its name.
    pub script: String,
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong.
    pub problem: String,
}

impl Script {
    /// Reads a script.
    pub fn parse(name: &str, text: &str) -> Result<Script, ScriptError> {
        let mut parser = Parser::default();
        let mut lines = text.lines().enumerate().peekable();
        while let Some((at, line)) = lines.next() {
            let mut whole = line.to_owned();
            let mut last = at;
            while whole.ends_with('\\') && !whole.starts_with('#') {
                whole.pop();
                let Some((next, more)) = lines.next() else { break };
                last = next;
                whole.truncate(whole.trim_end().len());
                whole.push(' ');
                whole.push_str(more.trim_start());
            }
            parser.line(at, last, &whole).map_err(|problem| ScriptError {
                script: name.to_owned(),
                line: at + 1,
                problem,
            })?;
        }
        let Parser { about, needs, steps, open, .. } = parser;
        let error = |line, problem: String| ScriptError { script: name.to_owned(), line, problem };
        if about.is_empty() {
            return Err(error(1, "the first lines must say what holds, after `#`".to_owned()));
        }
        let Some(last) = steps.last() else {
            return Err(error(1, "there is no step".to_owned()));
        };
        if let Some((name, _)) = open.iter().find(|(_, call)| call.is_unary && !call.is_done) {
            let problem = format!("call {name} is neither received (`{name} <`) nor cancelled");
            return Err(error(last.line, problem));
        }
        Ok(Script { name: name.to_owned(), about: about.join(" "), needs, steps })
    }
}

#[derive(Debug, Default)]
struct Parser {
    about: Vec<String>,
    needs: Needs,
    steps: Vec<Step>,
    open: Vec<(String, OpenName)>,
    past_about: bool,
}

#[derive(Debug, Clone)]
struct OpenName {
    method: MethodDescriptor,
    is_unary: bool,
    is_done: bool,
}

impl Parser {
    /// A line, with those that it goes on in: from `at` to `last`, from 0.
    fn line(&mut self, at: usize, last: usize, line: &str) -> Result<(), String> {
        let trimmed = line.trim();
        if let Some(comment) = line.strip_prefix('#') {
            if !self.past_about {
                self.about.push(comment.trim().to_owned());
            }
            return Ok(());
        }
        if !trimmed.is_empty() {
            self.past_about = true;
        }
        match trimmed.split_once(' ').unwrap_or((trimmed, "")) {
            ("", _) => Ok(()),
            _ if line.starts_with(' ') => self.answer(at, trimmed),
            ("let", rest) => self.name(rest),
            (word, rest) if self.directive(word, rest.trim())? => Ok(()),
            _ => {
                let (action, trimmed) = (self.action(trimmed)?, trimmed.to_owned());
                let answer_lines = last + 1..last + 1;
                let (names, expected) = (Vec::new(), None);
                let line = at + 1;
                self.steps.push(Step {
                    line,
                    text: trimmed,
                    action,
                    names,
                    expected,
                    answer_lines,
                });
                Ok(())
            }
        }
    }

    fn answer(&mut self, at: usize, line: &str) -> Result<(), String> {
        let step = self.steps.last_mut().ok_or("an answer before the first step")?;
        if !step.action.is_answered() {
            return Err("this step has no answer; an answer follows a call or `NAME <`".to_owned());
        }
        if !step.names.is_empty() || step.answer_lines.end != at {
            return Err("an answer follows its step at once".to_owned());
        }
        step.answer_lines.end = at + 1;
        match &mut step.expected {
            Some(expected) => {
                expected.push(' ');
                expected.push_str(line);
            }
            None => step.expected = Some(line.to_owned()),
        }
        Ok(())
    }

    fn name(&mut self, text: &str) -> Result<(), String> {
        let (name, path) = text.split_once('=').ok_or("write `let NAME = PATH`")?;
        let (name, path) = (name.trim().to_owned(), path.trim().to_owned());
        let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        if name.is_empty() || !name.chars().all(is_name) {
            return Err(format!("a name is of capitals, digits and `_`, not {name:?}"));
        }
        let step = self.steps.last_mut().filter(|step| step.action.is_answered());
        step.ok_or("`let` follows a step with an answer")?.names.push((name, path));
        Ok(())
    }

    /// Whether the line says what the script needs.
    fn directive(&mut self, word: &str, rest: &str) -> Result<bool, String> {
        let needs = &mut self.needs;
        match word {
            "since" => needs.since = Some(rest.parse()?),
            "until" => needs.until = Some(rest.parse()?),
            "fresh" => needs.fresh = true,
            "flags" => needs.flags = rest.split_whitespace().map(str::to_owned).collect(),
            "members" => {
                let count = rest.parse().ok().filter(|count| *count > 1);
                needs.members = Some(count.ok_or("write `members 3`")?);
            }
            _ => return Ok(false),
        }
        if self.steps.is_empty() {
            return Ok(true);
        }
        Err(format!("`{word}` stands before the first step"))
    }

    fn action(&mut self, text: &str) -> Result<Action, String> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let rest = rest.trim();
        match word {
            "metadata" => return metadata(rest).map(Action::Metadata),
            "member" => {
                return rest
                    .parse()
                    .map(Action::Member)
                    .map_err(|error| format!("{rest:?}: {error}"));
            }
            "eventually" => return call(rest, true),
            _ => {}
        }
        if let Some(rpc) = rest.strip_prefix('=') {
            return self.open(word, rpc.trim());
        }
        let stream = word.to_owned();
        let operator = rest.split(' ').next().unwrap_or_default();
        if !matches!(operator, ">" | "<" | "settle" | "end" | "cancel") {
            return call(text, false);
        }
        let known = self.open.iter_mut().find(|(name, _)| name == word);
        let (_, open) = known.ok_or_else(|| format!("no call has the name {word:?}"))?;
        if operator != ">" && rest != operator {
            return Err(format!("nothing may follow `{operator}`; an answer is indented"));
        }
        Ok(match operator {
            ">" => {
                let (method, request) = (open.method.clone(), rest[1..].trim().to_owned());
                Action::Send { stream, method, request }
            }
            "<" => {
                open.is_done = true;
                Action::Receive { stream }
            }
            "settle" if open.method.name() == "Watch" => Action::Settle { stream },
            "settle" => return Err("only a watch settles".to_owned()),
            "end" => Action::HalfClose { stream },
            _ => {
                open.is_done = true;
                Action::Cancel { stream }
            }
        })
    }

    fn open(&mut self, name: &str, rpc: &str) -> Result<Action, String> {
        let (rpc, request) = rpc.split_once(' ').unwrap_or((rpc, ""));
        let method = schema::method(rpc)?;
        let is_unary = !method.is_client_streaming() && !method.is_server_streaming();
        self.open.retain(|(open, _)| open != name);
        let open = OpenName { method: method.clone(), is_unary, is_done: false };
        self.open.push((name.to_owned(), open));
        Ok(Action::Open { stream: name.to_owned(), method, request: request.trim().to_owned() })
    }
}

fn call(text: &str, until_expected: bool) -> Result<Action, String> {
    let (rpc, request) = text.split_once(' ').unwrap_or((text, ""));
    let method = schema::method(rpc)?;
    if method.is_server_streaming() && !method.is_client_streaming() {
        return Err(format!("{rpc} answers with a stream: write `NAME = {rpc} ...` and `NAME <`"));
    }
    Ok(Action::Call { method, request: request.trim().to_owned(), until_expected })
}

fn metadata(text: &str) -> Result<Vec<(String, String)>, String> {
    let pair = |pair: &str| pair.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()));
    let pairs: Option<Vec<_>> = text.split_whitespace().map(pair).collect();
    pairs.ok_or_else(|| "write `metadata KEY=VALUE ...`".to_owned())
}

#[cfg(test)]
mod tests;
