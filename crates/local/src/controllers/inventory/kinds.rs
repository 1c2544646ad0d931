//! The types of objects that there are.

use std::collections::{BTreeMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt as _, stream};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::discovery::{ApiResource, Scope, verbs};
use kube::discovery::Discovery;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};

use crate::controllers::retry::Retry;

/// A type of objects.
#[derive(Debug, Clone)]
pub(crate) struct Kind {
    pub(crate) resource: ApiResource,
    pub(crate) is_namespaced: bool,
}

/// Before asking again for the types of a server that does not answer.
const RETRY: Duration = Duration::from_millis(200);

// === impl Kind ===

impl Kind {
    fn identity(&self) -> (&str, &str, &str) {
        let resource = &self.resource;
        (&resource.group, &resource.plural, &resource.version)
    }
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for Kind {}

impl Hash for Kind {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

/// The built-in types that can be watched and deleted.
pub(super) async fn discover(client: &Client) -> HashSet<Arc<Kind>> {
    loop {
        match try_discover(client).await {
            Ok(kinds) => return kinds,
            Err(error) => {
                tracing::warn!(%error, "asking for the server's types; trying again");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

async fn try_discover(client: &Client) -> kube::Result<HashSet<Arc<Kind>>> {
    let discovery = Discovery::new(client.clone()).run().await?;
    // Custom types are followed by their definitions.
    let definitions = Api::<CustomResourceDefinition>::all(client.clone());
    let definitions = definitions.list(&kube::api::ListParams::default()).await?;
    let custom: HashSet<String> = definitions
        .iter()
        .map(kube::ResourceExt::name_any)
        .collect();
    let mut kinds = HashSet::new();
    for group in discovery.groups() {
        for (resource, capabilities) in group.recommended_resources() {
            let name = format!("{}.{}", resource.plural, resource.group);
            let is_stored = [verbs::LIST, verbs::WATCH, verbs::DELETE]
                .iter()
                .all(|verb| capabilities.supports_operation(verb));
            if is_stored && resource.plural != "events" && !custom.contains(&name) {
                kinds.insert(Arc::new(Kind {
                    resource,
                    is_namespaced: capabilities.scope == Scope::Namespaced,
                }));
            }
        }
    }
    Ok(kinds)
}

/// The custom types, all of them each time one of them changes.
pub(super) fn definitions(client: Client) -> impl Stream<Item = HashSet<Arc<Kind>>> + Send {
    let api = Api::<CustomResourceDefinition>::all(client);
    let events = watcher(api, watcher::Config::default()).backoff(Retry::default());
    let state = (Box::pin(events), BTreeMap::<String, Arc<Kind>>::new());
    stream::unfold(state, |(mut events, mut known)| async move {
        loop {
            match events.next().await? {
                Ok(watcher::Event::Init) => {
                    known.clear();
                    continue;
                }
                Ok(watcher::Event::InitApply(custom)) => {
                    note(&mut known, &custom);
                    continue;
                }
                Ok(watcher::Event::InitDone) => {}
                Ok(watcher::Event::Apply(custom)) => note(&mut known, &custom),
                Ok(watcher::Event::Delete(custom)) => {
                    known.remove(&custom.name_any());
                }
                Err(error) => {
                    tracing::debug!(%error, "watching custom types; trying again");
                    continue;
                }
            }
            let kinds = known.values().cloned().collect();
            return Some((kinds, (events, known)));
        }
    })
}

fn note(known: &mut BTreeMap<String, Arc<Kind>>, custom: &CustomResourceDefinition) {
    match kind(custom) {
        Some(kind) => known.insert(custom.name_any(), Arc::new(kind)),
        None => known.remove(&custom.name_any()),
    };
}

/// The type that a definition makes, in the version that is stored, once it is served.
fn kind(custom: &CustomResourceDefinition) -> Option<Kind> {
    let conditions = custom.status.as_ref()?.conditions.as_ref()?;
    conditions
        .iter()
        .find(|condition| condition.type_ == "Established" && condition.status == "True")?;
    let served = || custom.spec.versions.iter().filter(|version| version.served);
    let version = served()
        .find(|version| version.storage)
        .or_else(|| served().next())?;
    let (group, names) = (&custom.spec.group, &custom.spec.names);
    Some(Kind {
        resource: ApiResource {
            group: group.clone(),
            version: version.name.clone(),
            api_version: format!("{group}/{}", version.name),
            kind: names.kind.clone(),
            plural: names.plural.clone(),
        },
        is_namespaced: custom.spec.scope == "Namespaced",
    })
}
