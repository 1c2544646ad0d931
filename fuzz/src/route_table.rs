//! The compiled route table against the naive interpreter of Istio's semantics: for any mesh and
//! any request both decide the same, and the trace tells the same decision. Paths and hosts of
//! any bytes settle in one step, and no regular expression breaks the compiler.
//!
//! The mesh is made from the input by the generator of `lateen-decide`'s own property test, which
//! is shared with it by path, as the interpreter is.

#[path = "../../crates/decide/tests/semantics/check.rs"]
mod check;
#[path = "../../crates/decide/tests/semantics/generate.rs"]
mod generate;
#[path = "../../crates/decide/tests/semantics/naive.rs"]
mod naive;
#[path = "../../crates/decide/tests/semantics/request.rs"]
mod request;
#[path = "../../crates/decide/tests/semantics/treatment.rs"]
mod treatment;

use lateen_decide::authority::canonical;
use lateen_decide::{Store, normalize_path};
use lateen_model::http::{HeaderRules, HttpAction, HttpRule};
use lateen_model::proxy::Role;
use lateen_model::route::{
    Destination, GatewayRef, HttpMatch, StringMatch, VirtualService, WeightedDestination,
};
use lateen_model::service::ExportTo;
use lateen_model::{Body, Host, HostPattern, Resource, ResourceName, Source};

/// Checks one input. Its first byte chooses what the others are.
///
/// # Panics
/// If a property does not hold.
pub fn run(input: &[u8]) {
    let Some((kind, input)) = input.split_first() else {
        return;
    };
    match kind % 8 {
        0 => path_settles(input),
        1 => host_settles(input),
        2 => expression_is_taken_or_refused(input),
        3..=5 => check::compiled_equals_interpreted(&generate::case(input, Role::Sidecar)),
        _ => check::compiled_equals_interpreted(&generate::case(input, Role::Gateway)),
    }
}

/// A normalised path is not normalised further, and climbs nowhere.
fn path_settles(path: &[u8]) {
    let (mut once, mut twice) = (Vec::new(), Vec::new());
    if !normalize_path(path, &mut once) {
        once = path.to_vec();
    }
    assert!(!normalize_path(&once, &mut twice), "it was changed twice");
    if once.first() == Some(&b'/') {
        let end = once.iter().position(|byte| matches!(byte, b'?' | b'#'));
        let mut segments = once[..end.unwrap_or(once.len())].split(|byte| *byte == b'/');
        assert!(!segments.any(|segment| segment == b"." || segment == b".."));
    }
}

/// The canonical host is lower case, and its own canonical form if it has no port left.
fn host_settles(authority: &[u8]) {
    let mut space = Vec::new();
    let host = canonical(authority, &mut space);
    assert!(!host.text.iter().any(u8::is_ascii_uppercase));
    assert!(host.text.len() <= authority.len());
    if let Some(address) = host.address {
        let mut again = Vec::new();
        let text = address.to_string();
        assert_eq!(
            canonical(text.as_bytes(), &mut again).address,
            Some(address)
        );
    }
}

/// Whatever is written as an expression is compiled, or refused with the field's name.
fn expression_is_taken_or_refused(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let host = Host::new("a.default.svc.cluster.local");
    let destination = WeightedDestination {
        destination: Destination {
            host: host.clone(),
            subset: None,
            port: None,
        },
        weight: 1,
        headers: HeaderRules::default(),
    };
    let routes = VirtualService {
        namespace: "default".into(),
        hosts: vec![HostPattern::Exact(host)],
        gateways: vec![GatewayRef::Mesh],
        export_to: ExportTo::All,
        http: vec![HttpRule {
            matches: vec![HttpMatch {
                uri: Some(StringMatch::Regex(text.to_owned())),
                ..HttpMatch::default()
            }],
            ..HttpRule::new(HttpAction::Route(vec![destination]))
        }],
        tls: Vec::new(),
        tcp: Vec::new(),
    };
    let refused = Store::new().apply(Resource {
        name: ResourceName("VirtualService/default/a".into()),
        source: Source::default(),
        body: Body::VirtualService(routes),
    });
    if let Err(error) = refused {
        assert!(error.to_string().contains("http[0].match[0].uri.regex"));
    }
}

/// Inputs of every kind: meshes from mixed bytes, and texts that reach what is special.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let texts: [(u8, &[u8]); 8] = [
        (0, b"/a/../%2e%2E/b\\c?x=/.."),
        (0, b"/%2%65/./"),
        (1, b"[FD00::1]:80"),
        (1, b"Reviews.Default.:9080"),
        (2, br"/v[0-9]+/(a|b)\d\b"),
        (2, br"[[:alpha:]&&~~a--z]\Qx\E"),
        (2, br"(?P<n>a{1,3})\x{41}\101"),
        (2, b"((a{100}){100}){100}"),
    ];
    let texts = texts.iter().map(|(kind, text)| [&[*kind], *text].concat());
    let meshes = (3..=7_u8).flat_map(|kind| {
        (0..12_u64).map(move |seed| {
            // Bytes of a linear congruential generator: mixed, and the same in every run.
            let mut state = seed * 97 + u64::from(kind);
            let bytes = std::iter::repeat_with(move || {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                u8::try_from(state >> 56).unwrap_or(0)
            });
            std::iter::once(kind).chain(bytes.take(1000)).collect()
        })
    });
    texts.chain(meshes).collect()
}
