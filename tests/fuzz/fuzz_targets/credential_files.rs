//! Any text as a shared file of AWS and as lines of `htpasswd`: no panic, a value is found again where it is written
//! anew, and a password that is stored as it is opens.
#![cfg_attr(feature = "libfuzzer", no_main)]

use components_otelcol::auth::basic;

fuzz::target!(|input: (&str, &str, &str)| {
    let (text, name, key) = input;
    net::sign::read_arbitrary(text, name, key);
    net::sign::read_arbitrary(text, "default", "aws_access_key_id");
    basic::read_arbitrary(text, name, key);
});
