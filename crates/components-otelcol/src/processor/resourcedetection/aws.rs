//! Amazon's clouds.

use http::Method;
use serde_json::Value;

use super::args::{BeanstalkArgs, Ec2Args, EcsArgs, LambdaArgs};
use super::detect::{Collected, Found, Missing, Place, patterns};

/// The instance's metadata service, version 2.
pub(super) struct Instance<'p> {
    place: &'p Place,
    base: String,
    token: String,
}

impl<'p> Instance<'p> {
    pub(super) async fn open(place: &'p Place) -> Result<Self, Missing> {
        let base = place.env("AWS_EC2_METADATA_SERVICE_ENDPOINT");
        let base = base.as_deref().unwrap_or(&place.metadata).trim_end_matches('/').to_string();
        let ttl = [("x-aws-ec2-metadata-token-ttl-seconds", "21600")];
        let token = place.ask(Method::PUT, &format!("{base}/latest/api/token"), &ttl).await?;
        Ok(Self { place, base, token: token.trim().to_string() })
    }

    /// What it says below a path.
    async fn text(&self, path: &str) -> Result<String, Missing> {
        let token = [("x-aws-ec2-metadata-token", self.token.as_str())];
        self.place.get(&format!("{}/latest/{path}", self.base), &token).await
    }

    pub(super) async fn identity(&self) -> Result<Value, Missing> {
        let text = self.text("dynamic/instance-identity/document").await?;
        serde_json::from_str(&text)
            .map_err(|error| Missing::failed(format!("the identity document: {error}")))
    }

    /// The value of a tag, where tags are part of the metadata.
    pub(super) async fn tag(&self, key: &str) -> Result<String, Missing> {
        self.text(&format!("meta-data/tags/instance/{key}")).await
    }
}

/// EC2.
pub(super) async fn ec2(args: &Ec2Args, place: &Place) -> Result<Found, Missing> {
    let instance = Instance::open(place).await?;
    let identity = instance.identity().await?;
    let mut out = Collected::new(&args.resource_attributes);
    out.put("cloud.provider", "aws");
    out.put("cloud.platform", "aws_ec2");
    for (key, member) in [
        ("cloud.region", "region"),
        ("cloud.account.id", "accountId"),
        ("cloud.availability_zone", "availabilityZone"),
        ("host.id", "instanceId"),
        ("host.image.id", "imageId"),
        ("host.type", "instanceType"),
    ] {
        out.member(key, &identity[member]);
    }
    if out.wants("host.name") {
        out.put("host.name", instance.text("meta-data/hostname").await?.trim());
    }
    if !args.tags.is_empty() {
        let wanted = patterns("ec2.tags", &args.tags).map_err(Missing::failed)?;
        for key in instance.text("meta-data/tags/instance").await?.lines() {
            if wanted.iter().any(|pattern| pattern.is_match(key)) {
                out.put(&format!("ec2.tag.{key}"), instance.tag(key).await?);
            }
        }
    }
    out.done()
}

/// ECS: the task's metadata endpoint, version 4 or 3.
pub(super) async fn ecs(args: &EcsArgs, place: &Place) -> Result<Found, Missing> {
    let base = place.env("ECS_CONTAINER_METADATA_URI_V4").or_else(|| place.env("ECS_CONTAINER_METADATA_URI"));
    let base = base.ok_or_else(|| Missing::elsewhere("ECS_CONTAINER_METADATA_URI_V4 is not set"))?;
    let task = place.json(&format!("{base}/task"), &[]).await?;
    let mut out = Collected::new(&args.resource_attributes);
    out.put("cloud.provider", "aws");
    out.put("cloud.platform", "aws_ecs");
    let arn = task["TaskARN"].as_str().unwrap_or_default();
    // arn:partition:ecs:region:account:task/cluster/id
    let parts: Vec<&str> = arn.split(':').collect();
    let [partition, region, account] = [1, 3, 4].map(|at| parts.get(at).copied().unwrap_or_default());
    out.put("aws.ecs.task.arn", arn);
    out.put("aws.ecs.task.id", arn.rsplit('/').next().unwrap_or_default());
    out.member("aws.ecs.task.family", &task["Family"]);
    out.member("aws.ecs.task.revision", &task["Revision"]);
    out.member("cloud.availability_zone", &task["AvailabilityZone"]);
    out.put("cloud.region", region);
    out.put("cloud.account.id", account);
    let cluster = task["Cluster"].as_str().unwrap_or_default();
    match cluster {
        "" => {}
        arn if arn.starts_with("arn:") => out.put("aws.ecs.cluster.arn", arn),
        name => {
            out.put("aws.ecs.cluster.arn", format!("arn:{partition}:ecs:{region}:{account}:cluster/{name}"))
        }
    }
    out.put("aws.ecs.launchtype", task["LaunchType"].as_str().unwrap_or_default().to_lowercase());
    logs(&place.json(&base, &[]).await?, partition, account, &mut out);
    out.done()
}

/// Where the container logs to.
fn logs(container: &Value, partition: &str, account: &str, out: &mut Collected<'_>) {
    if container["LogDriver"] != "awslogs" {
        return;
    }
    let option = |name: &str| container["LogOptions"][name].as_str().unwrap_or_default().to_string();
    let [group, stream, region] = ["awslogs-group", "awslogs-stream", "awslogs-region"].map(option);
    if group.is_empty() {
        return;
    }
    let arn = format!("arn:{partition}:logs:{region}:{account}:log-group:{group}");
    if !stream.is_empty() {
        out.list("aws.log.stream.arns", vec![format!("{arn}:log-stream:{stream}")]);
        out.list("aws.log.stream.names", vec![stream]);
    }
    out.list("aws.log.group.arns", vec![arn]);
    out.list("aws.log.group.names", vec![group]);
}

/// Elastic Beanstalk: a file that X-Ray's integration leaves on the instance.
pub(super) async fn beanstalk(args: &BeanstalkArgs, place: &Place) -> Result<Found, Missing> {
    let file = place.file("var/elasticbeanstalk/xray/environment.conf");
    let text = file.map_err(|error| Missing::elsewhere(format!("environment.conf: {error}")))?;
    let found: Value = serde_json::from_str(&text).map_err(Missing::failed)?;
    let mut out = Collected::new(&args.resource_attributes);
    out.put("cloud.provider", "aws");
    out.put("cloud.platform", "aws_elastic_beanstalk");
    out.member("service.instance.id", &found["deployment_id"]);
    out.member("deployment.environment", &found["environment_name"]);
    out.member("service.version", &found["version_label"]);
    out.done()
}

/// Lambda: what its runtime puts into the environment.
pub(super) async fn lambda(args: &LambdaArgs, place: &Place) -> Result<Found, Missing> {
    let Some(name) = place.env("AWS_LAMBDA_FUNCTION_NAME") else {
        return Err(Missing::elsewhere("AWS_LAMBDA_FUNCTION_NAME is not set"));
    };
    let mut out = Collected::new(&args.resource_attributes);
    out.put("cloud.provider", "aws");
    out.put("cloud.platform", "aws_lambda");
    out.put("faas.name", name);
    for (key, variable) in [
        ("cloud.region", "AWS_REGION"),
        ("faas.version", "AWS_LAMBDA_FUNCTION_VERSION"),
        ("faas.instance", "AWS_LAMBDA_LOG_STREAM_NAME"),
        ("faas.max_memory", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE"),
    ] {
        out.put(key, place.env(variable).unwrap_or_default());
    }
    out.list("aws.log.group.names", place.env("AWS_LAMBDA_LOG_GROUP_NAME").into_iter().collect());
    out.list("aws.log.stream.names", place.env("AWS_LAMBDA_LOG_STREAM_NAME").into_iter().collect());
    out.done()
}
