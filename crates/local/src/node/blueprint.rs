//! From a container's spec to what its process is told: program, environment, user, file tree.

use std::path::PathBuf;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Pod};

use super::Context;
use super::container::capabilities::Capabilities;
use super::container::spec::{Program, Root, Spec, User};
use super::environment::{self, expand};
use super::fields::Facts;
use super::lifecycle;
use super::naming;
use super::volumes::Volumes;

/// The container that is the mesh's proxy. It needs the right to mark its sockets: in a user
/// namespace of one user the proxy's own user, by which capture knows it elsewhere, does not exist.
const PROXY: &str = "istio-proxy";

/// Why a container cannot be started for now: Kubernetes' word, and for the user.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// What a container's process is told.
pub(crate) fn of(
    container: &Container,
    facts: &Facts<'_>,
    volumes: &Volumes,
    context: &Context,
) -> Result<Spec, Held> {
    let config = |message: String| Held {
        reason: "CreateContainerConfigError",
        message,
    };
    let image = container.image.as_deref().unwrap_or_default();
    let image = context.images.resolve(image).map_err(|message| Held {
        reason: lifecycle::NO_IMAGE,
        message,
    })?;
    let variables = environment::of(container, facts, &context.objects).map_err(config)?;
    let spec = facts.pod.spec.as_ref();
    let known = spec
        .and_then(|spec| spec.volumes.as_deref())
        .unwrap_or_default();
    let mounts = volumes
        .mounts(known, container, &variables)
        .map_err(config)?;
    let words = |list: &Option<Vec<String>>| -> Vec<String> {
        list.iter()
            .flatten()
            .map(|word| expand(word, &variables))
            .collect()
    };
    // A command replaces the image's, its arguments included.
    let mut arguments = words(&container.command);
    if arguments.is_empty() {
        arguments = image.entrypoint;
    }
    arguments.extend(words(&container.args));
    let directory = container
        .working_dir
        .as_deref()
        .filter(|path| !path.is_empty());
    let security = container.security_context.as_ref();
    Ok(Spec {
        root: Root {
            scratch: context.runtime.join("root"),
            programs: image.program.into_iter().collect(),
            files: files(facts, context),
            mounts,
            is_read_only: security
                .and_then(|it| it.read_only_root_filesystem)
                .unwrap_or(false),
        },
        program: Program {
            arguments,
            environment: variables.into_list(),
            directory: PathBuf::from(directory.unwrap_or("/")),
            user: user(facts.pod, container).filter(|_| context.maps_users),
            capabilities: capabilities(container),
        },
    })
}

/// The container's own files of `/etc`.
fn files(facts: &Facts<'_>, context: &Context) -> Vec<(PathBuf, String)> {
    let hostname = naming::hostname(facts.pod);
    let mut passwd = String::from(
        "root:x:0:0:root:/root:/bin/sh\nistio-proxy:x:1337:1337:proxy:/:/sbin/nologin\n\
         nobody:x:65534:65534:nobody:/:/sbin/nologin\n",
    );
    let mut group = String::from("root:x:0:\nistio-proxy:x:1337:\nnogroup:x:65534:\n");
    let security = facts
        .pod
        .spec
        .as_ref()
        .and_then(|spec| spec.security_context.as_ref());
    if let Some(uid) = security
        .and_then(|it| it.run_as_user)
        .filter(|uid| ![0, 1337, 65534].contains(uid))
    {
        passwd.push_str(&format!("user:x:{uid}:{uid}:user:/:/bin/sh\n"));
        group.push_str(&format!("user:x:{uid}:\n"));
    }
    let nsswitch = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\n\
                    protocols: files\nservices: files\n";
    [
        ("/etc/passwd", passwd),
        ("/etc/group", group),
        ("/etc/hostname", format!("{hostname}\n")),
        ("/etc/hosts", naming::hosts(facts.pod, facts.address)),
        (
            "/etc/resolv.conf",
            naming::resolv_conf(facts.pod, context.dns),
        ),
        ("/etc/nsswitch.conf", nsswitch.into()),
    ]
    .into_iter()
    .map(|(path, text)| (path.into(), text))
    .collect()
}

/// Who the container is to be; `None` is root.
fn user(pod: &Pod, container: &Container) -> Option<User> {
    let own = container.security_context.as_ref();
    let all = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.security_context.as_ref());
    let number = |value: Option<i64>| value.and_then(|value| u32::try_from(value).ok());
    let uid = number(
        own.and_then(|own| own.run_as_user)
            .or(all.and_then(|all| all.run_as_user)),
    )?;
    if uid == 0 {
        return None;
    }
    let gid = number(
        own.and_then(|own| own.run_as_group)
            .or(all.and_then(|all| all.run_as_group)),
    );
    let groups = all
        .into_iter()
        .flat_map(|all| {
            all.supplemental_groups
                .iter()
                .flatten()
                .chain(&all.fs_group)
        })
        .filter_map(|group| number(Some(*group)));
    Some(User {
        uid,
        gid: gid.unwrap_or(0),
        groups: groups.collect(),
    })
}

fn capabilities(container: &Container) -> Capabilities {
    let security = container.security_context.as_ref();
    let added = security
        .and_then(|security| security.capabilities.as_ref())
        .and_then(|capabilities| capabilities.add.as_deref())
        .unwrap_or_default();
    let mut granted = Capabilities::granted(added.iter().map(String::as_str));
    if security.and_then(|security| security.privileged) == Some(true) {
        granted = granted.with(Capabilities::granted(["ALL"]));
    }
    if container.name == PROXY {
        granted = granted.with(Capabilities::granted(["NET_ADMIN"]));
    }
    granted
}

/// A program for probes and hooks: the container's own with no arguments yet.
pub(crate) fn program_for_actions(spec: &Spec) -> Arc<Program> {
    Arc::new(spec.program.clone())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn container(security: &Value) -> Container {
        serde_json::from_value(json!({ "name": "app", "securityContext": security })).unwrap()
    }

    #[test]
    fn the_containers_user_comes_before_the_pods() {
        let pod: Pod = serde_json::from_value(json!({ "spec": { "containers": [],
            "securityContext": { "runAsUser": 1000, "fsGroup": 7 } } }))
        .unwrap();
        let user = |security| user(&pod, &container(&security));
        assert_eq!(user(json!({})).unwrap().uid, 1000);
        let own = user(json!({ "runAsUser": 1337, "runAsGroup": 1338 })).unwrap();
        assert_eq!((own.uid, own.gid, own.groups), (1337, 1338, vec![7]));
        assert_eq!(user(json!({ "runAsUser": 0 })), None);
    }

    #[test]
    fn only_the_proxy_may_mark_its_sockets_unasked() {
        let none = Capabilities::default();
        let dropped = json!({ "capabilities": { "drop": ["ALL"] } });
        assert_eq!(capabilities(&container(&dropped)), none);
        let mut proxy = container(&dropped);
        proxy.name = PROXY.into();
        assert_eq!(capabilities(&proxy), Capabilities::granted(["NET_ADMIN"]));
        let added = json!({ "capabilities": { "add": ["NET_ADMIN", "SYS_ADMIN"] } });
        assert_eq!(
            capabilities(&container(&added)),
            Capabilities::granted(["NET_ADMIN"])
        );
    }
}
