use std::path::Path;

use super::*;

const TWO: &str = "\
# A comment.
VirtualService\thosts\tA\t\tscenarios/tcp::a lower/tests::b

Gateway\tservers[].tls.mode\tA\tpart: PASSTHROUGH alone\tsemantics/gateways::c
";

fn refused(line: &str) -> String {
    let error = parse(line).expect_err("it is refused");
    format!("{error:#}")
}

#[test]
fn a_row_has_a_state_and_tests_in_known_folders() {
    let rows = parse(TWO).expect("two rows");
    let [hosts, mode] = &rows[..] else {
        panic!("{rows:?}");
    };
    assert_eq!((hosts.mark, &hosts.state), ('A', &State::InEffect));
    assert_eq!(hosts.tests[0].file, "crates/proxy/tests/scenarios/tcp.rs");
    assert_eq!(hosts.tests[1].function, "b");
    assert_eq!(hosts.level(), Some(Level::Proxy));
    assert_eq!(mode.level(), Some(Level::Plan));
    assert_eq!(mode.state, State::Part("PASSTHROUGH alone".into()));
}

#[test]
fn a_bad_row_is_refused_with_its_line_and_reason() {
    for (line, why) in [
        ("VirtualService\thosts\tA", "line 1: 3 columns"),
        ("V\tf\tD\t\tlower/tests::a", "mark \"D\""),
        ("V\tf\tA\tsoon: x\t", "state \"soon\""),
        ("V\tf\tA\tlater\t", "needs words"),
        ("V\tf\tA\t\t", "no test shows it"),
        ("V\tf\tA\t\ttcp::a", "folder/file::function"),
        ("V\tf\tA\t\tnowhere/tcp::a", "the folder is one of"),
    ] {
        let told = refused(line);
        assert!(told.contains(why), "{line:?}: {told}");
    }
    let twice = format!("{TWO}VirtualService\thosts\tA\tmissing: x\t");
    assert!(refused(&twice).contains("line 5: VirtualService hosts"));
}

#[test]
fn a_test_that_does_not_exist_is_found() {
    let root = Path::new("..");
    let rows = "V\tf\tA\t\tlower/tests::a_test_that_nobody_wrote lower/gone::a\n\
                V\tg\tA\t\tlower/tests::weights_of_zero_are_left_out_unless_there_is_one_destination";
    let problems = vanished(root, &parse(rows).expect("rows")).expect("files are read");
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].contains("V f: there is no test a_test_that_nobody_wrote"));
}

#[test]
fn the_page_counts_shows_and_lists_what_is_not_in_effect() {
    let more = "Gateway\tservers[].bind\tC\tmissing: sockets\t\n\
                Gateway\tselector\tB\t\tlower/tests::d\n";
    let rows = parse(&format!("{TWO}{more}")).expect("rows");
    let page = page::render(&rows);
    for line in [
        "| VirtualService | 1 | 1 | 0 | 0 | 0 | 0 | 0 | 0 |",
        "| Gateway | 2 | 0 | 0 | 1 | 1 | 0 | 0 | 0 |",
        "| **together** | 3 | 1 | 0 | 1 | 1 | 0 | 0 | 0 |",
        "| `hosts` | A | proxy | [a](../crates/proxy/tests/scenarios/tcp.rs), \
         [b](../crates/api/src/lower/tests.rs) |",
        "| `servers[].bind` | C | missing: sockets |  |",
        "- Gateway `servers[].tls.mode` (A): in part: PASSTHROUGH alone",
        "- Gateway `servers[].bind` (C): missing: sockets",
    ] {
        assert!(page.lines().any(|one| one == line), "{line}\n{page}");
    }
    let outline = page::outline(&rows);
    assert!(outline.contains("1 proxy, 0 plan, 1 lowered only, 1 in part"));
}
