//! The other clouds: their metadata services and what they tell of machines.

use super::*;

#[tokio::test]
async fn the_metadata_of_other_clouds_are_asked() {
    let azure = r#"{"location":"west","name":"vm","vmId":"id","vmSize":"B1","subscriptionId":"sub","resourceGroupName":"MC_rg_cluster_west","osProfile":{"computerName":"host"},"tagsList":[{"name":"team","value":"shop"},{"name":"x","value":"y"}]}"#;
    let gcp = "/computeMetadata/v1";
    let pages: Vec<(String, &str)> = vec![
        ("/metadata/instance/compute?api-version=2020-09-01&format=json".into(), azure),
        (format!("{gcp}/project/project-id"), "proj"),
        (format!("{gcp}/instance/zone"), "projects/1/zones/us-c1-a"),
        (format!("{gcp}/instance/region"), "projects/1/regions/us-c1"),
        (format!("{gcp}/instance/machine-type"), "projects/1/machineTypes/e2"),
        (format!("{gcp}/instance/id"), "42"),
        (format!("{gcp}/instance/name"), "inst"),
        (
            format!("{gcp}/instance/attributes/created-by"),
            "projects/1/zones/us-c1-a/instanceGroupManagers/mig",
        ),
        (format!("{gcp}/instance/attributes/cluster-name"), "gke"),
        (format!("{gcp}/instance/attributes/cluster-location"), "us-c1"),
        (
            "/v1/agent/self?dc=d".into(),
            r#"{"Config":{"NodeName":"n","Datacenter":"d","NodeID":"u"},"Meta":{"rack":"r1","no":"x"}}"#,
        ),
        ("/metadata/v1.json".into(), r#"{"droplet_id":7,"hostname":"d1","region":"fra1"}"#),
        ("/hetzner/v1/metadata/instance-id".into(), "9\n"),
        ("/hetzner/v1/metadata/hostname".into(), "h1"),
        ("/hetzner/v1/metadata/region".into(), "eu-central"),
        ("/hetzner/v1/metadata/availability-zone".into(), "fsn1-dc14"),
        ("/v1.json".into(), r#"{"hostname":"v1","instance-v2-id":"vid","region":{"regioncode":"EWR"}}"#),
        ("/info".into(), r#"{"Name":"dock","OSType":"Linux"}"#),
        ("/v1.43/info".into(), r#"{"Name":"dock","OSType":"Linux"}"#),
        ("/version".into(), r#"{"ApiVersion":"1.43","MinAPIVersion":"1.24"}"#),
    ];
    let pages: Vec<_> = pages.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    let dynatrace = "dt.entity.host=HOST-1\nhost.name=dt\nother=x\n";
    let files = [("var/lib/dynatrace/enrichment/dt_host_metadata.properties", dynatrace)];
    let consul =
        "detectors = [\"consul\"]\nconsul {\naddress = \"ADDR\"\ndatacenter = \"d\"\nmeta = [\"rack\"]\n}";
    let gce: &[&str] = &[
        "cloud.account.id=proj",
        "cloud.availability_zone=us-c1-a",
        "cloud.platform=gcp_compute_engine",
        "cloud.provider=gcp",
        "cloud.region=us-c1",
        "gcp.gce.instance.group_manager.name=mig",
        "gcp.gce.instance.group_manager.zone=us-c1-a",
        "host.id=42",
        "host.name=inst",
        "host.type=projects/1/machineTypes/e2",
    ];
    /// Arguments, the environment, what is found.
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [&'a str]);
    let cases: [Case<'_>; 12] = [
        (
            "detectors = [\"azure\"]\nazure { tags = [\"^te\"] }",
            &[],
            &[
                "azure.resourcegroup.name=MC_rg_cluster_west",
                "azure.tag.team=shop",
                "azure.vm.name=vm",
                "azure.vm.size=B1",
                "cloud.account.id=sub",
                "cloud.platform=azure_vm",
                "cloud.provider=azure",
                "cloud.region=west",
                "host.id=id",
                "host.name=host",
            ],
        ),
        (
            "detectors = [\"aks\"]\naks { resource_attributes { k8s.cluster.name { enabled = true } } }",
            &[("KUBERNETES_SERVICE_HOST", "x")],
            &["cloud.platform=azure_aks", "cloud.provider=azure", "k8s.cluster.name=cluster"],
        ),
        ("detectors = [\"aks\"]", &[], &[]),
        ("detectors = [\"gcp\"]", &[], gce),
        (
            "detectors = [\"gcp\"]",
            &[("KUBERNETES_SERVICE_HOST", "x")],
            &[
                "cloud.account.id=proj",
                "cloud.platform=gcp_kubernetes_engine",
                "cloud.provider=gcp",
                "cloud.region=us-c1",
                "host.id=42",
                "k8s.cluster.name=gke",
            ],
        ),
        (
            "detectors = [\"gcp\"]",
            &[("K_SERVICE", "svc"), ("K_REVISION", "r2")],
            &[
                "cloud.account.id=proj",
                "cloud.platform=gcp_cloud_run",
                "cloud.provider=gcp",
                "cloud.region=us-c1",
                "faas.instance=42",
                "faas.name=svc",
                "faas.version=r2",
            ],
        ),
        (consul, &[], &["cloud.region=d", "host.id=u", "host.name=n", "rack=r1"]),
        (
            "detectors = [\"heroku\"]",
            &[("HEROKU_DYNO_ID", "dyno"), ("HEROKU_APP_NAME", "app")],
            &["cloud.provider=heroku", "heroku.dyno.id=dyno", "service.instance.id=dyno", "service.name=app"],
        ),
        (
            "detectors = [\"digitalocean\"]",
            &[],
            &["cloud.provider=digitalocean", "cloud.region=fra1", "host.id=7", "host.name=d1"],
        ),
        (
            "detectors = [\"hetzner\", \"upcloud\"]",
            &[],
            &[
                "cloud.availability_zone=fsn1-dc14",
                "cloud.provider=hetzner",
                "cloud.region=eu-central",
                "host.id=9",
                "host.name=h1",
            ],
        ),
        (
            "detectors = [\"vultr\"]",
            &[],
            &["cloud.provider=vultr", "cloud.region=ewr", "host.id=vid", "host.name=v1"],
        ),
        // The first detector's word counts.
        (
            "detectors = [\"docker\", \"dynatrace\"]",
            &[],
            &["dt.entity.host=HOST-1", "host.name=dock", "os.type=linux"],
        ),
    ];
    for (lines, env, expected) in cases {
        let fake = Fake::new(env, &files, &pages).await;
        let lines = lines.replace("ADDR", &fake.backend.base());
        assert_eq!(fake.found(&lines).await.expect("found"), expected, "{lines} {env:?}");
    }
}

/// Where a pod finds its service account.

#[tokio::test]
async fn clouds_tell_of_their_machines() {
    let akamai = r#"{"id":77,"label":"l1","region":"eu-west","type":"g6"}"#;
    let nova = r#"{"uuid":"u","hostname":"h1","name":"n","availability_zone":"az","project_id":"p","meta":{"team":"shop","other":"x"}}"#;
    let oracle = r#"{"id":"ocid1","displayName":"d","shape":"VM.E4","availabilityDomain":"AD-1","canonicalRegionName":"us-phoenix-1","regionInfo":{"realmKey":"oc1"},"metadata":{"oke-cluster-display-name":"oke"}}"#;
    let scaleway = r#"{"id":"s-1","name":"n","commercial_type":"DEV1","organization":"o","location":{"zone_id":"fr-par-1"},"image":{"id":"i","name":"Debian"}}"#;
    let alibaba = r#"{"owner-account-id":"1","region-id":"cn-h","zone-id":"cn-h-a","instance-id":"i-1","image-id":"img","instance-type":"ecs.g6"}"#;
    let tencent = "/latest/meta-data";
    let pages = [
        ("/v1/token".to_string(), "tok"),
        ("/v1/instance".into(), akamai),
        ("/openstack/latest/meta_data.json".into(), nova),
        (format!("{tencent}/instance-type"), "m1.small"),
        ("/opc/v2/instance/".into(), oracle),
        ("/conf?format=json".into(), scaleway),
        (format!("{tencent}/app-id"), "125"),
        (format!("{tencent}/placement/region"), "ap-g"),
        (format!("{tencent}/placement/zone"), "ap-g-1"),
        (format!("{tencent}/instance-id"), "ins-1"),
        (format!("{tencent}/instance/image-id"), "img-1"),
        (format!("{tencent}/instance-name"), "name"),
        (format!("{tencent}/instance/instance-type"), "S5"),
        ("/latest/api/token".into(), "tok"),
        ("/latest/dynamic/instance-identity/document".into(), alibaba),
        (format!("{tencent}/hostname"), "host-a"),
    ];
    let pages: Vec<_> = pages.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    let fake = Fake::new(&[], &[], &pages).await;
    let cases: [(&str, &[&str]); 7] = [
        (
            "detectors = [\"akamai\"]",
            &["cloud.provider=akamai_cloud", "cloud.region=eu-west", "host.id=77", "host.name=l1"],
        ),
        (
            "detectors = [\"nova\"]\nnova { labels = [\"^te\"] }",
            &[
                "cloud.availability_zone=az",
                "cloud.platform=openstack_nova",
                "cloud.provider=openstack",
                "host.id=u",
                "host.name=h1",
                "host.type=m1.small",
                "openstack.nova.meta.team=shop",
            ],
        ),
        (
            "detectors = [\"oraclecloud\"]",
            &[
                "cloud.availability_zone=AD-1",
                "cloud.platform=oracle_cloud_oke",
                "cloud.provider=oracle_cloud",
                "cloud.region=us-phoenix-1",
                "host.id=ocid1",
                "host.name=d",
                "host.type=VM.E4",
                "k8s.cluster.name=oke",
                "oracle_cloud.realm=oc1",
            ],
        ),
        (
            "detectors = [\"scaleway\"]",
            &[
                "cloud.account.id=o",
                "cloud.availability_zone=fr-par-1",
                "cloud.platform=scaleway_cloud_compute",
                "cloud.provider=scaleway_cloud",
                "cloud.region=fr-par",
                "host.id=s-1",
                "host.image.id=i",
                "host.image.name=Debian",
                "host.name=n",
                "host.type=DEV1",
            ],
        ),
        (
            "detectors = [\"tencent_cvm\"]",
            &[
                "cloud.account.id=125",
                "cloud.availability_zone=ap-g-1",
                "cloud.platform=tencent_cloud_cvm",
                "cloud.provider=tencent_cloud",
                "cloud.region=ap-g",
                "host.id=ins-1",
                "host.image.id=img-1",
                "host.name=name",
                "host.type=S5",
            ],
        ),
        (
            "detectors = [\"alibaba_ecs\"]",
            &[
                "cloud.account.id=1",
                "cloud.availability_zone=cn-h-a",
                "cloud.platform=alibaba_cloud_ecs",
                "cloud.provider=alibaba_cloud",
                "cloud.region=cn-h",
                "host.id=i-1",
                "host.image.id=img",
                "host.name=host-a",
                "host.type=ecs.g6",
            ],
        ),
        (
            "detectors = [\"akamai\"]\nakamai { resource_attributes {\nhost.id { enabled = false }\nhost.name { enabled = false }\n} }",
            &["cloud.provider=akamai_cloud", "cloud.region=eu-west"],
        ),
    ];
    for (lines, expected) in cases {
        assert_eq!(fake.found(lines).await.expect("found"), expected, "{lines}");
    }
    for (path, header, value) in [
        ("/v1/instance", "metadata-token", "tok"),
        ("/opc/v2/instance/", "authorization", "Bearer Oracle"),
        ("/latest/dynamic/instance-identity/document", "x-aliyun-ecs-metadata-token", "tok"),
    ] {
        let asked = fake.backend.all().into_iter().find(|posted| posted.path == path).expect(path);
        assert_eq!(asked.headers.get(header).map(String::as_str), Some(value), "{path}");
    }
    let nobody = Fake::new(&[], &[], &[]).await;
    for block in ["nova", "tencent_cvm", "alibaba_ecs"] {
        let lines = format!("detectors = [{block:?}]");
        assert_eq!(nobody.found(&lines).await, Ok(vec![]), "{block}");
        let required = format!("{lines}\n{block} {{ fail_on_missing_metadata = true }}");
        assert!(nobody.found(&required).await.expect_err("required").contains(block));
    }
}
