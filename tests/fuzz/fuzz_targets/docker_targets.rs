//! Any bytes as what a Docker engine says about containers and networks: targets are made of it without a panic.
#![cfg_attr(feature = "libfuzzer", no_main)]

use components_discovery::docker::read_arbitrary;

fuzz::target!(|input: (&[u8], &[u8])| {
    let (networks, containers) = input;
    read_arbitrary(containers, networks);
});
