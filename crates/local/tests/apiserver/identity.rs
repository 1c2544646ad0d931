//! Who is let in, and as whom.

use std::process::Command;

use k8s_openapi::api::authentication::v1::{
    SelfSubjectReview, TokenRequest, TokenRequestSpec, TokenReview, TokenReviewSpec,
};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use lateen_local::apiserver::User;

use crate::support::Served;
use crate::watching::server;

fn account(name: &str) -> ServiceAccount {
    ServiceAccount {
        metadata: ObjectMeta {
            name: Some(name.into()),
            ..ObjectMeta::default()
        },
        ..ServiceAccount::default()
    }
}

async fn token(api: &Api<ServiceAccount>, name: &str, audience: &str) -> String {
    let request = TokenRequest {
        spec: TokenRequestSpec {
            audiences: vec![audience.into()],
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let answer = api
        .create_token_request(name, &PostParams::default(), &request)
        .await
        .unwrap();
    answer.status.unwrap().token
}

async fn review(client: &kube::Client, token: &str, audience: &str) -> TokenReview {
    let api: Api<TokenReview> = Api::all(client.clone());
    let review = TokenReview {
        spec: TokenReviewSpec {
            token: Some(token.into()),
            audiences: Some(vec![audience.into()]),
        },
        ..TokenReview::default()
    };
    api.create(&PostParams::default(), &review).await.unwrap()
}

#[tokio::test]
async fn a_token_is_reviewed_for_its_audience_as_long_as_its_account_lives() {
    let (_server, client) = server();
    let accounts: Api<ServiceAccount> = Api::default_namespaced(client.clone());
    accounts
        .create(&PostParams::default(), &account("reviews"))
        .await
        .unwrap();
    let token = token(&accounts, "reviews", "istio-ca").await;

    let good = review(&client, &token, "istio-ca").await.status.unwrap();
    assert_eq!(good.authenticated, Some(true));
    let user = good.user.unwrap();
    assert_eq!(
        user.username.as_deref(),
        Some("system:serviceaccount:default:reviews")
    );
    assert!(
        user.groups
            .unwrap()
            .contains(&"system:serviceaccounts:default".to_owned())
    );

    let other = review(&client, &token, "another").await.status.unwrap();
    assert_eq!(other.authenticated, Some(false));
    let forged = review(&client, &token[..token.len() - 4], "istio-ca")
        .await
        .status
        .unwrap();
    assert_eq!(forged.authenticated, Some(false));

    accounts
        .delete("reviews", &DeleteParams::default())
        .await
        .unwrap();
    let gone = review(&client, &token, "istio-ca").await.status.unwrap();
    assert!(
        gone.error
            .unwrap()
            .contains("service account has been deleted")
    );
}

#[tokio::test]
async fn a_client_in_the_process_is_the_user_that_it_was_made_for() {
    let (server, _) = server();
    let api: Api<SelfSubjectReview> = Api::all(server.client(User::node("n1")));
    let answer = api
        .create(&PostParams::default(), &SelfSubjectReview::default())
        .await
        .unwrap();
    let user = answer.status.unwrap().user_info.unwrap();
    assert_eq!(user.username.as_deref(), Some("system:node:n1"));
    assert!(user.groups.unwrap().contains(&"system:nodes".to_owned()));
}

/// Runs kubectl without the administrator's certificate.
fn kubectl_with(served: &Served, options: &[&str], arguments: &[&str]) -> (bool, String) {
    let authority = served.directory.join("ca.crt");
    std::fs::write(&authority, served.server.ca()).unwrap();
    let program = std::env::var("KUBECTL").unwrap_or_else(|_| "kubectl".into());
    let output = Command::new(program)
        .args(["--server", &served.url, "--certificate-authority"])
        .arg(authority)
        .args(options)
        .args(arguments)
        .env("KUBECONFIG", "/dev/null")
        .env("HOME", &served.directory)
        .output()
        .expect("these tests need kubectl");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[test]
fn nobody_is_let_in_without_a_name() {
    let served = Served::start();
    let wrong = ["--token", "not-a-token"];
    let (is_in, said) = kubectl_with(&served, &wrong, &["get", "--raw", "/version"]);
    assert!(
        !is_in && said.contains("You must be logged in to the server"),
        "{said}"
    );
    let other = rcgen_authority();
    let certificate = served.directory.join("other.crt");
    let key = served.directory.join("other.key");
    std::fs::write(&certificate, other.0).unwrap();
    std::fs::write(&key, other.1).unwrap();
    let options = [
        "--client-certificate",
        certificate.to_str().unwrap(),
        "--client-key",
        key.to_str().unwrap(),
    ];
    let (is_in, said) = kubectl_with(&served, &options, &["get", "--raw", "/version"]);
    assert!(
        !is_in,
        "a certificate of another authority was let in: {said}"
    );
}

/// A certificate that names an administrator, but signs itself.
fn rcgen_authority() -> (String, String) {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params
        .distinguished_name
        .push(rcgen::DnType::OrganizationName, "system:masters");
    let key = rcgen::KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

#[test]
fn the_token_of_an_account_lets_it_in() {
    let served = Served::start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let token = runtime.block_on(async {
        let accounts: Api<ServiceAccount> = Api::default_namespaced(served.client());
        accounts
            .create(&PostParams::default(), &account("app"))
            .await
            .unwrap();
        token(&accounts, "app", "https://kubernetes.default.svc").await
    });
    let options = ["--token", token.as_str()];
    let (is_in, said) = kubectl_with(&served, &options, &["get", "ns", "-o", "name"]);
    assert!(is_in && said.contains("namespace/default"), "{said}");
}

#[test]
fn an_administrator_may_be_taken_for_somebody_else() {
    let served = Served::start();
    let review = r#"{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}"#;
    let create = "create --raw /apis/authentication.k8s.io/v1/selfsubjectreviews -f -";
    let said = served.with_input(&format!("{create} --as=ann --as-group=crew"), review);
    assert!(
        said.contains(r#""username":"ann""#) && said.contains(r#""crew""#),
        "{said}"
    );
}
