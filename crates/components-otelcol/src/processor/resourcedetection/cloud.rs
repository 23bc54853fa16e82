//! The other clouds.

use serde_json::Value;

use super::args::{
    AksArgs, AzureArgs, ConsulArgs, DigitalOceanArgs, GcpArgs, HerokuArgs, HetznerArgs, HostArgs,
};
use super::detect::{Collected, Everything, Found, Missing, Place, patterns};

/// The virtual machine as Azure's metadata service describes it.
async fn azure_compute(place: &Place) -> Result<Value, Missing> {
    let url = format!("{}/metadata/instance/compute?api-version=2020-09-01&format=json", place.metadata);
    place.json(&url, &[("metadata", "True")]).await
}

pub(super) async fn azure(args: &AzureArgs, place: &Place) -> Result<Found, Missing> {
    let compute = azure_compute(place).await?;
    let mut out = Collected::new(&args.resource_attributes);
    out.put("cloud.provider", "azure");
    out.put("cloud.platform", "azure_vm");
    out.member("host.name", &compute["osProfile"]["computerName"]);
    for (key, member) in [
        ("cloud.region", "location"),
        ("host.id", "vmId"),
        ("cloud.account.id", "subscriptionId"),
        ("cloud.availability_zone", "zone"),
        ("azure.vm.name", "name"),
        ("azure.vm.size", "vmSize"),
        ("azure.vm.scaleset.name", "vmScaleSetName"),
        ("azure.resourcegroup.name", "resourceGroupName"),
    ] {
        out.member(key, &compute[member]);
    }
    let wanted = patterns("azure.tags", &args.tags).map_err(Missing::failed)?;
    for tag in compute["tagsList"].as_array().into_iter().flatten() {
        let name = tag["name"].as_str().unwrap_or_default();
        if wanted.iter().any(|pattern| pattern.is_match(name)) {
            out.member(&format!("azure.tag.{name}"), &tag["value"]);
        }
    }
    out.done()
}

/// Azure Kubernetes Service.
pub(super) async fn aks(args: &AksArgs, place: &Place) -> Result<Found, Missing> {
    if place.env("KUBERNETES_SERVICE_HOST").is_none() {
        return Err(Missing::elsewhere("KUBERNETES_SERVICE_HOST is not set"));
    }
    let compute = azure_compute(place).await?;
    let mut out = Collected::new(&args.resource_attributes);
    out.put("cloud.provider", "azure");
    out.put("cloud.platform", "azure_aks");
    // The nodes' group is MC_<group>_<cluster>_<location>, unless it was given a name; then that is all there is.
    let group = compute["resourceGroupName"].as_str().unwrap_or_default();
    let parts: Vec<&str> = group.split('_').collect();
    match parts.as_slice() {
        [mc, _, cluster, _] if mc.eq_ignore_ascii_case("mc") => out.put("k8s.cluster.name", *cluster),
        _ => out.put("k8s.cluster.name", group),
    }
    out.done()
}

/// Google Cloud: Compute Engine, Kubernetes Engine, Cloud Run, Cloud Functions and App Engine.
pub(super) async fn gcp(args: &GcpArgs, place: &Place) -> Result<Found, Missing> {
    let base = place.env("GCE_METADATA_HOST").map(|host| format!("http://{host}"));
    let base = format!("{}/computeMetadata/v1", base.as_deref().unwrap_or(&place.metadata));
    let ask = |path: &'static str| {
        let url = format!("{base}/{path}");
        async move { place.get(&url, &[("metadata-flavor", "Google")]).await.map(|text| text.trim().to_string()) }
    };
    let last = |path: String| path.rsplit('/').next().unwrap_or_default().to_string();
    let mut out = Collected::new(&args.resource_attributes);
    out.put("cloud.provider", "gcp");
    out.put("cloud.account.id", ask("project/project-id").await?);
    let run = place.env("K_SERVICE");
    if place.env("KUBERNETES_SERVICE_HOST").is_some() {
        out.put("cloud.platform", "gcp_kubernetes_engine");
        out.put("k8s.cluster.name", ask("instance/attributes/cluster-name").await?);
        out.put("host.id", ask("instance/id").await?);
        let location = ask("instance/attributes/cluster-location").await?;
        // A zone has one part more than a region.
        let zonal = location.matches('-').count() == 2;
        out.put(if zonal { "cloud.availability_zone" } else { "cloud.region" }, location);
    } else if let Some(job) = place.env("CLOUD_RUN_JOB") {
        out.put("cloud.platform", "gcp_cloud_run");
        out.put("faas.name", job);
        out.put("cloud.region", last(ask("instance/region").await?));
        out.put("faas.instance", ask("instance/id").await?);
        out.put("gcp.cloud_run.job.execution", place.env("CLOUD_RUN_EXECUTION").unwrap_or_default());
        let index = place.env("CLOUD_RUN_TASK_INDEX").and_then(|index| index.parse().ok());
        index.into_iter().for_each(|index| out.int("gcp.cloud_run.job.task_index", index));
    } else if let Some(service) = run {
        let function = place.env("FUNCTION_TARGET").is_some();
        out.put("cloud.platform", if function { "gcp_cloud_functions" } else { "gcp_cloud_run" });
        out.put("faas.name", service);
        out.put("faas.version", place.env("K_REVISION").unwrap_or_default());
        out.put("faas.instance", ask("instance/id").await?);
        out.put("cloud.region", last(ask("instance/region").await?));
    } else if let Some(service) = place.env("GAE_SERVICE") {
        out.put("cloud.platform", "gcp_app_engine");
        out.put("faas.name", service);
        out.put("faas.version", place.env("GAE_VERSION").unwrap_or_default());
        out.put("faas.instance", place.env("GAE_INSTANCE").unwrap_or_default());
        place_of_zone(last(ask("instance/zone").await?), &mut out);
    } else {
        out.put("cloud.platform", "gcp_compute_engine");
        place_of_zone(last(ask("instance/zone").await?), &mut out);
        out.put("host.type", ask("instance/machine-type").await?);
        out.put("host.id", ask("instance/id").await?);
        let name = ask("instance/name").await?;
        out.put("host.name", name.as_str());
        out.put("gcp.gce.instance.name", name);
        if out.wants("gcp.gce.instance.hostname") {
            out.put("gcp.gce.instance.hostname", ask("instance/hostname").await?);
        }
        match ask("instance/attributes/created-by").await {
            Ok(creator) => manager(&creator, &mut out),
            Err(Missing::Elsewhere(_)) => {}
            Err(failed) => return Err(failed),
        }
    }
    out.done()
}

/// A zone is its region with one part more.
fn place_of_zone(zone: String, out: &mut Collected<'_>) {
    let region = zone.rsplit_once('-').map(|(region, _)| region.to_string()).unwrap_or_default();
    out.put("cloud.availability_zone", zone);
    out.put("cloud.region", region);
}

/// `projects/<n>/zones/<zone>/instanceGroupManagers/<name>`, or `regions/<region>` in it.
fn manager(creator: &str, out: &mut Collected<'_>) {
    let parts: Vec<&str> = creator.split('/').collect();
    if let ["projects", _, kind, place, "instanceGroupManagers", name] = parts.as_slice() {
        out.put("gcp.gce.instance.group_manager.name", *name);
        match *kind {
            "zones" => out.put("gcp.gce.instance.group_manager.zone", *place),
            "regions" => out.put("gcp.gce.instance.group_manager.region", *place),
            _ => {}
        }
    }
}

/// The Consul agent's own word on its node.
pub(super) async fn consul(args: &ConsulArgs, place: &Place) -> Result<Found, Missing> {
    let given = |text: &str| (!text.is_empty()).then(|| text.to_string());
    let address = given(&args.address).or_else(|| place.env("CONSUL_HTTP_ADDR"));
    let address = address.unwrap_or_else(|| "127.0.0.1:8500".into());
    let address = if address.contains("://") { address } else { format!("http://{address}") };
    let mut url: net::Url = format!("{}/v1/agent/self", address.trim_end_matches('/'))
        .parse()
        .map_err(|error| Missing::failed(format!("consul.address: {error}")))?;
    for (name, value) in [("dc", &args.datacenter), ("ns", &args.namespace)] {
        if !value.is_empty() {
            url.query_pairs_mut().append_pair(name, value);
        }
    }
    let token = given(args.token.reveal()).or_else(|| place.env("CONSUL_HTTP_TOKEN"));
    let headers: Vec<_> = token.as_deref().map(|token| ("x-consul-token", token)).into_iter().collect();
    let agent = place.json(url.as_str(), &headers).await?;
    let mut out = Collected::new(&args.resource_attributes);
    out.member("host.name", &agent["Config"]["NodeName"]);
    out.member("cloud.region", &agent["Config"]["Datacenter"]);
    out.member("host.id", &agent["Config"]["NodeID"]);
    for key in &args.meta {
        out.member(key, &agent["Meta"][key.as_str()]);
    }
    out.done()
}

/// Heroku: what dyno metadata put into the environment.
pub(super) async fn heroku(args: &HerokuArgs, place: &Place) -> Result<Found, Missing> {
    let Some(dyno) = place.env("HEROKU_DYNO_ID") else {
        return Err(Missing::elsewhere("HEROKU_DYNO_ID is not set"));
    };
    let mut out = Collected::new(&args.resource_attributes);
    out.put("cloud.provider", "heroku");
    out.put("heroku.dyno.id", dyno.as_str());
    out.put("service.instance.id", dyno);
    for (key, variable) in [
        ("heroku.app.id", "HEROKU_APP_ID"),
        ("service.name", "HEROKU_APP_NAME"),
        ("heroku.release.creation_timestamp", "HEROKU_RELEASE_CREATED_AT"),
        ("service.version", "HEROKU_RELEASE_VERSION"),
        ("heroku.release.commit", "HEROKU_SLUG_COMMIT"),
    ] {
        out.put(key, place.env(variable).unwrap_or_default());
    }
    out.done()
}

pub(super) async fn digitalocean(args: &DigitalOceanArgs, place: &Place) -> Result<Found, Missing> {
    let droplet = place.json(&format!("{}/metadata/v1.json", place.metadata), &[]).await?;
    let mut out = Collected::new(&args.resource_attributes);
    out.put("cloud.provider", "digitalocean");
    out.member("host.id", &droplet["droplet_id"]);
    out.member("host.name", &droplet["hostname"]);
    out.member("cloud.region", &droplet["region"]);
    out.done()
}

pub(super) async fn hetzner(args: &HetznerArgs, place: &Place) -> Result<Found, Missing> {
    let mut out = Collected::new(&args.resource_attributes);
    out.put("cloud.provider", "hetzner");
    for (key, path) in [
        ("host.id", "instance-id"),
        ("host.name", "hostname"),
        ("cloud.region", "region"),
        ("cloud.availability_zone", "availability-zone"),
    ] {
        let text = place.get(&format!("{}/hetzner/v1/metadata/{path}", place.metadata), &[]).await?;
        out.put(key, text.trim());
    }
    out.done()
}

pub(super) async fn upcloud(args: &HostArgs, place: &Place) -> Result<Found, Missing> {
    let server = place.json(&format!("{}/metadata/v1.json", place.metadata), &[]).await?;
    if server["cloud_name"] != "upcloud" {
        return Err(Missing::elsewhere("the metadata are not UpCloud's"));
    }
    let mut out = Collected::new(&args.resource_attributes);
    out.put("cloud.provider", "upcloud");
    out.member("host.id", &server["instance_id"]);
    out.member("host.name", &server["hostname"]);
    out.member("cloud.region", &server["region"]);
    out.done()
}

pub(super) async fn vultr(args: &HostArgs, place: &Place) -> Result<Found, Missing> {
    let instance = place.json(&format!("{}/v1.json", place.metadata), &[]).await?;
    let mut out = Collected::new(&args.resource_attributes);
    out.put("cloud.provider", "vultr");
    out.member("host.id", &instance["instance-v2-id"]);
    out.member("host.name", &instance["hostname"]);
    out.put("cloud.region", instance["region"]["regioncode"].as_str().unwrap_or_default().to_lowercase());
    out.done()
}

/// Dynatrace: what its OneAgent leaves on the host.
pub(super) async fn dynatrace(place: &Place) -> Result<Found, Missing> {
    let file = place.file("var/lib/dynatrace/enrichment/dt_host_metadata.properties");
    let text = file.map_err(|error| Missing::elsewhere(format!("dt_host_metadata.properties: {error}")))?;
    let mut out = Collected::new(&Everything);
    for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
        if ["host.name", "dt.entity.host", "dt.smartscape.host"].contains(&key.trim()) {
            out.put(key.trim(), value.trim());
        }
    }
    out.done()
}
