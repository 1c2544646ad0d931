//! Garbage collection: what belongs to objects that are gone goes too.
//!
//! An object with owners stays while one of them exists. An owner that is deleted in the foreground
//! waits for the dependents that block it; one that is deleted with `orphan` lets them go first.

mod plan;

use std::collections::HashSet;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy};
use serde_json::{Value, json};

use self::plan::{Action, FOREGROUND, ORPHAN, Owner};
use super::inventory::{Change, Inventory, Item};
use super::queue::{self, Adder, Again};
use super::{Context, Error};

/// Collects for ever.
pub(super) async fn run(context: Context) {
    let inventory = context.inventory;
    let (adder, queue) = queue::queue::<String>("garbage");
    inventory.synced().await;
    let mut changes = inventory.changes();
    let view = inventory.clone();
    let listen = async move {
        while let Some(change) = changes.recv().await {
            consider(&view, &change, &adder);
        }
        std::future::pending::<()>().await;
    };
    let collect = queue.run(move |uid| reconcile(inventory.clone(), uid));
    tokio::join!(listen, collect);
}

/// Has everything looked at that a change may concern.
fn consider(inventory: &Inventory, change: &Change, adder: &Adder<String>) {
    if let Some(item) = &change.new {
        let is_waiting = item.has_finalizer(FOREGROUND) || item.has_finalizer(ORPHAN);
        if !item.owners.is_empty() || (item.is_terminating && is_waiting) {
            adder.add(item.uid.clone());
        }
        let was_terminating = change.old.as_ref().is_some_and(|old| old.is_terminating);
        if item.is_terminating && item.has_finalizer(FOREGROUND) && !was_terminating {
            add_dependents(inventory, item, adder);
        }
    } else if let Some(gone) = &change.old {
        add_dependents(inventory, gone, adder);
    }
    // An owner in the foreground may have waited for this one.
    let before = change.old.iter().flat_map(|old| &old.owners);
    for owner in before {
        let is_waiting = inventory
            .get(&owner.uid)
            .is_some_and(|owner| owner.is_terminating && owner.has_finalizer(FOREGROUND));
        if is_waiting {
            adder.add(owner.uid.clone());
        }
    }
}

fn add_dependents(inventory: &Inventory, owner: &Item, adder: &Adder<String>) {
    for dependent in inventory.dependents(&owner.uid) {
        adder.add(dependent.uid.clone());
    }
}

async fn reconcile(inventory: Inventory, uid: String) -> Result<Again, Error> {
    let Some(item) = inventory.get(&uid) else {
        return Ok(Again::Never);
    };
    let dependents = inventory.dependents(&uid);
    let mut owners = Vec::new();
    for reference in &item.owners {
        owners.push(owner(&inventory, &item, reference).await?);
    }
    for action in plan::plan(&item, &owners, &dependents) {
        act(&inventory, &item, action).await?;
    }
    Ok(Again::Never)
}

/// What is the matter with an owner. One that is not known is asked for: its creation may just not
/// have been seen.
async fn owner(
    inventory: &Inventory,
    item: &Item,
    reference: &OwnerReference,
) -> Result<Owner, Error> {
    if let Some(owner) = inventory.get(&reference.uid) {
        let is_waiting = owner.is_terminating && owner.has_finalizer(FOREGROUND);
        return Ok(if is_waiting {
            Owner::WaitsForDependents
        } else {
            Owner::Exists
        });
    }
    let Some(kind) = inventory.kind(&reference.api_version, &reference.kind) else {
        // Of a type that this server does not have: nobody can tell, so nothing is deleted.
        return Ok(Owner::Exists);
    };
    let namespace = if kind.is_namespaced {
        item.namespace.as_str()
    } else {
        ""
    };
    if kind.is_namespaced && namespace.is_empty() {
        // An owner in a namespace cannot own what is in none.
        return Ok(Owner::Exists);
    }
    let what = format!(
        "look for {} {}, which owns {item}",
        reference.kind, reference.name
    );
    let found = inventory
        .api(&kind, namespace)
        .get_opt(&reference.name)
        .await;
    let found = found.map_err(Error::api(what))?;
    let is_same = found.is_some_and(|found| found.uid().as_deref() == Some(&reference.uid));
    Ok(if is_same { Owner::Exists } else { Owner::Gone })
}

async fn act(inventory: &Inventory, item: &Arc<Item>, action: Action) -> Result<(), Error> {
    match action {
        Action::Delete(propagation) => delete(inventory, item, propagation).await,
        Action::RemoveOwners(gone) => settle(remove_owners(inventory, item, &gone).await),
        Action::Orphan(dependents) => {
            let owner = HashSet::from([item.uid.clone()]);
            for dependent in dependents {
                // One that changed meanwhile must be tried again before the owner may end: it
                // would go with it.
                forgive(remove_owners(inventory, &dependent, &owner).await)?;
            }
            Ok(())
        }
        Action::RemoveFinalizer(name) => {
            let left = item
                .finalizers
                .iter()
                .filter(|finalizer| *finalizer != name);
            let left: Vec<_> = left.collect();
            settle(patch(inventory, item, &json!({"finalizers": left})).await)
        }
    }
}

async fn delete(
    inventory: &Inventory,
    item: &Item,
    propagation: PropagationPolicy,
) -> Result<(), Error> {
    let how = DeleteParams {
        propagation_policy: Some(propagation),
        preconditions: Some(Preconditions {
            uid: Some(item.uid.clone()),
            // An owner may have been added meanwhile: the version must be what was judged.
            resource_version: Some(item.resource_version.clone()),
        }),
        ..DeleteParams::default()
    };
    let api = inventory.api(&item.kind, &item.namespace);
    let deleted = api.delete(&item.name, &how).await;
    settle(
        deleted
            .map(drop)
            .map_err(Error::api(format!("collect {item}"))),
    )
}

async fn remove_owners(
    inventory: &Inventory,
    item: &Item,
    gone: &HashSet<String>,
) -> Result<(), Error> {
    let left = item
        .owners
        .iter()
        .filter(|owner| !gone.contains(&owner.uid));
    let left: Vec<_> = left.collect();
    patch(inventory, item, &json!({"ownerReferences": left})).await
}

/// Patches the metadata of exactly this object in the state that was judged.
async fn patch(inventory: &Inventory, item: &Item, metadata: &Value) -> Result<(), Error> {
    let mut metadata = metadata.clone();
    metadata["uid"] = item.uid.clone().into();
    metadata["resourceVersion"] = item.resource_version.clone().into();
    let patch = Patch::Merge(json!({"metadata": metadata}));
    let api = inventory.api(&item.kind, &item.namespace);
    let patched = api.patch(&item.name, &PatchParams::default(), &patch).await;
    patched
        .map(drop)
        .map_err(Error::api(format!("patch {item}")))
}

/// What is gone needs nothing more.
fn forgive(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(error) if error.is_not_found() => Ok(()),
        result => result,
    }
}

/// What is gone needs nothing more; what changed comes back as a change.
fn settle(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(error) if error.is_conflict() => Ok(()),
        result => forgive(result),
    }
}
