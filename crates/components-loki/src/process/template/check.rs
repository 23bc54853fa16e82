//! What is done to a parsed template before it runs.
//!
//! - Functions, variables and named templates that there are not are errors with their place.
//! - Loops and named templates pay for each turn (`budget`).
//! - Values are printed as Go prints them.
//! - `set`, `unset`, `merge` and their like change a dictionary in place in Go. The engine's values never
//!   change, so `{{ $_ := set $m "k" "v" }}` becomes `{{ $m = set $m "k" "v" }}{{ $_ := $m }}`.

use std::collections::BTreeSet;
use std::sync::Arc;

use gotmpl::parse::{
    ActionNode, BranchNode, CommandNode, Expr, ListNode, Node, Number, PipeNode, Pos, SmolStr, TemplateNode,
};

use super::functions::{self, ALL, BUILT_IN, NIL_FUNCTION, PUT_FUNCTION, SHOW_FUNCTION, STEP_FUNCTION};

/// A mistake and where it is.
#[derive(Debug)]
pub(super) struct Mistake {
    pub(super) at: Pos,
    pub(super) message: String,
}

type Result<T> = std::result::Result<T, Mistake>;

fn mistake<T>(at: Pos, message: impl Into<String>) -> Result<T> {
    Err(Mistake { at, message: message.into() })
}

/// Functions that change their first argument in Go.
const IN_PLACE: [&str; 6] = ["set", "unset", "merge", "mustMerge", "mergeOverwrite", "mustMergeOverwrite"];
/// Functions whose result nobody else holds, so that changing it in place cannot be seen.
const FRESH: [&str; 10] = [
    "dict",
    "fromJson",
    "mustFromJson",
    "deepCopy",
    "mustDeepCopy",
    "pick",
    "omit",
    "split",
    "splitn",
    "set",
];

/// Where a node is.
pub(super) fn place(node: &Node) -> Pos {
    match node {
        Node::List(list) => list.pos,
        Node::Text(text) => text.pos,
        Node::Action(action) => action.pos,
        Node::If(branch) | Node::Range(branch) | Node::With(branch) => branch.pos,
        Node::Template(template) => template.pos,
        Node::Define(define) => define.pos,
        Node::Break(at) | Node::Continue(at) => *at,
    }
}

/// Takes a call of `mark` off the end of a list; whether it was there.
pub(super) fn take_mark(list: &mut ListNode, mark: &str) -> bool {
    let is_mark = |node: &Node| {
        let Node::Action(action) = node else { return false };
        let first = action.pipe.commands.first().and_then(|command| command.args.first());
        matches!(first, Some(Expr::Identifier(_, name)) if name == mark)
    };
    let found = list.nodes.last().is_some_and(is_mark);
    if found {
        list.nodes.pop();
    }
    found
}

/// Walks through the trees of one template.
pub(super) struct Check<'t> {
    /// Names of the templates that are defined.
    pub(super) defined: &'t BTreeSet<String>,
    /// Variables in scope.
    variables: Vec<SmolStr>,
    /// Whether `break` and `continue` have a loop around them.
    loops: usize,
    /// Fields of the data that are read.
    pub(super) fields: BTreeSet<String>,
    /// Whether the data is read as a whole.
    pub(super) whole: bool,
}

impl<'t> Check<'t> {
    pub(super) fn new(defined: &'t BTreeSet<String>) -> Self {
        Self { defined, variables: Vec::new(), loops: 0, fields: BTreeSet::new(), whole: false }
    }

    /// The body of a template; one that has a name is charged for each use.
    pub(super) fn body(&mut self, list: &ListNode, named: bool) -> Result<ListNode> {
        self.variables = vec![SmolStr::new_static("$")];
        self.loops = 0;
        let mut list = self.list(list)?;
        if named {
            charge(&mut list);
        }
        Ok(list)
    }

    fn list(&mut self, list: &ListNode) -> Result<ListNode> {
        let mut nodes = Vec::with_capacity(list.nodes.len());
        for node in &list.nodes {
            let node = self.node(node, &mut nodes)?;
            nodes.push(node);
        }
        Ok(ListNode { pos: list.pos, nodes })
    }

    fn node(&mut self, node: &Node, before: &mut Vec<Node>) -> Result<Node> {
        Ok(match node {
            Node::Action(action) => {
                let mut pipe = self.pipe(&action.pipe, before)?;
                self.declare(&pipe);
                if pipe.decl.is_empty() && !prints_text(&pipe) {
                    let show = Expr::Identifier(pipe.pos, SmolStr::new_static(SHOW_FUNCTION));
                    pipe.commands.push(CommandNode { pos: pipe.pos, args: vec![show] });
                }
                Node::Action(ActionNode { pos: action.pos, pipe })
            }
            Node::If(branch) => Node::If(self.branch(branch, before, false)?),
            Node::With(branch) => Node::With(self.branch(branch, before, false)?),
            Node::Range(branch) => Node::Range(self.branch(branch, before, true)?),
            Node::Template(template) => self.template(template, before)?,
            Node::List(list) => Node::List(self.list(list)?),
            Node::Break(at) if self.loops == 0 => return mistake(*at, "{{break}} outside {{range}}"),
            Node::Continue(at) if self.loops == 0 => return mistake(*at, "{{continue}} outside {{range}}"),
            // Defined templates have trees of their own.
            Node::Text(_) | Node::Define(_) | Node::Break(_) | Node::Continue(_) => node.clone(),
        })
    }

    fn branch(&mut self, branch: &BranchNode, before: &mut Vec<Node>, is_loop: bool) -> Result<BranchNode> {
        let scope = self.variables.len();
        let pipe = self.pipe(&branch.pipe, before)?;
        self.declare(&pipe);
        self.loops += usize::from(is_loop);
        let mut body = self.list(&branch.body)?;
        self.loops -= usize::from(is_loop);
        if is_loop {
            charge(&mut body);
        }
        let else_body = branch.else_body.as_ref().map(|body| self.list(body)).transpose()?;
        self.variables.truncate(scope);
        Ok(BranchNode { pos: branch.pos, pipe, body, else_body })
    }

    fn template(&mut self, template: &TemplateNode, before: &mut Vec<Node>) -> Result<Node> {
        if !self.defined.contains(template.name.as_str()) {
            return mistake(template.pos, format!("template {:?} not defined", template.name));
        }
        let pipe = match &template.pipe {
            Some(pipe) => self.pipe(pipe, before)?,
            // Without an argument a template has no data at all.
            None => single(Expr::Identifier(template.pos, SmolStr::new_static(NIL_FUNCTION))),
        };
        Ok(Node::Template(TemplateNode { pipe: Some(pipe), ..template.clone() }))
    }

    fn declare(&mut self, pipe: &PipeNode) {
        if !pipe.is_assign {
            self.variables.extend(pipe.decl.iter().cloned());
        }
    }

    fn known(&self, at: Pos, name: &SmolStr) -> Result<()> {
        if self.variables.contains(name) {
            return Ok(());
        }
        mistake(at, format!("undefined variable {:?}", name.as_str()))
    }

    fn pipe(&mut self, pipe: &PipeNode, before: &mut Vec<Node>) -> Result<PipeNode> {
        if pipe.is_assign {
            for name in &pipe.decl {
                self.known(pipe.pos, name)?;
            }
        }
        let mut commands = Vec::with_capacity(pipe.commands.len());
        for (i, command) in pipe.commands.iter().enumerate() {
            let mut args = Vec::with_capacity(command.args.len());
            for arg in &command.args {
                args.push(self.expression(arg, before)?);
            }
            let command = CommandNode { pos: command.pos, args };
            commands.push(self.in_place(command, i > 0, before)?);
        }
        Ok(PipeNode { commands, ..pipe.clone() })
    }

    /// A command that changes its argument in place becomes one that only reads it, behind an assignment.
    fn in_place(&self, command: CommandNode, piped: bool, before: &mut Vec<Node>) -> Result<CommandNode> {
        let [Expr::Identifier(at, name), target, ..] = command.args.as_slice() else { return Ok(command) };
        if !IN_PLACE.contains(&name.as_str()) {
            return Ok(command);
        }
        let at = *at;
        match target {
            Expr::Pipe(_, pipe) if is_fresh(pipe) => Ok(command),
            Expr::Identifier(_, name) if FRESH.contains(&name.as_str()) => Ok(command),
            Expr::Variable(_, variable, fields) if !piped && variable != "$" => {
                let (variable, fields) = (variable.clone(), fields.clone());
                let read = Expr::Variable(at, variable.clone(), fields.clone());
                let changed =
                    PipeNode { pos: at, decl: Vec::new(), commands: vec![command], is_assign: false };
                let value = if fields.is_empty() {
                    changed
                } else {
                    let mut args = vec![
                        Expr::Identifier(at, SmolStr::new_static(PUT_FUNCTION)),
                        Expr::Variable(at, variable.clone(), Vec::new()),
                    ];
                    args.extend(fields.iter().map(|field| Expr::String(at, Arc::from(field.as_str()))));
                    args.push(Expr::Pipe(at, changed));
                    single_command(CommandNode { pos: at, args })
                };
                let assign = PipeNode { decl: vec![variable], is_assign: true, ..value };
                before.push(Node::Action(ActionNode { pos: at, pipe: assign }));
                Ok(CommandNode { pos: at, args: vec![read] })
            }
            _ => mistake(
                at,
                format!(
                    "{name} changes a dictionary in place, which works on a variable: \
                     {{{{ $m := … }}}}{{{{ $_ := {name} $m … }}}}"
                ),
            ),
        }
    }

    fn expression(&mut self, expression: &Expr, before: &mut Vec<Node>) -> Result<Expr> {
        match expression {
            Expr::Dot(_) => self.whole = true,
            Expr::Field(_, fields) => self.fields.extend(fields.first().map(SmolStr::to_string)),
            Expr::Variable(at, name, fields) => {
                self.known(*at, name)?;
                match fields.first() {
                    _ if name != "$" => {}
                    Some(field) => drop(self.fields.insert(field.to_string())),
                    None => self.whole = true,
                }
            }
            Expr::Identifier(at, name) => check_function(*at, name)?,
            Expr::Pipe(at, pipe) => return Ok(Expr::Pipe(*at, self.pipe(pipe, before)?)),
            Expr::Chain(at, inner, fields) => {
                let inner = self.expression(inner, before)?;
                return Ok(Expr::Chain(*at, Box::new(inner), fields.clone()));
            }
            Expr::String(..) | Expr::Number(..) | Expr::Bool(..) | Expr::Nil(_) => {}
        }
        Ok(expression.clone())
    }
}

fn check_function(at: Pos, name: &SmolStr) -> Result<()> {
    let name = name.as_str();
    if let Some(why) = functions::left_out(name) {
        return mistake(at, format!("the function {name:?} is left out: {why}"));
    }
    if name.starts_with("__") || !(ALL.contains_key(name) || BUILT_IN.contains(&name)) {
        return mistake(at, format!("function {name:?} not defined"));
    }
    Ok(())
}

fn is_fresh(pipe: &PipeNode) -> bool {
    let last = pipe.commands.last().and_then(|command| command.args.first());
    matches!(last, Some(Expr::Identifier(_, name)) if FRESH.contains(&name.as_str()))
}

fn single(expression: Expr) -> PipeNode {
    single_command(CommandNode { pos: expression.pos(), args: vec![expression] })
}

fn single_command(command: CommandNode) -> PipeNode {
    PipeNode { pos: command.pos, decl: Vec::new(), commands: vec![command], is_assign: false }
}

/// Whether a pipeline gives a text by itself.
fn prints_text(pipe: &PipeNode) -> bool {
    let last = pipe.commands.last().and_then(|command| command.args.first());
    match last {
        Some(Expr::Identifier(_, name)) => functions::gives_text(name.as_str()),
        Some(Expr::String(..)) => true,
        _ => false,
    }
}

/// Puts what a turn costs in front of a body.
fn charge(list: &mut ListNode) {
    let at = list.pos;
    let cost = i64::try_from(size(list)).unwrap_or(i64::MAX);
    let args =
        vec![Expr::Identifier(at, SmolStr::new_static(STEP_FUNCTION)), Expr::Number(at, Number::Int(cost))];
    let mut pipe = single_command(CommandNode { pos: at, args });
    pipe.decl = vec![SmolStr::new_static("$__step")];
    list.nodes.insert(0, Node::Action(ActionNode { pos: at, pipe }));
}

/// About how many steps a body has.
fn size(list: &ListNode) -> usize {
    let node = |node: &Node| match node {
        Node::Action(action) => action.pipe.commands.iter().map(|command| command.args.len()).sum(),
        Node::If(branch) | Node::With(branch) | Node::Range(branch) => {
            size(&branch.body) + branch.else_body.as_ref().map_or(0, size)
        }
        Node::List(list) => size(list),
        _ => 1,
    };
    1 + list.nodes.iter().map(node).sum::<usize>()
}
