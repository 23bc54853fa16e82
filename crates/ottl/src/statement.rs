//! What users of the language hold: conditions, values and statements of a context.

use std::fmt;
use std::str::FromStr;

use crate::compile::Compiler;
use crate::context::{Context, Item, View};
use crate::error::{EvalError, ParseError};
use crate::expr::{Call, Env, Expr, Test};
use crate::functions::{Body, Group};
use crate::parser;
use crate::value::Value;

/// What happens when a statement cannot be applied to an item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ErrorMode {
    /// It is told, and the next one is tried.
    Ignore,
    /// The next one is tried.
    Silent,
    /// The item, and with it the request, fails.
    #[default]
    Propagate,
}

impl ErrorMode {
    /// As configurations say it.
    pub const NAMES: [&'static str; 3] = ["ignore", "silent", "propagate"];
}

impl FromStr for ErrorMode {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name.to_ascii_lowercase().as_str() {
            "ignore" => Ok(Self::Ignore),
            "silent" => Ok(Self::Silent),
            "propagate" => Ok(Self::Propagate),
            _ => Err(format!("`{name}` is not one of {}", Self::NAMES.join(", "))),
        }
    }
}

/// A statement or condition that could not be applied to an item, and why.
#[derive(Debug)]
pub struct Failure<'s> {
    /// As it was written.
    pub text: &'s str,
    /// Why.
    pub error: &'s EvalError,
}

impl fmt::Display for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (in `{}`)", self.error, self.text)
    }
}

/// Told of failures in [`ErrorMode::Ignore`].
type Report<'r> = &'r mut dyn FnMut(Failure<'_>);

/// Parses for one context.
#[derive(Clone, Debug)]
pub struct Parser {
    context: Context,
    groups: Vec<Group>,
}

impl Parser {
    /// With the functions that every component has.
    pub fn new(context: Context) -> Self {
        Self { context, groups: vec![Group::Standard] }
    }

    /// With more functions.
    #[must_use]
    pub fn with(mut self, group: Group) -> Self {
        self.groups.push(group);
        self
    }

    /// The context.
    pub fn context(&self) -> Context {
        self.context
    }

    fn compiler<'p>(&'p self, text: &'p str) -> Compiler<'p> {
        Compiler { context: self.context, groups: &self.groups, text, locals: Vec::new() }
    }

    /// One condition.
    ///
    /// # Errors
    /// If the text is none.
    pub fn condition(&self, text: &str) -> Result<Condition, ParseError> {
        let node = parser::condition(text)?;
        let test = self.compiler(text).test(&node).map_err(|mistake| mistake.of(text))?;
        Ok(Condition { text: text.to_owned(), test })
    }

    /// Conditions of which one has to hold.
    ///
    /// # Errors
    /// If a text is none.
    pub fn conditions<S: AsRef<str>>(&self, texts: &[S]) -> Result<Conditions, ParseError> {
        let conditions = texts.iter().map(|text| self.condition(text.as_ref()));
        Ok(Conditions(conditions.collect::<Result<_, _>>()?))
    }

    /// A value.
    ///
    /// # Errors
    /// If the text is none.
    pub fn value(&self, text: &str) -> Result<ValueExpr, ParseError> {
        let node = parser::value(text)?;
        let expr = self.compiler(text).expr(&node).map_err(|mistake| mistake.of(text))?;
        Ok(ValueExpr { text: text.to_owned(), expr })
    }

    /// One statement.
    ///
    /// # Errors
    /// If the text is none.
    pub fn statement(&self, text: &str) -> Result<Statement, ParseError> {
        let tree = parser::statement(text)?;
        let mut compiler = self.compiler(text);
        let compiled = compiler.editor(&tree.editor).and_then(|editor| {
            let condition = tree.condition.as_ref().map(|node| compiler.test(node)).transpose()?;
            Ok((editor, condition))
        });
        let (editor, condition) = compiled.map_err(|mistake| mistake.of(text))?;
        Ok(Statement { text: text.to_owned(), editor, condition })
    }

    /// Statements, applied one after the other.
    ///
    /// # Errors
    /// If a text is none.
    pub fn statements<S: AsRef<str>>(&self, texts: &[S]) -> Result<Statements, ParseError> {
        let statements = texts.iter().map(|text| self.statement(text.as_ref()));
        Ok(Statements(statements.collect::<Result<_, _>>()?))
    }
}

/// A condition of a context.
#[derive(Debug)]
pub struct Condition {
    text: String,
    test: Test,
}

impl Condition {
    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it holds for an item of its context.
    ///
    /// # Errors
    /// If a value is not what a function or a key needs.
    pub fn matches(&self, view: &View<'_>) -> Result<bool, EvalError> {
        self.test.eval(&Env::of(*view))
    }
}

/// Conditions of which one has to hold.
#[derive(Debug, Default)]
pub struct Conditions(Vec<Condition>);

impl Conditions {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds those of another list for the same context.
    pub fn append(&mut self, mut more: Self) {
        self.0.append(&mut more.0);
    }

    /// One by one.
    pub fn iter(&self) -> impl Iterator<Item = &Condition> {
        self.0.iter()
    }

    /// Whether one holds; `false` if there are none. One that fails does not hold.
    ///
    /// # Errors
    /// With [`ErrorMode::Propagate`] if one that is asked fails.
    pub fn any(&self, view: &View<'_>, mode: ErrorMode, report: Report<'_>) -> Result<bool, EvalError> {
        for condition in &self.0 {
            match condition.matches(view) {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(error) => failed(mode, &condition.text, error, report)?,
            }
        }
        Ok(false)
    }
}

/// A value of a context.
#[derive(Debug)]
pub struct ValueExpr {
    text: String,
    expr: Expr,
}

impl ValueExpr {
    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its value for an item of its context.
    ///
    /// # Errors
    /// If a value is not what a function, a key or an operator needs.
    pub fn eval<'a>(&'a self, view: &View<'a>) -> Result<Value<'a>, EvalError> {
        self.expr.eval(&Env::of(*view))
    }
}

/// A statement of a context.
#[derive(Debug)]
pub struct Statement {
    text: String,
    editor: Call,
    condition: Option<Test>,
}

impl Statement {
    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Applies it to an item of its context; whether its condition held.
    ///
    /// # Errors
    /// If a value is not what a function, a key or a field needs.
    pub fn run(&self, item: &mut Item<'_>) -> Result<bool, EvalError> {
        if let Some(condition) = &self.condition
            && !condition.eval(&Env::of(item.view()))?
        {
            return Ok(false);
        }
        let Body::Edit(edit) = self.editor.function.body else {
            return Err(EvalError::new(format!("{} changes nothing", self.editor.function.name)));
        };
        edit(&self.editor.args, item)
            .map_err(|error| EvalError::new(format!("{}: {error}", self.editor.function.name)))?;
        Ok(true)
    }
}

/// Statements of a context.
#[derive(Debug, Default)]
pub struct Statements(Vec<Statement>);

impl Statements {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Applies all to an item of their context, in order; whether the condition of one held.
    ///
    /// # Errors
    /// With [`ErrorMode::Propagate`] if one fails; those behind it are not applied.
    pub fn run(&self, item: &mut Item<'_>, mode: ErrorMode, report: Report<'_>) -> Result<bool, EvalError> {
        let mut applied = false;
        for statement in &self.0 {
            match statement.run(item) {
                Ok(held) => applied |= held,
                Err(error) => failed(mode, &statement.text, error, report)?,
            }
        }
        Ok(applied)
    }
}

fn failed(mode: ErrorMode, text: &str, error: EvalError, report: Report<'_>) -> Result<(), EvalError> {
    match mode {
        ErrorMode::Silent => {}
        ErrorMode::Ignore => report(Failure { text, error: &error }),
        ErrorMode::Propagate => {
            return Err(EvalError::new(Failure { text, error: &error }.to_string()));
        }
    }
    Ok(())
}
