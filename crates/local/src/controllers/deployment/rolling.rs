//! The sizes of sets on the way from one revision to the next.
//!
//! Never more than `replicas + maxSurge` pods exist, and never fewer than `replicas -
//! maxUnavailable` are available (unless they are so by themselves).

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::revision::{self, Sets, replicas, set_available, set_replicas};
use crate::controllers::meta;

/// How far a rollout may deviate from the wished number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) surge: i32,
    pub(super) unavailable: i32,
}

/// A size that a set is to get.
pub(super) type Sizing<'a> = (&'a Arc<ReplicaSet>, i32);

// === impl Bounds ===

impl Bounds {
    /// The bounds of a Deployment; none of a Recreate, which has no pods in excess and all out.
    pub(super) fn of(deployment: &Deployment) -> Self {
        let total = replicas(deployment);
        if is_recreate(deployment) {
            return Self {
                surge: 0,
                unavailable: total,
            };
        }
        let strategy = deployment
            .spec
            .as_ref()
            .and_then(|spec| spec.strategy.as_ref());
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
        let quarter = IntOrString::String("25%".into());
        let surge = rolling
            .and_then(|rolling| rolling.max_surge.as_ref())
            .unwrap_or(&quarter);
        let unavailable = rolling.and_then(|rolling| rolling.max_unavailable.as_ref());
        let surge = scaled(surge, total, Rounding::Up);
        let unavailable = scaled(unavailable.unwrap_or(&quarter), total, Rounding::Down);
        Self {
            surge,
            // With neither the rollout could never move.
            unavailable: if surge == 0 && unavailable == 0 {
                1
            } else {
                unavailable
            }
            .min(total),
        }
    }
}

/// Answers whether old pods end before new ones begin.
pub(super) fn is_recreate(deployment: &Deployment) -> bool {
    let strategy = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.strategy.as_ref());
    strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate")
}

#[derive(Clone, Copy)]
enum Rounding {
    Up,
    Down,
}

/// A number, or a percentage of `total`.
fn scaled(value: &IntOrString, total: i32, rounding: Rounding) -> i32 {
    let percent = match value {
        IntOrString::Int(count) => return (*count).max(0),
        IntOrString::String(text) => text.trim_end_matches('%').parse::<i64>().unwrap_or(0),
    };
    let product = percent.max(0) * i64::from(total);
    let scaled = match rounding {
        Rounding::Up => (product + 99) / 100,
        Rounding::Down => product / 100,
    };
    i32::try_from(scaled).unwrap_or(i32::MAX)
}

/// How many replicas the new set is to have now; `current` is what it has.
pub(super) fn new_size(deployment: &Deployment, sets: &Sets<'_>, current: i32) -> i32 {
    let wished = replicas(deployment);
    if current >= wished {
        return wished;
    }
    let total: i32 = sets.old.iter().map(|set| set_replicas(set)).sum::<i32>() + current;
    let room = wished + Bounds::of(deployment).surge - total;
    current + room.clamp(0, wished - current)
}

/// How many replicas old sets are to have now, as far as that changes.
pub(super) fn old_sizes<'a>(deployment: &Deployment, sets: &Sets<'a>) -> Vec<Sizing<'a>> {
    let wished = replicas(deployment);
    let min_available = wished - Bounds::of(deployment).unavailable;
    let new_unavailable = sets
        .new
        .map_or(0, |set| (set_replicas(set) - set_available(set)).max(0));
    let total: i32 = sets.all().map(|set| set_replicas(set)).sum();
    let mut budget = total - min_available - new_unavailable;
    if budget <= 0 {
        return Vec::new();
    }
    let mut sizes: Vec<Sizing<'a>> = sets
        .old
        .iter()
        .map(|set| (*set, set_replicas(set)))
        .collect();
    // Pods that do not work are given up first: that costs nothing.
    for (set, size) in &mut sizes {
        let broken = (*size - set_available(set)).clamp(0, budget);
        *size -= broken;
        budget -= broken;
    }
    let available: i32 = sets.all().map(|set| set_available(set)).sum();
    let mut surplus = available - min_available;
    for (_, size) in &mut sizes {
        let given_up = (*size).min(surplus).max(0);
        *size -= given_up;
        surplus -= given_up;
    }
    sizes.retain(|(set, size)| *size != set_replicas(set));
    sizes
}

/// The sizes after the Deployment itself was scaled (also while it is paused, or on its way): every
/// set keeps its share.
pub(super) fn proportional<'a>(deployment: &Deployment, sets: &Sets<'a>) -> Vec<Sizing<'a>> {
    let wished = replicas(deployment);
    let mut active: Vec<_> = sets.all().filter(|set| set_replicas(set) > 0).collect();
    let only = match active.as_slice() {
        [] => sets.new.or(sets.old.last().copied()),
        [only] => Some(*only),
        _ => None,
    };
    if let Some(only) = only {
        return vec![(only, wished)];
    }
    if let Some(new) = sets.new
        && is_saturated(deployment, new)
    {
        let old = sets.old.iter().filter(|set| set_replicas(set) > 0);
        return old.map(|set| (*set, 0)).collect();
    }
    if is_recreate(deployment) {
        return Vec::new();
    }
    let allowed = if wished > 0 {
        wished + Bounds::of(deployment).surge
    } else {
        0
    };
    let total: i32 = active.iter().map(|set| set_replicas(set)).sum();
    let mut to_add = allowed - total;
    // What is left over goes to the largest; of equal ones the newest grows and the oldest shrinks.
    active.sort_by_key(|set| {
        let age = revision::revision(set);
        (-set_replicas(set), if to_add > 0 { -age } else { age })
    });
    let mut sizes = Vec::new();
    for set in active {
        let share = share(deployment, set, allowed);
        let share = if to_add >= 0 {
            share.clamp(0, to_add)
        } else {
            share.clamp(to_add, 0)
        };
        to_add -= share;
        sizes.push((set, set_replicas(set) + share));
    }
    if let Some((_, size)) = sizes.first_mut() {
        *size = (*size + to_add).max(0);
    }
    sizes
}

/// By how much a set changes so that its part of the whole stays the same.
fn share(deployment: &Deployment, set: &ReplicaSet, allowed: i32) -> i32 {
    let current = set_replicas(set);
    if replicas(deployment) == 0 {
        return -current;
    }
    let before = meta::annotation(&set.metadata, revision::MAXIMUM)
        .and_then(|maximum| maximum.parse::<i64>().ok())
        .filter(|maximum| *maximum > 0);
    let before = before.unwrap_or_else(|| {
        let status = deployment.status.as_ref();
        status
            .and_then(|status| status.replicas)
            .unwrap_or(current)
            .max(1)
            .into()
    });
    // Rounded to the nearest.
    let scaled = (2 * i64::from(current) * i64::from(allowed) + before) / (2 * before);
    i32::try_from(scaled).unwrap_or(i32::MAX) - current
}

/// Answers whether the new set has everything that is wished, available.
fn is_saturated(deployment: &Deployment, new: &ReplicaSet) -> bool {
    let wished = replicas(deployment);
    let desired = meta::annotation(&new.metadata, revision::DESIRED);
    set_replicas(new) == wished
        && desired.is_some_and(|desired| desired.parse() == Ok(wished))
        && set_available(new) == wished
}

/// Answers whether the Deployment was scaled since its sets were.
pub(super) fn was_scaled(deployment: &Deployment, sets: &Sets<'_>) -> bool {
    let wished = replicas(deployment);
    let active = sets.all().filter(|set| set_replicas(set) > 0);
    active
        .filter_map(|set| {
            meta::annotation(&set.metadata, revision::DESIRED)?
                .parse::<i32>()
                .ok()
        })
        .any(|desired| desired != wished)
}
