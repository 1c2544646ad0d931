//! Generated meshes: what is compiled equals what is interpreted.

use lateen_model::proxy::Role;
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, any, proptest};

use crate::check::compiled_equals_interpreted;
use crate::generate;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn a_sidecar_decides_as_the_rules_are_written(bytes in vec(any::<u8>(), 0..1200)) {
        compiled_equals_interpreted(&generate::case(&bytes, Role::Sidecar));
    }

    #[test]
    fn a_gateway_decides_as_the_rules_are_written(bytes in vec(any::<u8>(), 0..1200)) {
        compiled_equals_interpreted(&generate::case(&bytes, Role::Gateway));
    }
}
