//! Verifies a request, in a file as it came over the wire: verify FILE SECRET.

use std::{env, fs, process};

use http::{HeaderMap, HeaderName, HeaderValue};
use standardwebhooks::Webhook;

fn main() {
    let [_, file, secret] = &env::args().collect::<Vec<_>>()[..] else {
        panic!("verify FILE SECRET");
    };
    let raw = fs::read_to_string(file).expect("the request");
    let (head, body) = raw.split_once("\r\n\r\n").expect("a head and a body");
    let mut headers = HeaderMap::new();
    for line in head.split("\r\n").skip(1) {
        let (name, value) = line.split_once(": ").expect("a header");
        let name: HeaderName = name.parse().expect("a name");
        headers.insert(name, HeaderValue::from_str(value).expect("a value"));
    }
    let webhook = Webhook::new(secret).expect("a secret");
    if let Err(problem) = webhook.verify(body.as_bytes(), &headers) {
        eprintln!("{problem}");
        process::exit(1);
    }
}
