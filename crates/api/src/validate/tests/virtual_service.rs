use super::*;

#[test]
fn a_long_or_huge_regular_expression_is_refused() {
    const MATCH: &str =
        "{hosts: [a], http: [{match: [{uri: {regex: '$'}}], route: [{destination: {host: a}}]}]}";
    let long = "a".repeat(1025);
    let refused = report("VirtualService", MATCH, &long);
    assert!(
        refused.errors[0].reason.contains("at most 1024"),
        "{refused}"
    );
    let huge = report("VirtualService", MATCH, "((a{100}){100}){100}");
    assert!(huge.errors[0].reason.contains("size limit"), "{huge}");
}

#[test]
fn the_body_of_a_direct_response_is_limited() {
    let body = |size: usize| {
        let body = "a".repeat(size);
        let text = format!("{{status: 200, body: {{string: {body}}}}}");
        report(
            "VirtualService",
            "{hosts: [a], http: [{directResponse: $}]}",
            &text,
        )
    };
    let path = "spec.http[0].directResponse.body";
    assert!(body(200 << 10).warnings.iter().any(|p| p.path == path));
    assert!(!body((1 << 20) + 1).is_valid());
}

#[test]
fn rules_that_are_never_used_are_warned_of() {
    // Conditions of two rules, and where the warning is.
    let cases = [
        ("match: [{uri: {exact: /a}}], ", "", None),
        ("", "match: [{uri: {exact: /a}}], ", Some("spec.http[1]")),
        (
            "match: [{uri: {prefix: /a}}], ",
            "match: [{uri: {exact: /ab}}], ",
            Some("spec.http[1]"),
        ),
        (
            "match: [{uri: {prefix: /a}}], ",
            "match: [{uri: {prefix: /ab}}, {uri: {prefix: /b}}], ",
            Some("spec.http[1].match[0]"),
        ),
        // A narrower rule before a wider one is what order is for.
        (
            "match: [{uri: {prefix: /ab}, headers: {x: {}}}], ",
            "match: [{uri: {prefix: /ab}}], ",
            None,
        ),
        (
            "match: [{headers: {x: {}}}], ",
            "match: [{headers: {x: {exact: a}}, uri: {exact: /}}], ",
            Some("spec.http[1]"),
        ),
        (
            "match: [{uri: {exact: /a}}], ",
            "match: [{uri: {prefix: /a}}], ",
            None,
        ),
        (
            "match: [{uri: {exact: /a}, port: 80}], ",
            "match: [{uri: {exact: /a}}], ",
            None,
        ),
        (
            "match: [{uri: {prefix: /A}, ignoreUriCase: true}], ",
            "match: [{uri: {exact: /ab}}], ",
            Some("spec.http[1]"),
        ),
        (
            "match: [{uri: {exact: /a}}], ",
            "match: [{uri: {exact: /a}, ignoreUriCase: true}], ",
            None,
        ),
    ];
    for (first, second, expected) in cases {
        const TO: &str = "route: [{destination: {host: a}}]";
        let text = format!("{{hosts: [a], http: [{{{first}{TO}}}, {{{second}{TO}}}]}}");
        let report = report("VirtualService", "$", &text);
        let paths: Vec<&str> = report.warnings.iter().map(|p| p.path.as_str()).collect();
        assert_eq!(paths, Vec::from_iter(expected), "{text}");
    }
}
