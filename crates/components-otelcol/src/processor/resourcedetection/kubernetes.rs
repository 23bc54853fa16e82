//! Clusters of Kubernetes, asked through its API: EKS, OpenShift, kubeadm, and the node of any.

use std::path::PathBuf;

use net::kubernetes::{Api, Cluster};
use serde_json::Value;

use super::args::{EksArgs, KubeadmArgs, KubernetesNodeArgs, OpenShiftArgs};
use super::aws::Instance;
use super::detect::{Collected, Found, Missing, Place};

/// Who may ask the API.
pub(super) const AUTH_TYPES: [&str; 3] = ["none", "serviceAccount", "kubeConfig"];

/// What the API says at a path. What is not there, or not to be seen, will not be there the next time either.
async fn ask(place: &Place, mut cluster: Cluster, path: &str) -> Result<Value, Missing> {
    cluster.address = place.own(&cluster.address).to_string();
    let api = Api::new(&cluster, &place.user_agent).map_err(|error| Missing::elsewhere(error.to_string()))?;
    api.get(path, &[]).await.map_err(|error| match error.status() {
        Some(status @ 400..=499) if status != 429 => Missing::elsewhere(format!("{path}: {error}")),
        _ => Missing::failed(format!("{path}: {error}")),
    })
}

fn in_pod(place: &Place) -> Result<Cluster, Missing> {
    Cluster::in_pod(&place.env, &place.root).map_err(Missing::elsewhere)
}

fn asked_as(auth_type: &str, context: &str, place: &Place) -> Result<Cluster, Missing> {
    match auth_type {
        "serviceAccount" => in_pod(place),
        "kubeConfig" => {
            let path = place
                .env("KUBECONFIG")
                .map(PathBuf::from)
                .or_else(|| place.env("HOME").map(|home| PathBuf::from(home).join(".kube/config")));
            let path = path.ok_or_else(|| Missing::elsewhere("neither KUBECONFIG nor HOME is set"))?;
            let shown = path.display();
            let text = std::fs::read_to_string(&path)
                .map_err(|error| Missing::elsewhere(format!("{shown}: {error}")))?;
            let folder = path.parent().unwrap_or(&path);
            Cluster::of_kubeconfig(&text, context, folder)
                .map_err(|error| Missing::elsewhere(format!("{shown}: {error}")))
        }
        _ => Cluster::without_account(&place.env).map_err(Missing::elsewhere),
    }
}

/// The name of the node, which a pod is told in a variable.
fn node_name(variable: &str, place: &Place) -> Result<String, Missing> {
    let help = "set it from spec.nodeName by the downward API";
    place.env(variable).ok_or_else(|| Missing::elsewhere(format!("{variable} is not set: {help}")))
}

/// EKS: a cluster whose version says so. Account and name are those of the node's EC2 instance.
pub(super) async fn eks(args: &EksArgs, place: &Place) -> Result<Found, Missing> {
    let cluster = in_pod(place)?;
    let version = ask(place, cluster.clone(), "/version").await?;
    if !version["gitVersion"].as_str().is_some_and(|version| version.contains("-eks-")) {
        return Err(Missing::elsewhere("the version of the cluster is not one of EKS"));
    }
    let mut out = Collected::new(&args.resource_attributes);
    out.put("cloud.provider", "aws");
    out.put("cloud.platform", "aws_eks");
    // Pods may be kept from the metadata service: then those two are not known.
    let wants_instance = out.wants("cloud.account.id") || out.wants("k8s.cluster.name");
    let instance = if wants_instance { Instance::open(place).await.ok() } else { None };
    if let Some(instance) = &instance
        && out.wants("cloud.account.id")
    {
        out.member("cloud.account.id", &instance.identity().await?["accountId"]);
    }
    if out.wants("k8s.cluster.name") {
        let mut name = None;
        for tag in ["eks:cluster-name", "aws:eks:cluster-name"] {
            if let (None, Some(instance)) = (&name, &instance) {
                name = instance.tag(tag).await.ok();
            }
        }
        if let (None, Ok(node)) = (&name, node_name(&args.node_from_env_var, place)) {
            let node = ask(place, cluster, &format!("/api/v1/nodes/{node}")).await?;
            let labels = &node["metadata"]["labels"];
            name = labels["alpha.eksctl.io/cluster-name"].as_str().map(str::to_string);
        }
        out.put("k8s.cluster.name", name.unwrap_or_default().trim());
    }
    out.done()
}

/// OpenShift: what it knows of the infrastructure below it.
pub(super) async fn openshift(args: &OpenShiftArgs, place: &Place) -> Result<Found, Missing> {
    let mut cluster = match in_pod(place) {
        Ok(pod) => pod,
        Err(_) if !args.address.is_empty() => Cluster::default(),
        Err(missing) => return Err(missing),
    };
    if !args.address.is_empty() {
        cluster.address.clone_from(&args.address);
    }
    if !args.token.is_empty() {
        cluster.client.bearer_token = args.token.clone();
        cluster.client.bearer_token_file = String::new();
    }
    let authority = std::mem::take(&mut cluster.client.tls_config.ca_file);
    (cluster.client.tls_config, cluster.tls) = (args.tls.config(), args.tls.extras());
    let tls = &mut cluster.client.tls_config;
    if tls.ca_file.is_empty() && tls.ca_pem.is_empty() && !args.tls.insecure {
        tls.ca_file = authority;
    }
    let path = "/apis/config.openshift.io/v1/infrastructures/cluster/status";
    let status = &ask(place, cluster, path).await?["status"];
    let below = &status["platformStatus"];
    let mut out = Collected::new(&args.resource_attributes);
    let (provider, platform, region) =
        match below["type"].as_str().unwrap_or_default().to_lowercase().as_str() {
            "aws" => ("aws", "aws_openshift", &below["aws"]["region"]),
            "azure" => ("azure", "azure_openshift", &below["azure"]["cloudName"]),
            "gcp" => ("gcp", "gcp_openshift", &below["gcp"]["region"]),
            "ibmcloud" => ("ibm_cloud", "ibm_cloud_openshift", &below["ibmcloud"]["location"]),
            "openstack" => ("", "", &below["openstack"]["cloudName"]),
            _ => ("", "", &Value::Null),
        };
    out.member("k8s.cluster.name", &status["infrastructureName"]);
    out.put("cloud.provider", provider);
    out.put("cloud.platform", platform);
    out.put("cloud.region", region.as_str().unwrap_or_default().to_lowercase());
    out.done()
}

/// The node on which the program runs.
pub(super) async fn kubernetes_node(args: &KubernetesNodeArgs, place: &Place) -> Result<Found, Missing> {
    let name = node_name(&args.node_from_env_var, place)?;
    let mut out = Collected::new(&args.resource_attributes);
    if out.wants("k8s.node.uid") {
        let cluster = asked_as(&args.auth_type, &args.context, place)?;
        let node = ask(place, cluster, &format!("/api/v1/nodes/{name}")).await?;
        out.member("k8s.node.uid", &node["metadata"]["uid"]);
    }
    out.put("k8s.node.name", name);
    out.done()
}

/// A cluster that kubeadm has made; its identity is that of the namespace `kube-system`, which every cluster has.
pub(super) async fn kubeadm(args: &KubeadmArgs, place: &Place) -> Result<Found, Missing> {
    let cluster = asked_as(&args.auth_type, &args.context, place)?;
    let mut out = Collected::new(&args.resource_attributes);
    if out.wants("k8s.cluster.name") {
        let path = "/api/v1/namespaces/kube-system/configmaps/kubeadm-config";
        let data = &ask(place, cluster.clone(), path).await?["data"];
        let configuration = data["ClusterConfiguration"].as_str().unwrap_or_default();
        let line = configuration.lines().find_map(|line| line.strip_prefix("clusterName:"));
        out.put("k8s.cluster.name", line.unwrap_or_default().trim().trim_matches(['"', '\'']));
    }
    if out.wants("k8s.cluster.uid") {
        let namespace = ask(place, cluster, "/api/v1/namespaces/kube-system").await?;
        out.member("k8s.cluster.uid", &namespace["metadata"]["uid"]);
    }
    out.done()
}
