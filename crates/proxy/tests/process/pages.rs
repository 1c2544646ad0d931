//! The ports on which the proxy speaks about itself.

use lateen_model::proxy::Role;
use tokio::time::timeout;

use crate::control::Control;
use crate::proxy::{PATIENCE, backend, free_port, gateway};

fn directory(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()))
}

#[tokio::test]
async fn the_applications_probes_are_carried_out() {
    let control = Control::start(Role::Gateway).await;
    let app = backend("ok", usize::MAX).await;
    let (up, down) = (app.address.port(), free_port().await);
    let probers = format!(
        r#"--app-probers={{"/app-health/a/livez":{{"httpGet":{{"path":"/live","port":{up}}}}},
            "/app-health/a/readyz":{{"tcpSocket":{{"port":{up}}}}},
            "/app-health/a/startupz":{{"httpGet":{{"path":"/live","port":{down}}}}},
            "/app-health/b/livez":{{"grpc":{{"port":{down}}}}}}}"#
    );
    let data = directory("probes");
    let proxy = gateway(control.address, &data, &[&probers]);
    for (path, status) in [
        ("/app-health/a/livez", 200),
        ("/app-health/a/readyz", 200),
        ("/app-health/a/startupz", 500),
        ("/app-health/b/livez", 500),
        ("/app-health/b/readyz", 404),
    ] {
        let (found, body) = proxy.page("status", path).await;
        assert_eq!(found, status, "{path}: {body}");
    }
    std::fs::remove_dir_all(data).ok();
}

#[tokio::test]
async fn the_applications_metrics_follow_the_proxys() {
    let control = Control::start(Role::Gateway).await;
    let app = backend("app_metric 1\n", usize::MAX).await;
    let annotations = format!(
        r#"--app-metrics={{"scrape":"true","port":"{}"}}"#,
        app.address.port()
    );
    let data = directory("metrics");
    let proxy = gateway(control.address, &data, &[&annotations]);
    let (status, body) = proxy.page("status", "/stats/prometheus").await;
    assert_eq!(status, 200);
    assert!(body.contains("istio_build{"), "{body}");
    assert!(body.ends_with("app_metric 1\n"), "{body}");
    let (_, own) = proxy.page("metrics", "/stats/prometheus").await;
    assert!(!own.contains("app_metric"), "{own}");
    std::fs::remove_dir_all(data).ok();
}

#[tokio::test]
async fn the_admin_port_shows_and_changes_the_proxy() {
    let control = Control::start(Role::Gateway).await;
    let data = directory("admin");
    let mut proxy = gateway(control.address, &data, &["--drain-duration=0"]);
    proxy.wait_for("admin", "/ready", 200, "LIVE").await;
    for path in ["/clusters", "/listeners", "/stats", "/memory", "/help"] {
        let (status, body) = proxy.page("admin", path).await;
        assert_eq!(status, 200, "{path}: {body}");
    }
    assert_eq!(proxy.page("admin", "/nothing").await.0, 404);
    assert_eq!(proxy.page("admin", "/logging?level=debug").await.0, 405);
    assert_eq!(
        proxy.ask("admin", "POST", "/logging?level=debug").await.0,
        200
    );
    let (status, why) = proxy.ask("admin", "POST", "/logging?level=a=b=c").await;
    assert_eq!(status, 400, "{why}");
    assert_eq!(proxy.page("status", "/quitquitquit").await.0, 405);
    assert_eq!(proxy.ask("status", "POST", "/quitquitquit").await.0, 200);
    let ended = timeout(PATIENCE, proxy.child.wait()).await;
    assert!(ended.expect("it ends").expect("its status").success());
    std::fs::remove_dir_all(data).ok();
}
