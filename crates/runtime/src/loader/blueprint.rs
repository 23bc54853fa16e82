//! A body taken apart into nodes and declares: the shape that all instances of it share.
//!
//! What depends on scope (which component a name means, what a reference refers to) is not decided here
//! but in the plan. Invariant: a blueprint is immutable; each block is moved into it, never copied.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use syntax::ast::{Attribute, Block, Body, Statement};
use syntax::{Diagnostic, Reference, Source, Span, references};

/// Where a body stands; decides which blocks it may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The configuration itself.
    Root,
    /// A `declare` block.
    Declare,
    /// A file, text or address that an import block names.
    Imported,
    /// The `template` of a `foreach`.
    Template,
}

/// What a block is by its name alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockKind {
    /// A component, built in or custom.
    Component,
    /// A block of the configuration's root such as `logging`.
    Config,
    /// `argument "x"`
    Argument,
    /// `export "x"`
    Export,
    /// `import.…`
    Import,
    /// `foreach "x"`
    Foreach,
}

/// A block that becomes a node.
pub struct NodeBlock {
    /// The text that the block's spans point into.
    pub source: Source,
    /// The block; of a `foreach` without its template.
    pub block: Block,
    /// Its name with dots.
    pub name: String,
    /// Name and label: the node's ID in its module.
    pub id: String,
    /// What it is.
    pub kind: BlockKind,
    /// What its expressions refer to; of a `foreach` without what its template says.
    pub references: Vec<Reference>,
    /// The template of a `foreach`.
    pub template: Option<Arc<Blueprint>>,
}

/// A body taken apart.
pub struct Blueprint {
    /// The label of the declare, or what else names the body in messages.
    pub name: String,
    /// Where it stands.
    pub place: Place,
    /// Blocks that become nodes, in the order of the file.
    pub nodes: Vec<Arc<NodeBlock>>,
    /// Declares by label.
    pub declares: BTreeMap<String, Arc<Blueprint>>,
    /// Mistakes that can be seen without scope.
    pub diagnostics: Vec<Diagnostic>,
    /// The first segments of all component names in here, nested blocks included.
    pub mentions: BTreeSet<String>,
    /// Where the declare's name and label stand.
    pub header: Option<(Source, Span)>,
}

impl NodeBlock {
    /// Where name and label stand.
    pub fn header(&self) -> Span {
        self.block.header_span()
    }

    /// The label, where there is one.
    pub fn label(&self) -> Option<&str> {
        self.block.label.as_ref().map(|l| l.name.as_str())
    }

    /// An error at name and label.
    pub fn error(&self, code: &'static str, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(code, message, &self.source, self.header())
    }
}

impl Blueprint {
    /// Takes statements apart. `config` are the names of blocks that stand only at the root.
    pub fn new(name: &str, place: Place, statements: Vec<(Source, Statement)>, config: &[&str]) -> Self {
        let mut build = Build {
            config,
            seen: HashMap::new(),
            blueprint: Self {
                name: name.to_string(),
                place,
                nodes: Vec::new(),
                declares: BTreeMap::new(),
                diagnostics: Vec::new(),
                mentions: BTreeSet::new(),
                header: None,
            },
        };
        for (source, statement) in statements {
            match statement {
                Statement::Attribute(attribute) => build.attribute(&source, &attribute),
                Statement::Block(block) => build.block(source, block),
            }
        }
        build.blueprint
    }

    /// The nodes of one kind.
    pub fn nodes_of(&self, kind: BlockKind) -> impl Iterator<Item = &Arc<NodeBlock>> {
        self.nodes.iter().filter(move |n| n.kind == kind)
    }
}

struct Build<'a> {
    config: &'a [&'a str],
    seen: HashMap<String, (Source, Span)>,
    blueprint: Blueprint,
}

impl Build<'_> {
    fn attribute(&mut self, source: &Source, attribute: &Attribute) {
        let message =
            format!("{:?} cannot be set here: only blocks may stand at this level", attribute.name.name);
        let help = match self.blueprint.place {
            Place::Declare => "declare an argument block for what an instance is to pass",
            _ => "put it into a block",
        };
        let diagnostic = Diagnostic::error("unexpected_attribute", message, source, attribute.span());
        self.blueprint.diagnostics.push(diagnostic.with_help(help));
    }

    fn block(&mut self, source: Source, block: Block) {
        let name = block.full_name();
        let kind = match name.as_str() {
            "declare" => return self.declare(source, block),
            "argument" => BlockKind::Argument,
            "export" => BlockKind::Export,
            "foreach" => BlockKind::Foreach,
            n if n.starts_with("import.") => BlockKind::Import,
            n if self.config.contains(&n) => BlockKind::Config,
            _ => BlockKind::Component,
        };
        let allowed = self.allowed(&source, &block, &name, kind);
        let labelled = self.label(&source, &block, &name, kind);
        if self.first_of_its_id(&source, &block) && allowed && labelled {
            self.node(source, block, name, kind);
        }
    }

    fn node(&mut self, source: Source, mut block: Block, name: String, kind: BlockKind) {
        let template = if kind == BlockKind::Foreach { self.template(&source, &mut block) } else { None };
        if kind == BlockKind::Component {
            let first = name.split('.').next().unwrap_or_default();
            self.blueprint.mentions.insert(first.to_string());
        }
        let node = NodeBlock {
            references: references(&block.body),
            id: block.id(),
            source,
            block,
            name,
            kind,
            template,
        };
        self.blueprint.nodes.push(Arc::new(node));
    }

    fn declare(&mut self, source: Source, mut block: Block) {
        if !self.first_of_its_id(&source, &block) {
            return;
        }
        let header = block.header_span();
        let Some(label) = block.label.take() else {
            return self.missing_label(&source, header, "declare");
        };
        let statements = owned(&source, std::mem::take(&mut block.body));
        let mut inner = Blueprint::new(&label.name, Place::Declare, statements, self.config);
        inner.header = Some((source, header));
        self.blueprint.mentions.extend(inner.mentions.iter().cloned());
        self.blueprint.declares.insert(label.name, Arc::new(inner));
    }

    fn template(&mut self, source: &Source, block: &mut Block) -> Option<Arc<Blueprint>> {
        let header = block.header_span();
        let (templates, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut block.body.statements)
            .into_iter()
            .partition(|s| matches!(s, Statement::Block(b) if b.full_name() == "template"));
        block.body.statements = rest;
        let mut templates = templates.into_iter().filter_map(|s| match s {
            Statement::Block(block) => Some(block),
            Statement::Attribute(_) => None,
        });
        let Some(template) = templates.next() else {
            let missing =
                Diagnostic::error("missing_block", "block \"template\" is required", source, header)
                    .with_help("add template { … } with the components that each item gets");
            self.blueprint.diagnostics.push(missing);
            return None;
        };
        for extra in templates {
            let message = "block \"template\" may be written only once";
            let span = extra.header_span();
            self.blueprint.diagnostics.push(Diagnostic::error("duplicate_block", message, source, span));
        }
        if let Some(label) = &template.label {
            let message = "this block takes no label";
            let diagnostic = Diagnostic::error("unexpected_label", message, source, label.span);
            self.blueprint.diagnostics.push(diagnostic.with_help("remove it"));
        }
        let inner = Blueprint::new("template", Place::Template, owned(source, template.body), self.config);
        self.blueprint.mentions.extend(inner.mentions.iter().cloned());
        Some(Arc::new(inner))
    }

    fn first_of_its_id(&mut self, source: &Source, block: &Block) -> bool {
        // Declares and imports share one space of names, for both name components.
        let name = block.full_name();
        let id = match &block.label {
            Some(label) if name == "declare" || name.starts_with("import.") => {
                format!("namespace {}", label.name)
            }
            _ => block.id(),
        };
        let span = block.header_span();
        let Some((first, at)) = self.seen.get(&id) else {
            self.seen.insert(id, (source.clone(), span));
            return true;
        };
        let place = first.line_column(at.start);
        let message = format!(
            "{} is defined already, at {}:{}:{}",
            first.slice(*at),
            first.name(),
            place.line,
            place.column
        );
        let diagnostic = Diagnostic::error("duplicate_block", message, source, span);
        let help = match self.config.contains(&&*name) {
            true => "put everything into one of them",
            false => "give one of the two another label",
        };
        self.blueprint.diagnostics.push(diagnostic.with_help(help));
        false
    }

    fn allowed(&mut self, source: &Source, block: &Block, name: &str, kind: BlockKind) -> bool {
        let place = self.blueprint.place;
        let problem = match (kind, place) {
            (BlockKind::Config, Place::Root) => return true,
            (BlockKind::Config, _) => "may stand only at the top level of the configuration",
            (BlockKind::Argument | BlockKind::Export, Place::Declare) => return true,
            (BlockKind::Argument | BlockKind::Export, _) => "may stand only in a declare block",
            (BlockKind::Component | BlockKind::Foreach, Place::Imported) => {
                "may not stand in an imported module: only declare and import blocks may"
            }
            _ => return true,
        };
        let message = format!("block {name:?} {problem}");
        self.blueprint.diagnostics.push(Diagnostic::error(
            "misplaced_block",
            message,
            source,
            block.header_span(),
        ));
        false
    }

    fn label(&mut self, source: &Source, block: &Block, name: &str, kind: BlockKind) -> bool {
        match (kind, &block.label) {
            (BlockKind::Config, Some(label)) => {
                let message = format!("block {name:?} takes no label");
                let diagnostic = Diagnostic::error("unexpected_label", message, source, label.span);
                self.blueprint.diagnostics.push(diagnostic.with_help("remove it"));
                false
            }
            // A component may turn out to be a custom one, which works without a label.
            (BlockKind::Config | BlockKind::Component, _) | (_, Some(_)) => true,
            (_, None) => {
                self.missing_label(source, block.header_span(), name);
                false
            }
        }
    }

    fn missing_label(&mut self, source: &Source, header: Span, name: &str) {
        let message = format!("block {name:?} needs a label");
        let diagnostic = Diagnostic::error("missing_label", message, source, header);
        self.blueprint.diagnostics.push(diagnostic.with_help(format!("write {name} \"a_name\" {{ … }}")));
    }
}

fn owned(source: &Source, body: Body) -> Vec<(Source, Statement)> {
    body.statements.into_iter().map(|s| (source.clone(), s)).collect()
}
