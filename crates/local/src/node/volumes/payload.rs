//! The files of volumes that hold copies of objects: ConfigMap, Secret, downward API, projected.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::time::Instant;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, KeyToPath, Volume, VolumeProjection};

use super::token::Tokens;
use crate::node::environment::required;
use crate::node::fields::Facts;
use crate::node::objects::Objects;

/// Kubernetes' mode of files in such volumes.
const MODE: u32 = 0o644;

/// Files by their paths in the volume.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Payload {
    pub(super) files: BTreeMap<PathBuf, File>,
}

/// A file to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    pub(super) content: Vec<u8>,
    pub(super) mode: u32,
}

/// What an object holds, by key.
type Keys = BTreeMap<String, Vec<u8>>;

// === impl Payload ===

impl Payload {
    /// The files of a volume, and when a token in it is to be renewed.
    pub(super) async fn of(
        volume: &Volume,
        facts: &Facts<'_>,
        objects: &Objects,
        tokens: &Tokens,
    ) -> Result<(Self, Option<Instant>), String> {
        let mut payload = Self::default();
        let mut next = None;
        if let Some(source) = &volume.config_map {
            let mode = mode(source.default_mode);
            let keys = config_map(&source.name, source.optional, facts, objects)?;
            payload.add(
                keys,
                source.items.as_deref(),
                source.optional,
                mode,
                &source.name,
            )?;
        } else if let Some(source) = &volume.secret {
            let (name, mode) = (
                source.secret_name.as_deref().unwrap_or_default(),
                mode(source.default_mode),
            );
            let keys = secret(name, source.optional, facts, objects)?;
            payload.add(keys, source.items.as_deref(), source.optional, mode, name)?;
        } else if let Some(source) = &volume.downward_api {
            let items = source.items.as_deref().unwrap_or_default();
            payload.add_fields(items, facts, mode(source.default_mode))?;
        } else if let Some(source) = &volume.projected {
            let mode = mode(source.default_mode);
            for source in source.sources.iter().flatten() {
                let again = payload
                    .add_projection(source, facts, objects, tokens, mode)
                    .await?;
                next = match (next, again) {
                    (Some(next), Some(again)) => Some(again.min(next)),
                    (next, again) => next.or(again),
                };
            }
        } else {
            return Err(
                "this node knows emptyDir, configMap, secret, downwardAPI, projected and \
                        hostPath only"
                    .into(),
            );
        }
        Ok((payload, next))
    }

    async fn add_projection(
        &mut self,
        source: &VolumeProjection,
        facts: &Facts<'_>,
        objects: &Objects,
        tokens: &Tokens,
        mode: u32,
    ) -> Result<Option<Instant>, String> {
        if let Some(source) = &source.config_map {
            let keys = config_map(&source.name, source.optional, facts, objects)?;
            self.add(
                keys,
                source.items.as_deref(),
                source.optional,
                mode,
                &source.name,
            )?;
        }
        if let Some(source) = &source.secret {
            let keys = secret(&source.name, source.optional, facts, objects)?;
            self.add(
                keys,
                source.items.as_deref(),
                source.optional,
                mode,
                &source.name,
            )?;
        }
        if let Some(source) = &source.downward_api {
            self.add_fields(source.items.as_deref().unwrap_or_default(), facts, mode)?;
        }
        if source.cluster_trust_bundle.is_some() {
            return Err("this node knows no cluster trust bundles".into());
        }
        let Some(source) = &source.service_account_token else {
            return Ok(None);
        };
        let (token, again) = tokens.get(facts.pod, source).await?;
        self.put(&source.path, token.into_bytes(), mode)?;
        Ok(Some(again))
    }

    /// Adds the keys of an object: all of them, or those listed.
    fn add(
        &mut self,
        keys: Keys,
        items: Option<&[KeyToPath]>,
        optional: Option<bool>,
        mode: u32,
        name: &str,
    ) -> Result<(), String> {
        let Some(items) = items else {
            for (key, content) in keys {
                self.put(&key, content, mode)?;
            }
            return Ok(());
        };
        for item in items {
            match keys.get(&item.key) {
                Some(content) => {
                    let mode = item.mode.map_or(mode, |own| self::mode(Some(own)));
                    self.put(&item.path, content.clone(), mode)?;
                }
                None if optional == Some(true) => {}
                None => {
                    return Err(format!(
                        "{name:?} references non-existent key: {}",
                        item.key
                    ));
                }
            }
        }
        Ok(())
    }

    fn add_fields(
        &mut self,
        items: &[DownwardAPIVolumeFile],
        facts: &Facts<'_>,
        mode: u32,
    ) -> Result<(), String> {
        for item in items {
            let value = match (&item.field_ref, &item.resource_field_ref) {
                (Some(selector), _) => facts.field(selector)?,
                (None, Some(selector)) => facts.resource(selector, None)?,
                (None, None) => return Err(format!("{} names no field", item.path)),
            };
            let mode = item.mode.map_or(mode, |own| self::mode(Some(own)));
            self.put(&item.path, value.into_bytes(), mode)?;
        }
        Ok(())
    }

    fn put(&mut self, path: &str, content: Vec<u8>, mode: u32) -> Result<(), String> {
        let path = Path::new(path);
        let is_inside = path
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        // Names with two dots in front are the writer's own.
        let is_ours = path.to_string_lossy().starts_with("..");
        if !is_inside || is_ours || path.as_os_str().is_empty() {
            return Err(format!(
                "{} is no path for a file in a volume",
                path.display()
            ));
        }
        self.files.insert(path.into(), File { content, mode });
        Ok(())
    }
}

fn config_map(
    name: &str,
    optional: Option<bool>,
    facts: &Facts<'_>,
    objects: &Objects,
) -> Result<Keys, String> {
    let namespace = facts.pod.metadata.namespace.as_deref().unwrap_or_default();
    let found = objects.config_maps.get(namespace, name);
    let Some(map) = required(found, "configmap", name, optional)? else {
        return Ok(Keys::new());
    };
    let text = map
        .data
        .iter()
        .flatten()
        .map(|(key, value)| (key.clone(), value.clone().into_bytes()));
    let binary = map.binary_data.iter().flatten();
    Ok(text
        .chain(binary.map(|(key, ByteString(value))| (key.clone(), value.clone())))
        .collect())
}

fn secret(
    name: &str,
    optional: Option<bool>,
    facts: &Facts<'_>,
    objects: &Objects,
) -> Result<Keys, String> {
    let namespace = facts.pod.metadata.namespace.as_deref().unwrap_or_default();
    let found = objects.secrets.get(namespace, name);
    let Some(secret) = required(found, "secret", name, optional)? else {
        return Ok(Keys::new());
    };
    let data = secret.data.iter().flatten();
    Ok(data
        .map(|(key, ByteString(value))| (key.clone(), value.clone()))
        .collect())
}

fn mode(mode: Option<i32>) -> u32 {
    mode.and_then(|mode| u32::try_from(mode).ok())
        .map_or(MODE, |mode| mode & 0o777)
}
