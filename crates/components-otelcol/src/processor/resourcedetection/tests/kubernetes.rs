//! Clusters: their API, how they are told from others, files that lead to them.

use super::*;

const ACCOUNT: &str = "var/run/secrets/kubernetes.io/serviceaccount/token";
/// What every pod is told.
const POD: [(&str, &str); 3] =
    [("KUBERNETES_SERVICE_HOST", "10.0.0.1"), ("KUBERNETES_SERVICE_PORT", "443"), ("K8S_NODE_NAME", "n1")];

#[tokio::test]
async fn clusters_are_asked_through_their_api() {
    let node = r#"{"metadata":{"uid":"u-1","labels":{"alpha.eksctl.io/cluster-name":"shop"}}}"#;
    let openshift =
        r#"{"status":{"infrastructureName":"os-1","platformStatus":{"type":"AWS","aws":{"region":"EU-1"}}}}"#;
    let kubeadm = r#"{"data":{"ClusterConfiguration":"apiVersion: v1\nclusterName: \"lab\"\n"}}"#;
    let pages = [
        ("/version", r#"{"gitVersion":"v1.33.1-eks-abc"}"#),
        ("/api/v1/nodes/n1", node),
        ("/apis/config.openshift.io/v1/infrastructures/cluster/status", openshift),
        ("/api/v1/namespaces/kube-system/configmaps/kubeadm-config", kubeadm),
        ("/api/v1/namespaces/kube-system", r#"{"metadata":{"uid":"c-1"}}"#),
        ("/latest/api/token", "tok"),
        ("/latest/dynamic/instance-identity/document", r#"{"accountId":"77"}"#),
    ];
    let eks_all = "detectors = [\"eks\"]\neks { resource_attributes {\ncloud.account.id { enabled = true }\nk8s.cluster.name { enabled = true }\n} }";
    let kubeadm_all = "detectors = [\"kubeadm\"]\nkubeadm {\nauth_type = \"serviceAccount\"\nresource_attributes { k8s.cluster.uid { enabled = true } }\n}";
    let cases: [(&str, &[&str]); 7] = [
        ("detectors = [\"eks\"]", &["cloud.platform=aws_eks", "cloud.provider=aws"]),
        (
            eks_all,
            &["cloud.account.id=77", "cloud.platform=aws_eks", "cloud.provider=aws", "k8s.cluster.name=shop"],
        ),
        (
            "detectors = [\"openshift\"]",
            &[
                "cloud.platform=aws_openshift",
                "cloud.provider=aws",
                "cloud.region=eu-1",
                "k8s.cluster.name=os-1",
            ],
        ),
        ("detectors = [\"kubernetes_node\"]", &["k8s.node.name=n1", "k8s.node.uid=u-1"]),
        (
            "detectors = [\"kubernetes_node\"]\nkubernetes_node { resource_attributes { k8s.node.uid { enabled = false } } }",
            &["k8s.node.name=n1"],
        ),
        ("detectors = [\"kubeadm\"]", &["k8s.cluster.name=lab"]),
        (kubeadm_all, &["k8s.cluster.name=lab", "k8s.cluster.uid=c-1"]),
    ];
    let fake = Fake::new(&POD, &[(ACCOUNT, "sesame")], &pages).await;
    for (lines, expected) in cases {
        assert_eq!(fake.found(lines).await.expect("found"), expected, "{lines}");
    }
    // The service account asks, but for those whose auth_type is none.
    let with = |path: &str, token: Option<&str>| {
        let asked = fake.backend.all().into_iter().filter(|posted| posted.path == path);
        asked.filter(|posted| posted.headers.get("authorization").map(String::as_str) == token).count()
    };
    assert_eq!(with("/version", Some("Bearer sesame")), 2);
    assert_eq!(with("/api/v1/namespaces/kube-system", Some("Bearer sesame")), 1);
    assert_eq!(with("/api/v1/namespaces/kube-system/configmaps/kubeadm-config", None), 1);
    let own = "detectors = [\"openshift\"]\nopenshift {\naddress = \"https://api:6443\"\ntoken = \"mine\"\n}";
    assert_eq!(fake.found(own).await.expect("found").len(), 4);
    assert_eq!(with("/apis/config.openshift.io/v1/infrastructures/cluster/status", Some("Bearer mine")), 1);
}

#[tokio::test]
async fn a_cluster_is_told_from_others_and_a_kubeconfig_leads_to_it() {
    let plain = [("/version", r#"{"gitVersion":"v1.33.1"}"#)];
    let fake = Fake::new(&POD, &[(ACCOUNT, "t")], &plain).await;
    let required = "fail_on_missing_metadata = true\n";
    for (lines, why) in [
        ("detectors = [\"eks\"]", "is not one of EKS"),
        ("detectors = [\"openshift\"]", "404"),
        (
            "detectors = [\"kubernetes_node\"]\nkubernetes_node { node_from_env_var = \"NONE\" }",
            "NONE is not set",
        ),
    ] {
        let refused = fake.found(&format!("{required}{lines}")).await.expect_err(lines);
        assert!(refused.contains(why), "{lines}: {refused}");
    }
    let fake = Fake::new(&[], &[], &[]).await;
    for detector in ["eks", "openshift", "kubeadm"] {
        let lines = format!("{required}detectors = [{detector:?}]");
        let refused = fake.found(&lines).await.expect_err("no pod");
        assert!(
            refused.contains("service account") || refused.contains("does not run in a pod"),
            "{refused}"
        );
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("config");
    let config = "current-context: a\nclusters: [{name: c, cluster: {server: 'https://c'}}]\ncontexts: [{name: a, context: {cluster: c, user: u}}, {name: b, context: {cluster: c, user: v}}]\nusers: [{name: u, user: {token: one}}, {name: v, user: {token: two}}]\n";
    std::fs::write(&path, config).expect("written");
    let path = path.to_string_lossy().into_owned();
    let pages = [("/api/v1/nodes/n1", r#"{"metadata":{"uid":"u-1"}}"#)];
    let fake = Fake::new(&[("KUBECONFIG", &path), ("K8S_NODE_NAME", "n1")], &[], &pages).await;
    for (context, token) in [("", "Bearer one"), ("b", "Bearer two")] {
        let lines = format!(
            "detectors = [\"kubernetes_node\"]\nkubernetes_node {{\nauth_type = \"kubeConfig\"\ncontext = {context:?}\n}}"
        );
        assert_eq!(fake.found(&lines).await.expect("found"), ["k8s.node.name=n1", "k8s.node.uid=u-1"]);
        assert_eq!(
            fake.backend.all().last().map(|posted| posted.headers["authorization"].clone()),
            Some(token.into())
        );
    }
}
