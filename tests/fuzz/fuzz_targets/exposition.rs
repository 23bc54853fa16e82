//! Any body as any exposition format: no panic, no endless loop, and a prediction changes nothing.
#![cfg_attr(feature = "libfuzzer", no_main)]

use signal::LabelsBuilder;
use wire::exposition::{Event, Format, NativeHistograms, Options, Parser, lint, parse_series};

fn read(format: Format, body: &[u8], options: Options, expected: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut parser = Parser::new(format, body, options);
    let (mut raws, mut builder) = (Vec::new(), LabelsBuilder::new());
    loop {
        let kind = parser.kind();
        let expected = expected.get(raws.len()).map_or(&[][..], Vec::as_slice);
        let Ok(Some(event)) = parser.next(expected) else { return raws };
        if let Event::Sample(sample) = event {
            let _ = parse_series(format, sample.raw, kind, &mut builder);
            if let Some(exemplar) = &sample.exemplar {
                let _ = exemplar.parse_labels(&mut builder);
            }
            raws.push(sample.raw.to_vec());
        }
    }
}

fuzz::target!(|input: (u8, &[u8])| {
    let (choice, body) = input;
    let format =
        [Format::PrometheusText, Format::OpenMetricsText, Format::PrometheusProto][usize::from(choice % 3)];
    let options = Options { created_as_start: choice & 0x40 != 0, native_histograms: NativeHistograms::Both };
    let raws = read(format, body, options, &[]);
    assert_eq!(raws, read(format, body, options, &raws));
    if format == Format::OpenMetricsText {
        let _ = lint::lint(body);
    }
});
