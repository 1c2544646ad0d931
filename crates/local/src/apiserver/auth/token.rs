//! Tokens of service accounts: JSON Web Tokens, signed with ES256 by a key of the cluster.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
    UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::User;

/// What a token says about the account that it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    /// The object that the token dies with: kind, name and uid of a Pod, Secret or Node.
    pub(crate) bound: Option<(String, String, String)>,
}

/// A token whose signature and times are right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verified {
    pub(crate) account: Account,
    pub(crate) audiences: Vec<String>,
}

/// Signs and verifies tokens.
pub(crate) struct Signer {
    key: EcdsaKeyPair,
    pkcs8: Vec<u8>,
    key_id: String,
    issuer: String,
}

/// The key is unusable.
#[derive(Debug, thiserror::Error)]
#[error("the signing key of service account tokens is unusable: {0}")]
pub(crate) struct KeyError(String);

// === impl Signer ===

impl Signer {
    /// Makes a signer with a new key.
    pub(crate) fn generate(issuer: &str) -> Result<Self, KeyError> {
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
                .map_err(|error| KeyError(error.to_string()))?;
        Self::from_pkcs8(pkcs8.as_ref(), issuer)
    }

    /// Takes up a key that was stored.
    pub(crate) fn from_pkcs8(pkcs8: &[u8], issuer: &str) -> Result<Self, KeyError> {
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8)
            .map_err(|error| KeyError(error.to_string()))?;
        let der = key
            .public_key()
            .as_der()
            .map_err(|error| KeyError(error.to_string()))?;
        Ok(Self {
            key_id: URL_SAFE_NO_PAD.encode(digest(&SHA256, der.as_ref())),
            key,
            pkcs8: pkcs8.to_vec(),
            issuer: issuer.to_owned(),
        })
    }

    pub(crate) fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The public key as a JSON Web Key set.
    pub(crate) fn key_set(&self) -> Value {
        // The point is uncompressed: 0x04, then x and y of 32 bytes each.
        let point = self.key.public_key().as_ref();
        let coordinate = |range: std::ops::Range<usize>| {
            URL_SAFE_NO_PAD.encode(point.get(range).unwrap_or_default())
        };
        json!({"keys": [{
            "use": "sig", "kty": "EC", "kid": self.key_id, "crv": "P-256", "alg": "ES256",
            "x": coordinate(1..33), "y": coordinate(33..65),
        }]})
    }

    /// Issues a token that is good from `now` until `expires` (seconds since the Unix epoch).
    pub(crate) fn issue(
        &self,
        account: &Account,
        audiences: &[String],
        now: i64,
        expires: i64,
    ) -> Result<String, KeyError> {
        let header = json!({"alg": "ES256", "kid": self.key_id});
        let mut kubernetes = json!({
            "namespace": account.namespace,
            "serviceaccount": {"name": account.name, "uid": account.uid},
        });
        if let Some((kind, name, uid)) = &account.bound {
            kubernetes[kind.to_ascii_lowercase()] = json!({"name": name, "uid": uid});
        }
        let claims = json!({
            "aud": audiences,
            "exp": expires,
            "iat": now,
            "nbf": now,
            "iss": self.issuer,
            "jti": super::super::object::new_uid(),
            "kubernetes.io": kubernetes,
            "sub": format!("system:serviceaccount:{}:{}", account.namespace, account.name),
        });
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let mut token = format!("{}.{}", encode(&header), encode(&claims));
        let signature = self
            .key
            .sign(&SystemRandom::new(), token.as_bytes())
            .map_err(|error| KeyError(error.to_string()))?;
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(signature));
        Ok(token)
    }

    /// Verifies a token at the time `now`; says what is wrong with it otherwise.
    pub(crate) fn verify(&self, token: &str, now: i64) -> Result<Verified, &'static str> {
        let (signed, signature) = token.rsplit_once('.').ok_or("it is not a JSON Web Token")?;
        let (header, claims) = signed.split_once('.').ok_or("it is not a JSON Web Token")?;
        let header = decode(header).ok_or("its header cannot be read")?;
        if header["alg"] != "ES256" {
            return Err("its algorithm is not ES256");
        }
        let signature = URL_SAFE_NO_PAD
            .decode(signature)
            .map_err(|_| "its signature cannot be read")?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public_key().as_ref())
            .verify(signed.as_bytes(), &signature)
            .map_err(|_| "its signature is not of this cluster")?;
        let claims = decode(claims).ok_or("its claims cannot be read")?;
        if claims["iss"].as_str() != Some(self.issuer.as_str()) {
            return Err("its issuer is another one");
        }
        if claims["exp"].as_i64().is_none_or(|end| end <= now) {
            return Err("it has expired");
        }
        // A minute of grace, for clocks that are set back.
        if claims["nbf"].as_i64().is_some_and(|start| start > now + 60) {
            return Err("it is not valid yet");
        }
        account_of_claims(&claims).ok_or("it names no service account")
    }
}

// === impl Account ===

impl Account {
    /// The user that the account is.
    pub(crate) fn user(&self) -> User {
        let mut user = User::new(
            &format!("system:serviceaccount:{}:{}", self.namespace, self.name),
            &[
                "system:serviceaccounts",
                &format!("system:serviceaccounts:{}", self.namespace),
            ],
        );
        user.uid.clone_from(&self.uid);
        if let Some((kind, name, uid)) = &self.bound
            && kind == "Pod"
        {
            let key = |suffix| format!("authentication.kubernetes.io/pod-{suffix}");
            user.extra.push((key("name"), name.clone()));
            user.extra.push((key("uid"), uid.clone()));
        }
        user
    }
}

fn decode(part: &str) -> Option<Value> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

fn account_of_claims(claims: &Value) -> Option<Verified> {
    let kubernetes = &claims["kubernetes.io"];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let bound = ["Pod", "Secret", "Node"].into_iter().find_map(|kind| {
        let object = &kubernetes[kind.to_ascii_lowercase()];
        Some((
            kind.to_owned(),
            text(&object["name"])?,
            text(&object["uid"])?,
        ))
    });
    Some(Verified {
        account: Account {
            namespace: text(&kubernetes["namespace"])?,
            name: text(&kubernetes["serviceaccount"]["name"])?,
            uid: text(&kubernetes["serviceaccount"]["uid"])?,
            bound,
        },
        audiences: claims["aud"].as_array()?.iter().filter_map(text).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Account {
        Account {
            namespace: "default".into(),
            name: "reviews".into(),
            uid: "1".into(),
            bound: Some(("Pod".into(), "reviews-v1".into(), "2".into())),
        }
    }

    #[test]
    fn a_token_verifies_until_it_expires() {
        let signer = Signer::generate("https://kubernetes.default.svc").unwrap();
        let audiences = vec!["istio-ca".to_owned()];
        let token = signer.issue(&account(), &audiences, 1000, 2000).unwrap();
        let verified = signer.verify(&token, 1999).unwrap();
        assert_eq!(verified.account, account());
        assert_eq!(verified.audiences, audiences);
        assert_eq!(signer.verify(&token, 2000), Err("it has expired"));
    }

    #[test]
    fn a_token_of_another_key_is_refused() {
        let [one, other] = [0, 1].map(|_| Signer::generate("x").unwrap());
        let token = one.issue(&account(), &[], 1000, 2000).unwrap();
        assert_eq!(
            other.verify(&token, 1500),
            Err("its signature is not of this cluster")
        );
    }

    #[test]
    fn a_token_without_a_signature_is_refused() {
        let signer = Signer::generate("x").unwrap();
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
        assert!(signer.verify(&format!("{none}.{none}."), 0).is_err());
        assert!(signer.verify("", 0).is_err());
    }
}
