//! The end of a namespace: everything in it is deleted, custom objects too, and then its finalizer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::{Event, Namespace, NamespaceCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt as _};

use super::inventory::{Inventory, Item, Kind};
use super::objects::Key;
use super::queue::{self, Again};
use super::{Context, Error, clock, meta};

const FINALIZER: &str = "kubernetes";
/// How many requests run at once.
const AT_ONCE: usize = 16;
/// Before a namespace is looked at again in which something turned up that was not known.
const RECHECK: Duration = Duration::from_millis(100);

/// Ends namespaces, for ever.
pub(super) async fn run(context: Context) {
    let (adder, queue) = queue::queue::<Key>("namespace");
    let namespaces = adder.clone();
    context.namespaces.listen(move |change| {
        if let Some(namespace) = &change.new
            && meta::is_terminating(namespace.as_ref())
        {
            namespaces.add(Key::of(namespace.as_ref()));
        }
    });
    context.namespaces.synced().await;
    context.inventory.synced().await;
    let mut changes = context.inventory.changes();
    let view = context.namespaces.clone();
    let listen = async move {
        while let Some(change) = changes.recv().await {
            let Some(item) = change.new.as_ref().or(change.old.as_ref()) else {
                continue;
            };
            let key = Key::new("", item.namespace.clone());
            let namespace = view.get(&key);
            if namespace.is_some_and(|namespace| meta::is_terminating(namespace.as_ref())) {
                adder.add(key);
            }
        }
        std::future::pending::<()>().await;
    };
    let end = queue.run(move |key| reconcile(context.clone(), key));
    tokio::join!(listen, end);
}

async fn reconcile(context: Context, key: Key) -> Result<Again, Error> {
    let Some(namespace) = context.namespaces.get(&key) else {
        return Ok(Again::Never);
    };
    let finalizers = namespace
        .spec
        .as_ref()
        .and_then(|spec| spec.finalizers.clone());
    let finalizers = finalizers.unwrap_or_default();
    let is_ours = finalizers.iter().any(|finalizer| finalizer == FINALIZER);
    if !meta::is_terminating(namespace.as_ref()) || !is_ours {
        return Ok(Again::Never);
    }
    let items = context.inventory.within(&key.name);
    if !items.is_empty() {
        delete_known(&context, &items).await?;
        // What only waits for its end or its finalizers comes back as a change.
        tell(&context, &namespace, &items).await?;
        return Ok(Again::Never);
    }
    if delete_unknown(&context, &key.name).await? {
        return Ok(Again::After(RECHECK));
    }
    finalize(&context, &namespace, finalizers).await?;
    Ok(Again::Never)
}

async fn delete_known(context: &Context, items: &[Arc<Item>]) -> Result<(), Error> {
    let mut deletions = Vec::new();
    for item in items {
        if !item.is_terminating {
            deletions.push(delete(context.inventory.clone(), item.clone()));
        }
    }
    let mut results = stream::iter(deletions).buffer_unordered(AT_ONCE);
    let mut failure = Ok(());
    while let Some(result) = results.next().await {
        // One that cannot be deleted does not keep the others.
        failure = failure.and(result);
    }
    failure
}

async fn delete(inventory: Inventory, item: Arc<Item>) -> Result<(), Error> {
    let api = inventory.api(&item.kind, &item.namespace);
    let deleted = api.delete(&item.name, &DeleteParams::background()).await;
    match deleted.map_err(Error::api(format!("delete {item} with its namespace"))) {
        Err(error) if error.is_not_found() => Ok(()),
        result => result.map(drop),
    }
}

/// Deletes what the inventory has not seen: events, and what was made just before the namespace
/// began to end. Answers whether there was anything but events.
async fn delete_unknown(context: &Context, namespace: &str) -> Result<bool, Error> {
    let mut deletions = Vec::new();
    for kind in context.inventory.namespaced_kinds() {
        deletions.push(delete_all(
            context.inventory.clone(),
            kind,
            namespace.to_owned(),
        ));
    }
    let mut results = stream::iter(deletions).buffer_unordered(AT_ONCE);
    let mut found = false;
    while let Some(result) = results.next().await {
        found |= match result {
            // Its type, or the object, went meanwhile.
            Err(error) if error.is_not_found() => true,
            result => result?,
        };
    }
    let events = Api::<Event>::namespaced(context.client.clone(), namespace);
    let (how, all) = (DeleteParams::background(), ListParams::default());
    let deleted = events.delete_collection(&how, &all).await;
    deleted.map_err(Error::api(format!(
        "delete the events of namespace {namespace}"
    )))?;
    Ok(found)
}

/// Deletes all objects of a type; answers whether there were any.
async fn delete_all(
    inventory: Inventory,
    kind: Arc<Kind>,
    namespace: String,
) -> Result<bool, Error> {
    let api = inventory.api(&kind, &namespace);
    let what = format!("delete {} of namespace {namespace}", kind.resource.plural);
    let list = api
        .list(&ListParams::default())
        .await
        .map_err(Error::api(what.clone()))?;
    for object in &list.items {
        let deleted = api
            .delete(&object.name_any(), &DeleteParams::background())
            .await;
        deleted.map_err(Error::api(what.clone()))?;
    }
    Ok(!list.items.is_empty())
}

async fn finalize(
    context: &Context,
    namespace: &Namespace,
    mut finalizers: Vec<String>,
) -> Result<(), Error> {
    let what = format!("finalize namespace {}", meta::name(namespace));
    finalizers.retain(|finalizer| finalizer != FINALIZER);
    let mut ended = namespace.clone();
    ended.spec.get_or_insert_default().finalizers = Some(finalizers);
    let api = Api::<Namespace>::all(context.client.clone());
    let parameters = PostParams::default();
    let done = api
        .replace_subresource("finalize", meta::name(namespace), &parameters, &ended)
        .await;
    match done.map_err(Error::api(what)) {
        Err(error) if error.is_not_found() => Ok(()),
        result => result.map(drop),
    }
}

/// Says in the status what the namespace waits for.
async fn tell(context: &Context, namespace: &Namespace, items: &[Arc<Item>]) -> Result<(), Error> {
    let wished = conditions(items);
    let known = namespace
        .status
        .as_ref()
        .and_then(|status| status.conditions.clone());
    let known = known.unwrap_or_default();
    let is_told = wished.iter().all(|condition| {
        let same = known.iter().find(|known| known.type_ == condition.type_);
        same.is_some_and(|same| {
            same.message == condition.message && same.status == condition.status
        })
    });
    if is_told {
        return Ok(());
    }
    let mut updated = namespace.clone();
    updated.status.get_or_insert_default().conditions = Some(wished);
    let api = Api::<Namespace>::all(context.client.clone());
    let parameters = PostParams::default();
    let written = api
        .replace_status(meta::name(namespace), &parameters, &updated)
        .await;
    let what = format!("update the status of namespace {}", meta::name(namespace));
    match written.map_err(Error::api(what)) {
        // Somebody changed it, which is a change again.
        Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
        result => result.map(drop),
    }
}

fn conditions(items: &[Arc<Item>]) -> Vec<NamespaceCondition> {
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    let mut finalizers: BTreeMap<&str, usize> = BTreeMap::new();
    for item in items {
        let resource = &item.kind.resource;
        let name = match resource.group.as_str() {
            "" => format!("{}.", resource.plural),
            group => format!("{}.{group}", resource.plural),
        };
        *kinds.entry(name).or_default() += 1;
        for finalizer in &item.finalizers {
            *finalizers.entry(finalizer).or_default() += 1;
        }
    }
    let kinds = kinds
        .iter()
        .map(|(name, count)| format!("{name} has {count} resource instances"));
    let kinds = kinds.collect::<Vec<_>>().join(", ");
    let mut conditions = vec![condition(
        "NamespaceContentRemaining",
        "SomeResourcesRemain",
        format!("Some resources are remaining: {kinds}"),
    )];
    if !finalizers.is_empty() {
        let waiting = finalizers.iter();
        let waiting = waiting.map(|(name, count)| format!("{name} in {count} resource instances"));
        let waiting = waiting.collect::<Vec<_>>().join(", ");
        conditions.push(condition(
            "NamespaceFinalizersRemaining",
            "SomeFinalizersRemain",
            format!("Some content in the namespace has finalizers remaining: {waiting}"),
        ));
    }
    conditions
}

fn condition(kind: &str, reason: &str, message: String) -> NamespaceCondition {
    NamespaceCondition {
        type_: kind.into(),
        status: "True".into(),
        reason: Some(reason.into()),
        message: Some(message),
        last_transition_time: Some(Time(clock::now())),
    }
}
