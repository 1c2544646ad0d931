//! What every namespace begins with: the ServiceAccount `default` and the ConfigMap
//! `kube-root-ca.crt`, without which its pods could not reach the API server.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use kube::ResourceExt as _;

use super::objects::Key;
use super::queue::{self, Again};
use super::{Context, Error, meta};

const ACCOUNT: &str = "default";
const CONFIG_MAP: &str = "kube-root-ca.crt";
const CA: &str = "ca.crt";

/// Keeps both in all namespaces, for ever.
pub(super) async fn run(context: Context, ca: String) {
    let (adder, queue) = queue::queue::<Key>("accounts");
    let namespaces = adder.clone();
    context.namespaces.listen(move |change| {
        if let Some(namespace) = &change.new {
            namespaces.add(Key::of(namespace.as_ref()));
        }
    });
    let accounts = adder.clone();
    context.accounts.listen(move |change| {
        if let Some(account) = change.latest()
            && account.name_any() == ACCOUNT
        {
            accounts.add(Key::new("", account.namespace().unwrap_or_default()));
        }
    });
    context.config_maps.listen(move |change| {
        if let Some(map) = change.latest()
            && map.name_any() == CONFIG_MAP
        {
            adder.add(Key::new("", map.namespace().unwrap_or_default()));
        }
    });
    context.namespaces.synced().await;
    context.accounts.synced().await;
    context.config_maps.synced().await;
    let ca = Arc::new(ca);
    queue
        .run(move |key| reconcile(context.clone(), ca.clone(), key))
        .await;
}

async fn reconcile(context: Context, ca: Arc<String>, key: Key) -> Result<Again, Error> {
    match context.namespaces.get(&key) {
        Some(namespace) if !meta::is_terminating(namespace.as_ref()) => {}
        _ => return Ok(Again::Never),
    }
    let namespace = key.name;
    let (account, map) = tokio::join!(
        ensure_account(&context, &namespace),
        ensure_map(&context, &namespace, &ca),
    );
    forgive(account)?;
    forgive(map)?;
    Ok(Again::Never)
}

async fn ensure_account(context: &Context, namespace: &str) -> Result<(), Error> {
    if context
        .accounts
        .get(&Key::new(namespace, ACCOUNT))
        .is_some()
    {
        return Ok(());
    }
    let mut account = ServiceAccount::default();
    account.metadata.namespace = Some(namespace.into());
    account.metadata.name = Some(ACCOUNT.into());
    context.accounts.create(&account).await.map(drop)
}

async fn ensure_map(context: &Context, namespace: &str, ca: &str) -> Result<(), Error> {
    let data = Some([(CA.to_owned(), ca.to_owned())].into());
    let Some(known) = context.config_maps.get(&Key::new(namespace, CONFIG_MAP)) else {
        let mut map = ConfigMap {
            data,
            ..ConfigMap::default()
        };
        map.metadata.namespace = Some(namespace.into());
        map.metadata.name = Some(CONFIG_MAP.into());
        map.metadata.annotations = Some(
            [(
                "kubernetes.io/description".to_owned(),
                "Contains a CA bundle that can be used to verify the kube-apiserver when using \
                 internal endpoints such as the internal service IP or kubernetes.default.svc."
                    .to_owned(),
            )]
            .into(),
        );
        return context.config_maps.create(&map).await.map(drop);
    };
    if known.data == data {
        return Ok(());
    }
    let mut updated = ConfigMap::clone(&known);
    updated.data = data;
    context.config_maps.replace(&updated).await.map(drop)
}

/// Somebody else made it, or the namespace is ending.
fn forgive(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(error)
            if error.is_existing() || error.is_namespace_terminating() || error.is_not_found() =>
        {
            Ok(())
        }
        result => result,
    }
}
