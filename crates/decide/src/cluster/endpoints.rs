//! The endpoints of a cluster in the order in which they are drawn from.

use lateen_model::endpoint::Health;

use super::endpoint::Endpoint;

/// The endpoints of a cluster.
#[derive(Debug, Default)]
pub struct EndpointSet {
    /// Those that take requests first.
    endpoints: Box<[Endpoint]>,
    /// How many take requests.
    ready: usize,
    /// Sums of the weights of the ready ones, if they differ.
    weights: Box<[u64]>,
}

// === impl EndpointSet ===

impl EndpointSet {
    /// Puts the endpoints in order: those that take requests first, each part by address.
    pub fn new(mut endpoints: Vec<Endpoint>) -> Self {
        endpoints.sort_by_key(|endpoint| (endpoint.health != Health::Ready, endpoint.address));
        let ready = endpoints.partition_point(|endpoint| endpoint.health == Health::Ready);
        let first = endpoints.first().map_or(1, |endpoint| endpoint.weight);
        let weights = if endpoints[..ready].iter().all(|one| one.weight == first) {
            Box::default()
        } else {
            let mut sum = 0;
            let sums = endpoints[..ready].iter().map(|endpoint| {
                sum += u64::from(endpoint.weight.max(1));
                sum
            });
            sums.collect()
        };
        Self {
            endpoints: endpoints.into(),
            ready,
            weights,
        }
    }

    /// Every endpoint, those that take requests first.
    pub fn all(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// The endpoints that take requests.
    pub fn ready(&self) -> &[Endpoint] {
        &self.endpoints[..self.ready]
    }

    /// Every endpoint by address, to take over what is remembered of them.
    pub(crate) fn find(&self, address: std::net::SocketAddr) -> Option<&Endpoint> {
        let (ready, others) = self.endpoints.split_at(self.ready);
        let find = |part: &'_ [Endpoint]| {
            let at = part.binary_search_by_key(&address, |one| one.address);
            at.ok()
        };
        find(ready)
            .map(|at| &ready[at])
            .or_else(|| find(others).map(|at| &others[at]))
    }

    /// The index that uniform bits fall on, by weight.
    pub(super) fn draw(&self, bits: u64) -> usize {
        let Some(sum) = self.weights.last() else {
            return scale(bits, self.ready as u64);
        };
        let point = scale(bits, *sum) as u64;
        self.weights.partition_point(|until| *until <= point)
    }

    /// Two indexes: different ones where weights are equal, so that of two endpoints always the
    /// less busy one is found; by weight both are drawn alike.
    pub(super) fn draw_two(&self, mut random: impl FnMut() -> u64) -> (usize, usize) {
        let one = self.draw(random());
        if !self.weights.is_empty() {
            return (one, self.draw(random()));
        }
        let other = scale(random(), self.ready as u64 - 1);
        (one, if other < one { other } else { other + 1 })
    }

    /// The index whose turn it is, by weight.
    pub(super) fn at_turn(&self, turn: u32) -> usize {
        let Some(sum) = self.weights.last() else {
            return turn as usize % self.ready;
        };
        // A stride by the golden ratio spreads the turns of a heavy endpoint instead of giving
        // them in one run, and still visits every point equally often.
        let point = scale(u64::from(turn).wrapping_mul(0x9E37_79B9_7F4A_7C15), *sum) as u64;
        self.weights.partition_point(|until| *until <= point)
    }
}

/// Maps uniform bits to `0..below`.
pub(super) fn scale(bits: u64, below: u64) -> usize {
    let product = (u128::from(bits) * u128::from(below)) >> 64;
    usize::try_from(product).unwrap_or(0)
}
