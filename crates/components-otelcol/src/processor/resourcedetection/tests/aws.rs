//! Amazon's clouds: their metadata services, variables and files.

use super::*;

#[tokio::test]
async fn amazons_services_are_asked_and_variables_and_files_of_its_other_clouds_read() {
    let identity = r#"{"accountId":"1","availabilityZone":"eu-1a","region":"eu-1","instanceId":"i-1","imageId":"ami","instanceType":"t3"}"#;
    let pages = [
        ("/latest/api/token", "secret"),
        ("/latest/dynamic/instance-identity/document", identity),
        ("/latest/meta-data/hostname", "ip-1.ec2"),
        ("/latest/meta-data/tags/instance", "Name\nteam"),
        ("/latest/meta-data/tags/instance/team", "shop"),
        (
            "/meta",
            r#"{"LogDriver":"awslogs","LogOptions":{"awslogs-group":"g","awslogs-stream":"s","awslogs-region":"eu-1"}}"#,
        ),
        (
            "/meta/task",
            r#"{"Cluster":"c","TaskARN":"arn:aws:ecs:eu-1:7:task/c/abc","Family":"f","Revision":"3","AvailabilityZone":"eu-1b","LaunchType":"FARGATE"}"#,
        ),
    ];
    let env = [
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "BASE/"),
        ("ECS_CONTAINER_METADATA_URI_V4", "BASE/meta"),
        ("AWS_LAMBDA_FUNCTION_NAME", "fn"),
        ("AWS_REGION", "eu-1"),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "stream"),
    ];
    let conf = r#"{"deployment_id":23,"environment_name":"prod","version_label":"v9"}"#;
    let files = [("var/elasticbeanstalk/xray/environment.conf", conf)];
    let fake = Fake::new(&env, &files, &pages).await;
    let ec2 = "detectors = [\"ec2\"]\nec2 {\ntags = [\"^te\"]\ntags_from_imds = true\n}";
    assert_eq!(
        fake.found(ec2).await.expect("found"),
        [
            "cloud.account.id=1",
            "cloud.availability_zone=eu-1a",
            "cloud.platform=aws_ec2",
            "cloud.provider=aws",
            "cloud.region=eu-1",
            "ec2.tag.team=shop",
            "host.id=i-1",
            "host.image.id=ami",
            "host.name=ip-1.ec2",
            "host.type=t3",
        ]
    );
    let asked = fake.backend.all();
    assert_eq!(
        (asked[0].method.as_str(), asked[1].headers["x-aws-ec2-metadata-token"].as_str()),
        ("PUT", "secret")
    );
    let ecs = fake.found("detectors = [\"ecs\"]").await.expect("found");
    for line in [
        "aws.ecs.cluster.arn=arn:aws:ecs:eu-1:7:cluster/c",
        "aws.ecs.launchtype=fargate",
        "aws.ecs.task.id=abc",
        "aws.log.group.arns=[\"arn:aws:logs:eu-1:7:log-group:g\"]",
        "aws.log.stream.arns=[\"arn:aws:logs:eu-1:7:log-group:g:log-stream:s\"]",
        "cloud.account.id=7",
    ] {
        assert!(ecs.contains(&line.to_string()), "{line} in {ecs:?}");
    }
    assert_eq!(
        fake.found("detectors = [\"elasticbeanstalk\"]").await.expect("found"),
        [
            "cloud.platform=aws_elastic_beanstalk",
            "cloud.provider=aws",
            "deployment.environment=prod",
            "service.instance.id=23",
            "service.version=v9",
        ]
    );
    assert_eq!(
        fake.found("detectors = [\"lambda\"]").await.expect("found"),
        [
            "aws.log.stream.names=[\"stream\"]",
            "cloud.platform=aws_lambda",
            "cloud.provider=aws",
            "cloud.region=eu-1",
            "faas.instance=stream",
            "faas.name=fn",
        ]
    );
}
