//! Clouds that tell of their machines and of little else.

use http::Method;

use super::args::{AkamaiArgs, InstanceArgs, NovaArgs, OracleArgs, ScalewayArgs};
use super::detect::{Collected, Found, Missing, Place, patterns};

/// A zone without its last part, `fr-par` of `fr-par-1`.
fn region_of(zone: &str) -> &str {
    zone.rsplit_once('-').map_or("", |(region, _)| region)
}

/// Akamai, formerly Linode.
pub(super) async fn akamai(args: &AkamaiArgs, place: &Place) -> Result<Found, Missing> {
    let base = &place.metadata;
    let life = [("metadata-token-expiry-seconds", "3600")];
    let token = place.ask(Method::PUT, &format!("{base}/v1/token"), &life).await?;
    let headers = [("metadata-token", token.trim()), ("accept", "application/json")];
    let instance = place.json(&format!("{base}/v1/instance"), &headers).await?;
    let mut out = Collected::new(&args.resource_attributes);
    out.put("cloud.provider", "akamai_cloud");
    out.member("cloud.region", &instance["region"]);
    out.member("host.id", &instance["id"]);
    out.member("host.name", &instance["label"]);
    out.done()
}

/// OpenStack: the instance as Nova's metadata service describes it.
pub(super) async fn nova(args: &NovaArgs, place: &Place) -> Result<Found, Missing> {
    let base = &place.metadata;
    let server = place.json(&format!("{base}/openstack/latest/meta_data.json"), &[]).await?;
    let mut out = Collected::new(&args.resource_attributes);
    out.put("cloud.provider", "openstack");
    out.put("cloud.platform", "openstack_nova");
    out.member("cloud.availability_zone", &server["availability_zone"]);
    out.member("host.id", &server["uuid"]);
    let name = server["hostname"].as_str().filter(|name| !name.is_empty());
    out.put("host.name", name.or_else(|| server["name"].as_str()).unwrap_or_default());
    if out.wants("host.type") {
        // What is compatible with EC2 may be switched off.
        match place.get(&format!("{base}/latest/meta-data/instance-type"), &[]).await {
            Ok(kind) => out.put("host.type", kind.trim()),
            Err(why) => tracing::debug!(%why, "the type of the instance is not known"),
        }
    }
    let wanted = patterns("nova.labels", &args.labels).map_err(Missing::failed)?;
    for (key, value) in server["meta"].as_object().into_iter().flatten() {
        if wanted.iter().any(|pattern| pattern.is_match(key)) {
            out.member(&format!("openstack.nova.meta.{key}"), value);
        }
    }
    out.done()
}

/// Oracle Cloud: version 2 of the instance's metadata.
pub(super) async fn oraclecloud(args: &OracleArgs, place: &Place) -> Result<Found, Missing> {
    let url = format!("{}/opc/v2/instance/", place.metadata);
    let instance = place.json(&url, &[("authorization", "Bearer Oracle")]).await?;
    let cluster = &instance["metadata"]["oke-cluster-display-name"];
    let mut out = Collected::new(&args.resource_attributes);
    out.put("cloud.provider", "oracle_cloud");
    out.put("cloud.platform", if cluster.is_string() { "oracle_cloud_oke" } else { "oracle_cloud_compute" });
    let region = instance["canonicalRegionName"].as_str();
    let region = region.or_else(|| instance["regionInfo"]["regionIdentifier"].as_str());
    out.put("cloud.region", region.unwrap_or_default());
    for (key, member) in [
        ("cloud.availability_zone", "availabilityDomain"),
        ("host.id", "id"),
        ("host.name", "displayName"),
        ("host.type", "shape"),
    ] {
        out.member(key, &instance[member]);
    }
    out.member("k8s.cluster.name", cluster);
    out.member("oracle_cloud.realm", &instance["regionInfo"]["realmKey"]);
    out.done()
}

pub(super) async fn scaleway(args: &ScalewayArgs, place: &Place) -> Result<Found, Missing> {
    let base = place.own("http://169.254.42.42");
    let server = place.json(&format!("{base}/conf?format=json"), &[]).await?;
    let zone = &server["location"]["zone_id"];
    let mut out = Collected::new(&args.resource_attributes);
    out.put("cloud.provider", "scaleway_cloud");
    out.put("cloud.platform", "scaleway_cloud_compute");
    out.member("cloud.account.id", &server["organization"]);
    out.member("cloud.availability_zone", zone);
    out.put("cloud.region", region_of(zone.as_str().unwrap_or_default()));
    out.member("host.id", &server["id"]);
    out.member("host.image.id", &server["image"]["id"]);
    out.member("host.image.name", &server["image"]["name"]);
    out.member("host.name", &server["name"]);
    out.member("host.type", &server["commercial_type"]);
    out.done()
}

/// Tencent Cloud: a page a word.
pub(super) async fn tencent_cvm(args: &InstanceArgs, place: &Place) -> Result<Found, Missing> {
    let base = place.own("http://metadata.tencentyun.com");
    let mut out = Collected::new(&args.resource_attributes);
    out.put("cloud.provider", "tencent_cloud");
    out.put("cloud.platform", "tencent_cloud_cvm");
    for (key, path) in [
        ("cloud.account.id", "app-id"),
        ("cloud.region", "placement/region"),
        ("cloud.availability_zone", "placement/zone"),
        ("host.id", "instance-id"),
        ("host.image.id", "instance/image-id"),
        ("host.name", "instance-name"),
        ("host.type", "instance/instance-type"),
    ] {
        if out.wants(key) {
            let text = place.get(&format!("{base}/latest/meta-data/{path}"), &[]).await?;
            out.put(key, text.trim());
        }
    }
    out.done()
}

/// Alibaba Cloud: the instance's identity document, with a token where the machine wants one.
pub(super) async fn alibaba_ecs(args: &InstanceArgs, place: &Place) -> Result<Found, Missing> {
    let base = place.own("http://100.100.100.200");
    let life = [("x-aliyun-ecs-metadata-token-ttl-seconds", "21600")];
    let token = place.ask(Method::PUT, &format!("{base}/latest/api/token"), &life).await.unwrap_or_default();
    let headers: Vec<_> = match token.trim() {
        "" => Vec::new(),
        token => vec![("x-aliyun-ecs-metadata-token", token)],
    };
    let document = format!("{base}/latest/dynamic/instance-identity/document");
    let identity = place.json(&document, &headers).await?;
    let mut out = Collected::new(&args.resource_attributes);
    out.put("cloud.provider", "alibaba_cloud");
    out.put("cloud.platform", "alibaba_cloud_ecs");
    for (key, member) in [
        ("cloud.account.id", "owner-account-id"),
        ("cloud.region", "region-id"),
        ("cloud.availability_zone", "zone-id"),
        ("host.id", "instance-id"),
        ("host.image.id", "image-id"),
        ("host.type", "instance-type"),
    ] {
        out.member(key, &identity[member]);
    }
    if out.wants("host.name") {
        let name = place.get(&format!("{base}/latest/meta-data/hostname"), &headers).await?;
        out.put("host.name", name.trim());
    }
    out.done()
}
