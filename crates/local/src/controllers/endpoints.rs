//! The endpoints of Services: EndpointSlices, and the older Endpoints object for those who still
//! read it.
//!
//! Services without a selector are their author's: endpoints of those are left alone.

mod legacy;
mod plan;

use std::sync::Arc;

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt as _;
use kube::api::DeleteParams;

use super::objects::{Change, Key};
use super::queue::{self, Adder, Again};
use super::selector::carries;
use super::{Context, Error, meta, pods};

/// Keeps the endpoints of all Services, for ever.
pub(super) async fn run(context: Context) {
    let (adder, queue) = queue::queue::<Key>("endpoints");
    listen(&context, &adder);
    context.services.synced().await;
    context.pods.synced().await;
    context.endpoint_slices.synced().await;
    context.endpoints.synced().await;
    queue.run(move |key| reconcile(context.clone(), key)).await;
}

fn listen(context: &Context, adder: &Adder<Key>) {
    let services = adder.clone();
    context.services.listen(move |change| {
        if let Some(service) = change.latest() {
            services.add(Key::of(service.as_ref()));
        }
    });
    let (pods, all) = (adder.clone(), context.services.clone());
    context.pods.listen(move |change| {
        if !matters(change) {
            return;
        }
        for pod in change.both() {
            for service in all.within(&pod.namespace().unwrap_or_default()) {
                if selects(&service, pod) {
                    pods.add(Key::of(service.as_ref()));
                }
            }
        }
    });
    // Somebody may have changed or deleted what we wrote.
    let slices = adder.clone();
    context.endpoint_slices.listen(move |change| {
        for slice in change.both().filter(|slice| plan::is_ours(slice)) {
            if let Some(service) = plan::service_of(slice) {
                slices.add(Key::new(slice.namespace().unwrap_or_default(), service));
            }
        }
    });
    let endpoints = adder.clone();
    context.endpoints.listen(move |change| {
        if let (Some(old), None) = (&change.old, &change.new) {
            endpoints.add(Key::of(old.as_ref()));
        }
    });
}

/// Answers whether a change of a pod can change endpoints: most only write other conditions.
fn matters(change: &Change<Pod>) -> bool {
    let facts = |pod: &Arc<Pod>| {
        (
            pods::is_ready(pod),
            pods::is_finished(pod),
            meta::is_terminating(pod.as_ref()),
            pod.metadata.labels.clone(),
            pod.status
                .as_ref()
                .map(|status| (status.pod_ip.clone(), status.pod_ips.clone())),
            pod.spec
                .as_ref()
                .map(|spec| (spec.node_name.clone(), spec.hostname.clone())),
        )
    };
    change.old.as_ref().map(facts) != change.new.as_ref().map(facts)
}

/// Answers whether a Service selects a pod.
fn selects(service: &Service, pod: &Pod) -> bool {
    let selector = service
        .spec
        .as_ref()
        .and_then(|spec| spec.selector.as_ref());
    selector.is_some_and(|selector| {
        !selector.is_empty() && carries(pod.metadata.labels.as_ref(), selector)
    })
}

async fn reconcile(context: Context, key: Key) -> Result<Again, Error> {
    let Some(service) = context.services.get(&key) else {
        return remove(&context, &key).await;
    };
    if meta::is_terminating(service.as_ref()) || !plan::has_endpoints(&service) {
        return Ok(Again::Never);
    }
    let pods = context.pods.within(&key.namespace);
    let selected: Vec<_> = pods
        .into_iter()
        .filter(|pod| selects(&service, pod))
        .collect();
    let known: Vec<_> = context
        .endpoint_slices
        .within(&key.namespace)
        .into_iter()
        .filter(|slice| plan::is_ours(slice) && plan::service_of(slice) == Some(&key.name))
        .collect();
    let changes = plan::plan(&service, &selected, &known);
    write(&context, changes).await?;
    write_legacy(&context, &key, legacy::endpoints(&service, &selected)).await?;
    Ok(Again::Never)
}

async fn write(context: &Context, changes: plan::Changes) -> Result<(), Error> {
    let slices = &context.endpoint_slices;
    let create = try_join_all(changes.create.iter().map(|slice| slices.create(slice)));
    let update = try_join_all(changes.update.iter().map(|slice| slices.replace(slice)));
    forgive(create.await.map(drop))?;
    forgive(update.await.map(drop))?;
    let delete = changes.delete.iter();
    let delete = delete.map(|slice| slices.delete(slice.as_ref(), DeleteParams::default()));
    try_join_all(delete).await.map(drop)
}

async fn write_legacy(context: &Context, key: &Key, wished: Endpoints) -> Result<(), Error> {
    let Some(known) = context.endpoints.get(key) else {
        return forgive(context.endpoints.create(&wished).await.map(drop));
    };
    if known.subsets == wished.subsets && known.metadata.labels == wished.metadata.labels {
        return Ok(());
    }
    let mut updated = Endpoints::clone(&known);
    updated.subsets = wished.subsets;
    updated.metadata.labels = wished.metadata.labels;
    forgive(context.endpoints.replace(&updated).await.map(drop))
}

/// Nothing can be made in a namespace that ends, and nothing needs to be.
fn forgive(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(error) if error.is_namespace_terminating() => Ok(()),
        result => result,
    }
}

/// The Service is gone: what was ours goes too (slices also have it as their owner).
async fn remove(context: &Context, key: &Key) -> Result<Again, Error> {
    let is_its =
        |slice: &EndpointSlice| plan::is_ours(slice) && plan::service_of(slice) == Some(&key.name);
    for slice in context.endpoint_slices.within(&key.namespace) {
        if is_its(&slice) {
            context
                .endpoint_slices
                .delete(slice.as_ref(), DeleteParams::default())
                .await?;
        }
    }
    if let Some(endpoints) = context.endpoints.get(key)
        && legacy::is_ours(&endpoints)
    {
        context
            .endpoints
            .delete(endpoints.as_ref(), DeleteParams::default())
            .await?;
    }
    Ok(Again::Never)
}
