//! `otelcol.auth.sigv4`: AWS Signature Version 4 on the requests of an exporter.
//!
//! A pure function of its arguments: keys are looked for with the first request. Clients of HTTP only, as upstream.

use std::sync::Arc;

use component::eval::Invalid;
use component::otel::DebugMetrics;
use component::{Arguments, BuildCx, Error, Pure, Stability};
use net::sign::{AwsEnvironment, SigV4, SigV4Args, SigV4Extras, Sign};

use super::{AuthExports, Handler, Scheme};

/// `otelcol.auth.sigv4`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// Region; otherwise that of the host, the environment or the profile.
    #[arg(default)]
    pub region: String,
    /// Name of the service that is signed for; otherwise that of the host.
    #[arg(default)]
    pub service: String,
    /// Role to assume.
    #[arg(block)]
    pub assume_role: AssumeRole,
    /// The component's own metrics.
    #[arg(block, no_effect = "the component has no metrics of its own")]
    pub debug_metrics: DebugMetrics,
}

/// `assume_role`
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct AssumeRole {
    /// The role.
    #[arg(default)]
    pub arn: String,
    /// Name of the session.
    #[arg(default)]
    pub session_name: String,
    /// Region whose token service is asked; that of the requests otherwise.
    #[arg(default)]
    pub sts_region: String,
}

/// The component.
pub struct SigV4Auth;

impl Pure for SigV4Auth {
    const NAME: &'static str = "otelcol.auth.sigv4";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = AuthExports;

    fn evaluate(args: &Args, cx: &BuildCx) -> Result<AuthExports, Error> {
        Ok(AuthExports { handler: Handler::new(cx.id(), Scheme::SigV4(args.clone())) })
    }
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        let AssumeRole { arn, session_name, sts_region } = &self.assume_role;
        if arn.is_empty() && !(session_name.is_empty() && sts_region.is_empty()) {
            return Err(Invalid::field("assume_role", "says nothing without an arn"));
        }
        Ok(())
    }

    pub(super) fn signer_in(&self, environment: AwsEnvironment) -> Option<Arc<dyn Sign>> {
        let args = SigV4Args {
            region: self.region.clone(),
            role_arn: self.assume_role.arn.clone(),
            service_name: self.service.clone(),
            ..SigV4Args::default()
        };
        let extras = SigV4Extras {
            session_name: self.assume_role.session_name.clone(),
            sts_region: self.assume_role.sts_region.clone(),
            infers: true,
        };
        let agent = format!("Ferroalloy/{}", env!("CARGO_PKG_VERSION"));
        // Fails for a User-Agent that no header can have, which this one is not.
        let signer = SigV4::with_extras(&args, extras, &agent, environment).ok()?;
        Some(Arc::new(signer))
    }

    /// Signs requests with keys, which it keeps.
    pub(super) fn signer(&self) -> Option<Arc<dyn Sign>> {
        self.signer_in(AwsEnvironment::default())
    }
}
