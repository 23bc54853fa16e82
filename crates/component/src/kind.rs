//! What of a node depends on its component's types: arguments and component behind pointers that anybody can hold.
//!
//! What is generic is there once for each component, and there are many: all that does not have to be is in `node.rs`.

use std::any::Any;
use std::marker::PhantomData;

use eval::syntax::{Diagnostic, Source, ast};
use eval::{Arguments, Exports, Item, Scope, Value};

use crate::context::{BuildCx, RunCx, RunParts};
use crate::definition::Component;
use crate::error::Error;
use crate::port::BoxFuture;

/// Arguments of a type that only its [`Kind`] knows.
pub(crate) type Args = Box<dyn Any + Send>;

/// What became of a body.
pub(crate) enum Decoded {
    /// The arguments in force.
    Same,
    /// Others.
    New(Args),
    /// Errors.
    Wrong,
}

pub(crate) fn decode<A: Arguments + PartialEq>(
    body: &Written<'_>,
    current: Option<&A>,
) -> (Decoded, Vec<Diagnostic>) {
    let (args, diagnostics) = eval::decode::<A>(body.source, body.body, body.label, body.scope);
    let decoded = match args {
        Some(args) if current == Some(&args) => Decoded::Same,
        Some(args) => Decoded::New(Box::new(args)),
        None => Decoded::Wrong,
    };
    (decoded, diagnostics)
}

/// A body as it is given to `Node::prepare`.
pub(crate) struct Written<'a> {
    pub(crate) source: &'a Source,
    pub(crate) body: &'a ast::Body,
    pub(crate) label: Option<&'a ast::Ident>,
    pub(crate) scope: &'a Scope<'a>,
}

/// What a component's types are needed for.
pub(crate) trait Kind: Sync {
    fn name(&self) -> &'static str;
    fn decode(&self, body: &Written<'_>, current: Option<&Args>) -> (Decoded, Vec<Diagnostic>);
    fn copy(&self, args: &Args) -> Args;
    fn encode(&self, args: &Args, out: &mut Vec<Item>);
    /// The component and its exports.
    fn build(&self, args: Args, cx: &BuildCx) -> Result<(Box<dyn Built>, Value), Error>;
}

/// A component that is built and does not run yet.
pub(crate) trait Built: Send {
    fn run(self: Box<Self>, cx: RunParts) -> BoxFuture<'static, Result<(), Error>>;
}

/// The kind of a component.
pub(crate) struct Of<C>(pub(crate) PhantomData<fn() -> C>);

impl<C: Component> Of<C> {
    fn args(args: &Args) -> &C::Args {
        args.downcast_ref().expect("arguments come from this kind")
    }
}

impl<C: Component> Kind for Of<C> {
    fn name(&self) -> &'static str {
        C::NAME
    }

    fn decode(&self, body: &Written<'_>, current: Option<&Args>) -> (Decoded, Vec<Diagnostic>) {
        decode::<C::Args>(body, current.map(Self::args))
    }

    fn copy(&self, args: &Args) -> Args {
        Box::new(Self::args(args).clone())
    }

    fn encode(&self, args: &Args, out: &mut Vec<Item>) {
        Self::args(args).encode(out);
    }

    fn build(&self, args: Args, cx: &BuildCx) -> Result<(Box<dyn Built>, Value), Error> {
        let args = args.downcast::<C::Args>().expect("arguments come from this kind");
        let (component, exports) = C::build(*args, cx)?;
        Ok((Box::new(component), exports.to_value()))
    }
}

impl<C: Component> Built for C {
    fn run(self: Box<Self>, cx: RunParts) -> BoxFuture<'static, Result<(), Error>> {
        Box::pin(C::run(*self, RunCx::of(cx)))
    }
}
