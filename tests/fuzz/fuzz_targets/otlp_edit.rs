//! Editing and taking apart OTLP requests as bytes: whatever passes the check can be edited, and what comes out
//! passes it, with as many items as are said to be in it.
#![cfg_attr(feature = "libfuzzer", no_main)]

use signal::otlp::{LogsSignal, MetricsSignal, OtlpRequest, TracesSignal};
use wire::otlp::view::Unclear;
use wire::otlp::{
    Around, AttributeList, Editor, Fate, Flat, Schematic, Splices, check, edit, partition, text_value,
};

/// Drops items of some lengths, and changes all attributes of the others.
struct Edits(u8);

impl Edits {
    fn attributes(&self, message: &[u8], number: u32, splices: &mut Splices) -> Result<(), Unclear> {
        let mut list = AttributeList::new(message, number)?;
        for at in list.places() {
            match (at as u8).wrapping_add(self.0) % 4 {
                0 => list.remove(at),
                1 => list.set(at, text_value(b"new").into()),
                2 => list.rename(at, b"key".as_slice().into()),
                _ => {}
            }
        }
        if self.0.is_multiple_of(2) {
            list.push(b"more".as_slice().into(), None);
        }
        list.write(splices);
        Ok(())
    }
}

impl Editor for Edits {
    fn resource(&mut self, resource: &[u8], splices: &mut Splices) -> Result<(), Unclear> {
        self.attributes(resource, 1, splices)
    }

    fn scope(&mut self, _: Around<'_>, scope: &[u8], splices: &mut Splices) -> Result<(), Unclear> {
        self.attributes(scope, 3, splices)
    }

    fn item(&mut self, around: Around<'_>, item: &[u8], splices: &mut Splices) -> Result<Fate, Unclear> {
        self.attributes(item, around.attributes, splices)?;
        Ok(if item.len() % 7 == usize::from(self.0 % 7) { Fate::Drop } else { Fate::Keep })
    }
}

fn edited<S: Schematic>(bytes: &[u8], how: u8) {
    let Ok(items) = check::<S>(bytes) else { return };
    let request = OtlpRequest::<S>::from_wire(bytes.to_vec().into(), items, None);
    let edited = edit(&request, &mut Edits(how)).expect("what passes can be edited");
    if let Some(edited) = edited {
        let items = check::<S>(edited.wire()).expect("what was edited passes");
        assert_eq!(items as usize, edited.items());
    }
}

fn apart<S: Flat>(bytes: &[u8], how: u8) {
    let Ok(items) = check::<S>(bytes) else { return };
    let key = |item: &[u8]| Ok::<_, wire::proto::Error>(item.len() as u8 % (how % 4 + 1));
    let parts = partition::<S, u8, _>(bytes, key).expect("what passes can be taken apart");
    let sum: u32 = parts.iter().map(|(_, part)| check::<S>(&part.bytes).expect("a part passes")).sum();
    assert_eq!(sum, items);
}

fuzz::target!(|data: &[u8]| {
    let Some((how, bytes)) = data.split_first() else { return };
    edited::<TracesSignal>(bytes, *how);
    edited::<MetricsSignal>(bytes, *how);
    edited::<LogsSignal>(bytes, *how);
    apart::<TracesSignal>(bytes, *how);
    apart::<LogsSignal>(bytes, *how);
});
