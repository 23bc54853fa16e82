//! The `loki.*` components; the folder of each is the path of its name.

use component::ComponentDef;

pub mod echo;
pub mod enrich;
pub mod intake;
pub mod process;
pub mod relabel;
pub mod secretfilter;
pub mod source;
pub mod streams;
pub mod write;

/// The components of this family.
pub static COMPONENTS: &[ComponentDef] = &[
    ComponentDef::of::<echo::Echo>(),
    ComponentDef::of::<enrich::Enrich>(),
    ComponentDef::of::<process::Process>(),
    ComponentDef::of::<relabel::Relabel>(),
    ComponentDef::of::<secretfilter::Secretfilter>(),
    ComponentDef::of::<source::api::Api>(),
    ComponentDef::of::<source::awsfirehose::AwsFirehose>(),
    ComponentDef::of::<source::docker::Docker>(),
    ComponentDef::of::<source::file::File>(),
    ComponentDef::of::<source::gelf::Gelf>(),
    ComponentDef::of::<source::heroku::Heroku>(),
    ComponentDef::of::<source::journal::Journal>(),
    ComponentDef::of::<source::syslog::Syslog>(),
    ComponentDef::of::<write::Write>(),
];
