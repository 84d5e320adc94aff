//! A string that can be replaced and appended to: what a key holds in Porcupine's key-value tests.

use serde::{Deserialize, Serialize};
use stateright::semantics::SequentialSpec;

use crate::search::{Model, Shape};

/// A string, empty at the beginning.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct AppendString {
    /// What it is.
    pub text: String,
}

/// What can be asked of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AppendOp {
    /// What is it?
    Get,
    /// Be this.
    Put(String),
    /// Have this at the end.
    Append(String),
}

/// What it answers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AppendRet {
    /// It is this.
    Text(String),
    /// It is changed.
    Done,
}

impl SequentialSpec for AppendString {
    type Op = AppendOp;
    type Ret = AppendRet;

    fn invoke(&mut self, op: &AppendOp) -> AppendRet {
        match op {
            AppendOp::Get => return AppendRet::Text(self.text.clone()),
            AppendOp::Put(text) => self.text.clone_from(text),
            AppendOp::Append(text) => self.text.push_str(text),
        }
        AppendRet::Done
    }

    fn is_valid_step(&mut self, op: &AppendOp, ret: &AppendRet) -> bool {
        match (op, ret) {
            (AppendOp::Get, AppendRet::Text(text)) => self.text == *text,
            _ => self.invoke(op) == *ret,
        }
    }
}

impl Model for AppendString {
    type Key = ();

    fn partition(_: &AppendOp) {}

    fn is_read_only(op: &AppendOp, _: Option<&AppendRet>) -> bool {
        matches!(op, AppendOp::Get)
    }

    fn shape(&self, op: &AppendOp, ret: Option<&AppendRet>) -> Shape<AppendString> {
        match (op, ret) {
            (AppendOp::Get, Some(AppendRet::Text(text))) => {
                Shape::reads(AppendString { text: text.clone() })
            }
            (AppendOp::Put(text), None | Some(AppendRet::Done)) => {
                Shape::writes(AppendString { text: text.clone() })
            }
            _ => Shape::opaque(Self::is_read_only(op, ret)),
        }
    }

    fn may_grow_into(&self, later: &AppendString) -> bool {
        later.text.starts_with(&self.text)
    }

    fn describe(op: &AppendOp, ret: Option<&AppendRet>) -> String {
        match (op, ret) {
            (AppendOp::Get, Some(AppendRet::Text(text))) => format!("get -> {text:?}"),
            (AppendOp::Get, _) => "get".into(),
            (AppendOp::Put(text), _) => format!("put {text:?}"),
            (AppendOp::Append(text), _) => format!("append {text:?}"),
        }
    }

    fn describe_state(&self) -> String {
        format!("{:?}", self.text)
    }
}
