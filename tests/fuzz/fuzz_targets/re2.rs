//! Any text as an RE2 expression on any other: no panic, what is known of a pattern without running it is what running it
//! says, and what is replaced does not depend on a template's form.
#![cfg_attr(feature = "libfuzzer", no_main)]

use signal::Regex;

fuzz::target!(|input: (&str, &str, &str)| {
    let (pattern, text, template) = input;
    let _ = signal::re2::has_variable(template);
    let Ok(regex) = Regex::new(pattern) else {
        assert!(Regex::anchored(pattern).is_err(), "an expression is one in a group");
        return;
    };
    assert_eq!(regex.is_match(text), regex.captures(text).is_some());
    assert_eq!(regex.group_count(), regex.group_names().count());
    let made = regex.template(template);
    let _ = regex.replace_all(text, &made);
    if let Some(captures) = regex.captures(text) {
        let mut out = String::new();
        made.expand(&captures, &mut out);
        assert!(made.as_constant().is_none_or(|constant| constant == out));
    }
    let Ok(anchored) = Regex::anchored(pattern) else { return };
    // The same without the quick ways that anchored patterns may have.
    let whole = Regex::new(&format!("^(?s:{pattern})$")).expect("it was compiled so");
    assert_eq!(anchored.is_match(text), whole.is_match(text));
    assert_eq!(anchored.captures(text).is_some(), whole.is_match(text));
    if let (Some(quick), Some(slow)) = (anchored.captures(text), whole.captures(text)) {
        (0..anchored.group_count()).for_each(|group| assert_eq!(quick.get(group), slow.get(group)));
    }
});
