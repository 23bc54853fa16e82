//! The arguments: a block a detector, and in it a switch an attribute.

use component::Arguments;
use component::eval::Secret;

use super::detect::Switches;
use crate::exporter::args::ClientTls;

/// Whether an attribute is set.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct Switch {
    /// Set it.
    pub enabled: bool,
}

fn on() -> Switch {
    Switch { enabled: true }
}

fn off() -> Switch {
    Switch { enabled: false }
}

/// The attributes of a detector with their defaults.
macro_rules! attributes {
    ($($name:ident { $($field:ident = $key:literal $default:ident,)* })*) => {$(
        /// What the detector sets.
        #[derive(Clone, Debug, PartialEq, Arguments)]
        pub struct $name {
            $(
                /// Whether the attribute is set.
                #[arg(block, name = $key, default = $default())]
                pub $field: Switch,
            )*
        }

        impl Switches for $name {
            fn wants(&self, key: &str) -> bool {
                match key {
                    $($key => self.$field.enabled,)*
                    _ => true,
                }
            }
        }
    )*};
}

/// A detector that has nothing to say but which attributes it sets.
macro_rules! plain {
    ($($name:ident: $attributes:ident,)*) => {$(
        /// What the detector sets.
        #[derive(Clone, Debug, PartialEq, Arguments)]
        pub struct $name {
            /// Which attributes are set.
            #[arg(block)]
            pub resource_attributes: $attributes,
        }
    )*};
}

attributes! {
    Ec2Attributes {
        account = "cloud.account.id" on,
        zone = "cloud.availability_zone" on,
        platform = "cloud.platform" on,
        provider = "cloud.provider" on,
        region = "cloud.region" on,
        host_id = "host.id" on,
        image = "host.image.id" on,
        host_name = "host.name" on,
        host_type = "host.type" on,
    }
    EcsAttributes {
        cluster = "aws.ecs.cluster.arn" on,
        launch_type = "aws.ecs.launchtype" on,
        task = "aws.ecs.task.arn" on,
        family = "aws.ecs.task.family" on,
        task_id = "aws.ecs.task.id" on,
        revision = "aws.ecs.task.revision" on,
        group_arns = "aws.log.group.arns" on,
        group_names = "aws.log.group.names" on,
        stream_arns = "aws.log.stream.arns" on,
        stream_names = "aws.log.stream.names" on,
        account = "cloud.account.id" on,
        zone = "cloud.availability_zone" on,
        platform = "cloud.platform" on,
        provider = "cloud.provider" on,
        region = "cloud.region" on,
    }
    BeanstalkAttributes {
        platform = "cloud.platform" on,
        provider = "cloud.provider" on,
        environment = "deployment.environment" on,
        instance = "service.instance.id" on,
        version = "service.version" on,
    }
    LambdaAttributes {
        group_names = "aws.log.group.names" on,
        stream_names = "aws.log.stream.names" on,
        platform = "cloud.platform" on,
        provider = "cloud.provider" on,
        region = "cloud.region" on,
        instance = "faas.instance" on,
        memory = "faas.max_memory" on,
        name = "faas.name" on,
        version = "faas.version" on,
    }
    AzureAttributes {
        group = "azure.resourcegroup.name" on,
        vm_name = "azure.vm.name" on,
        scale_set = "azure.vm.scaleset.name" on,
        vm_size = "azure.vm.size" on,
        account = "cloud.account.id" on,
        platform = "cloud.platform" on,
        provider = "cloud.provider" on,
        region = "cloud.region" on,
        zone = "cloud.availability_zone" on,
        host_id = "host.id" on,
        host_name = "host.name" on,
    }
    AksAttributes {
        platform = "cloud.platform" on,
        provider = "cloud.provider" on,
        cluster = "k8s.cluster.name" off,
    }
    ConsulAttributes {
        region = "cloud.region" on,
        host_id = "host.id" on,
        host_name = "host.name" on,
    }
    DockerAttributes {
        host_name = "host.name" on,
        os_type = "os.type" on,
    }
    HostAttributes {
        provider = "cloud.provider" on,
        region = "cloud.region" on,
        host_id = "host.id" on,
        host_name = "host.name" on,
    }
    HetznerAttributes {
        zone = "cloud.availability_zone" on,
        provider = "cloud.provider" on,
        region = "cloud.region" on,
        host_id = "host.id" on,
        host_name = "host.name" on,
    }
    EksAttributes {
        account = "cloud.account.id" off,
        platform = "cloud.platform" on,
        provider = "cloud.provider" on,
        cluster = "k8s.cluster.name" off,
    }
    OpenShiftAttributes {
        platform = "cloud.platform" on,
        provider = "cloud.provider" on,
        region = "cloud.region" on,
        cluster = "k8s.cluster.name" on,
    }
    KubernetesNodeAttributes {
        name = "k8s.node.name" on,
        uid = "k8s.node.uid" on,
    }
    KubeadmAttributes {
        name = "k8s.cluster.name" on,
        uid = "k8s.cluster.uid" off,
    }
    NovaAttributes {
        platform = "cloud.platform" on,
        provider = "cloud.provider" on,
        region = "cloud.region" on,
        zone = "cloud.availability_zone" on,
        host_id = "host.id" on,
        host_name = "host.name" on,
        host_type = "host.type" on,
    }
    OracleAttributes {
        platform = "cloud.platform" on,
        provider = "cloud.provider" on,
        region = "cloud.region" on,
        zone = "cloud.availability_zone" on,
        host_id = "host.id" on,
        host_name = "host.name" on,
        host_type = "host.type" on,
        cluster = "k8s.cluster.name" on,
        realm = "oracle_cloud.realm" on,
    }
    ScalewayAttributes {
        account = "cloud.account.id" on,
        zone = "cloud.availability_zone" on,
        platform = "cloud.platform" on,
        provider = "cloud.provider" on,
        region = "cloud.region" on,
        host_id = "host.id" on,
        image = "host.image.id" on,
        image_name = "host.image.name" on,
        host_name = "host.name" on,
        host_type = "host.type" on,
    }
    GcpAttributes {
        account = "cloud.account.id" on,
        zone = "cloud.availability_zone" on,
        platform = "cloud.platform" on,
        provider = "cloud.provider" on,
        region = "cloud.region" on,
        faas_id = "faas.id" on,
        faas_instance = "faas.instance" on,
        faas_name = "faas.name" on,
        faas_version = "faas.version" on,
        execution = "gcp.cloud_run.job.execution" on,
        task_index = "gcp.cloud_run.job.task_index" on,
        instance_hostname = "gcp.gce.instance.hostname" off,
        instance_name = "gcp.gce.instance.name" off,
        manager_name = "gcp.gce.instance.group_manager.name" on,
        manager_region = "gcp.gce.instance.group_manager.region" on,
        manager_zone = "gcp.gce.instance.group_manager.zone" on,
        host_id = "host.id" on,
        host_name = "host.name" on,
        host_type = "host.type" on,
        cluster = "k8s.cluster.name" on,
    }
    HerokuAttributes {
        provider = "cloud.provider" on,
        app = "heroku.app.id" on,
        dyno = "heroku.dyno.id" on,
        commit = "heroku.release.commit" on,
        created = "heroku.release.creation_timestamp" on,
        instance = "service.instance.id" on,
        name = "service.name" on,
        version = "service.version" on,
    }
    SystemAttributes {
        arch = "host.arch" off,
        cache = "host.cpu.cache.l2.size" off,
        family = "host.cpu.family" off,
        model_id = "host.cpu.model.id" off,
        model_name = "host.cpu.model.name" off,
        stepping = "host.cpu.stepping" off,
        vendor = "host.cpu.vendor.id" off,
        host_id = "host.id" off,
        interface = "host.interface" off,
        ip = "host.ip" off,
        mac = "host.mac" off,
        host_name = "host.name" on,
        build = "os.build.id" off,
        description = "os.description" off,
        os_name = "os.name" off,
        os_type = "os.type" on,
        os_version = "os.version" off,
    }
}

plain! {
    AkamaiArgs: HostAttributes,
    EcsArgs: EcsAttributes,
    OracleArgs: OracleAttributes,
    ScalewayArgs: ScalewayAttributes,
    BeanstalkArgs: BeanstalkAttributes,
    LambdaArgs: LambdaAttributes,
    AksArgs: AksAttributes,
    DockerArgs: DockerAttributes,
    DigitalOceanArgs: HostAttributes,
    GcpArgs: GcpAttributes,
    HerokuArgs: HerokuAttributes,
    HetznerArgs: HetznerAttributes,
}

/// Amazon EC2.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct Ec2Args {
    /// RE2 expressions of tags that become attributes; needs `tags_from_imds`.
    #[arg(default)]
    pub tags: Vec<String>,
    /// How often the metadata are asked for at most.
    #[arg(default = 3)]
    pub max_attempts: i64,
    /// The longest wait between two attempts.
    #[arg(default = std::time::Duration::from_secs(20))]
    pub max_backoff: std::time::Duration,
    /// End the component where there are no metadata.
    #[arg(default)]
    pub fail_on_missing_metadata: bool,
    /// Take tags from the instance's metadata instead of from the EC2 API.
    #[arg(default)]
    pub tags_from_imds: bool,
    /// Which attributes are set.
    #[arg(block)]
    pub resource_attributes: Ec2Attributes,
}

/// Microsoft Azure.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct AzureArgs {
    /// RE2 expressions of tags that become attributes.
    #[arg(default)]
    pub tags: Vec<String>,
    /// Which attributes are set.
    #[arg(block)]
    pub resource_attributes: AzureAttributes,
}

/// A Consul agent.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct ConsulArgs {
    /// Its address; by default `CONSUL_HTTP_ADDR` or `127.0.0.1:8500`.
    #[arg(default)]
    pub address: String,
    /// The data center that is asked.
    #[arg(default)]
    pub datacenter: String,
    /// A token; by default `CONSUL_HTTP_TOKEN`.
    #[arg(default = Secret::from(""))]
    pub token: Secret,
    /// The namespace that is asked.
    #[arg(default)]
    pub namespace: String,
    /// Keys of the node's metadata that become attributes.
    #[arg(default)]
    pub meta: Vec<String>,
    /// Which attributes are set.
    #[arg(block)]
    pub resource_attributes: ConsulAttributes,
}

/// The machine itself.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct SystemArgs {
    /// Where the host's name comes from, the first that has one: `dns`, `os`, `cname`, `lookup`.
    #[arg(default = vec!["dns".to_string(), "os".to_string()])]
    pub hostname_sources: Vec<String>,
    /// Which attributes are set.
    #[arg(block)]
    pub resource_attributes: SystemAttributes,
}

/// A cloud whose metadata may be required.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct HostArgs {
    /// End the component where there are no metadata.
    #[arg(default)]
    pub fail_on_missing_metadata: bool,
    /// Which attributes are set.
    #[arg(block)]
    pub resource_attributes: HostAttributes,
}

/// Dynatrace's OneAgent.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct DynatraceArgs {}

/// Amazon EKS.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct EksArgs {
    /// The variable that has the name of the node, whose labels may name the cluster.
    #[arg(default = "K8S_NODE_NAME")]
    pub node_from_env_var: String,
    /// Which attributes are set.
    #[arg(block)]
    pub resource_attributes: EksAttributes,
}

/// OpenShift.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct OpenShiftArgs {
    /// The address of the API; by default that of the pod's cluster.
    #[arg(default)]
    pub address: String,
    /// A token; by default that of the pod's service account.
    #[arg(default = Secret::from(""), code_type = "string")]
    pub token: Secret,
    /// TLS; by default the pod's authority is trusted.
    #[arg(block)]
    pub tls: ClientTls,
    /// Which attributes are set.
    #[arg(block)]
    pub resource_attributes: OpenShiftAttributes,
}

/// The node of a Kubernetes cluster.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct KubernetesNodeArgs {
    /// Who asks the API: `none`, `serviceAccount` or `kubeConfig`.
    #[arg(default = "none")]
    pub auth_type: String,
    /// The context of the kubeconfig; its current one otherwise.
    #[arg(default)]
    pub context: String,
    /// The variable that has the name of the node.
    #[arg(default = "K8S_NODE_NAME")]
    pub node_from_env_var: String,
    /// Which attributes are set.
    #[arg(block)]
    pub resource_attributes: KubernetesNodeAttributes,
}

/// A Kubernetes cluster that kubeadm has made.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct KubeadmArgs {
    /// Who asks the API: `none`, `serviceAccount` or `kubeConfig`.
    #[arg(default = "none")]
    pub auth_type: String,
    /// The context of the kubeconfig; its current one otherwise.
    #[arg(default)]
    pub context: String,
    /// Which attributes are set.
    #[arg(block)]
    pub resource_attributes: KubeadmAttributes,
}

/// OpenStack.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct NovaArgs {
    /// End the component where there are no metadata.
    #[arg(default)]
    pub fail_on_missing_metadata: bool,
    /// RE2 expressions of metadata that become attributes.
    #[arg(default)]
    pub labels: Vec<String>,
    /// Which attributes are set.
    #[arg(block)]
    pub resource_attributes: NovaAttributes,
}

/// A cloud that tells of an instance what EC2 does, and whose metadata may be required.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct InstanceArgs {
    /// End the component where there are no metadata.
    #[arg(default)]
    pub fail_on_missing_metadata: bool,
    /// Which attributes are set.
    #[arg(block)]
    pub resource_attributes: Ec2Attributes,
}
