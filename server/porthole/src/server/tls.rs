//! TLS by a certificate of whoever operates Porthole.
//!
//! The files may be root's alone: `serve` opens them whenever it is asked, and hands them over. They
//! are asked for every few seconds, so that a renewed certificate is in force soon, for connections
//! made from then on; one that cannot be used leaves the one before in force, and is told once.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use porthole_protocol::certificate;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use crate::keeper::packet::PacketSocket;

/// How often the files are asked for.
const LOOK: Duration = Duration::from_secs(5);
/// More than a chain of certificates, or a key, can need.
const SIZE: u64 = 1024 * 1024;

/// Why there is no TLS by these files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{what} cannot be read: {why}")]
    Unreadable {
        /// Which file.
        what: String,
        /// Why.
        why: String,
    },
    /// There is no certificate in it.
    #[error(
        "{0} holds no certificate. It is to be a PEM file with the server's certificate first and then those that it was signed by (\"fullchain.pem\")."
    )]
    NoCertificate(String),
    /// There is no key in it.
    #[error(
        "{0} holds no private key. It is to be a PEM file (\"BEGIN PRIVATE KEY\"); one with a passphrase is to be decrypted first: openssl pkey -in KEY -out NEW."
    )]
    NoKey(String),
    /// They do not belong together.
    #[error(
        "{key} is not the key of the first certificate in {cert}: take the two that were made together."
    )]
    Mismatch {
        /// The certificate's file.
        cert: String,
        /// The key's.
        key: String,
    },
    /// They cannot be used for another reason.
    #[error("{cert} and {key} cannot be used: {why}")]
    Unusable {
        /// The certificate's file.
        cert: String,
        /// The key's.
        key: String,
        /// Why.
        why: rustls::Error,
    },
}

/// What TLS is spoken by.
#[derive(Debug, Clone)]
pub struct Keys(Arc<ServerConfig>);

impl Keys {
    /// For a connection.
    pub(super) fn acceptor(&self) -> tokio_rustls::TlsAcceptor {
        Arc::clone(&self.0).into()
    }
}

/// A certificate and its key, as bytes, with what people call the files.
struct Pair {
    names: [String; 2],
    contents: [Vec<u8>; 2],
}

impl Pair {
    fn read(names: [String; 2], files: [File; 2]) -> Result<Self, TlsError> {
        let mut contents = [Vec::new(), Vec::new()];
        for ((file, name), content) in files.into_iter().zip(&names).zip(&mut contents) {
            let size = file.take(SIZE + 1).read_to_end(content);
            let why = match size {
                Ok(size) if size as u64 <= SIZE => continue,
                Ok(_) => "it has more than a megabyte".to_owned(),
                Err(error) => error.to_string(),
            };
            let what = name.clone();
            return Err(TlsError::Unreadable { what, why });
        }
        Ok(Self { names, contents })
    }

    fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for content in &self.contents {
            hash.update((content.len() as u64).to_be_bytes());
            hash.update(content);
        }
        hash.finalize().into()
    }

    fn keys(&self) -> Result<Keys, TlsError> {
        let [cert, key] = &self.names;
        let chain = CertificateDer::pem_slice_iter(&self.contents[0])
            .collect::<Result<Vec<_>, _>>()
            .ok()
            .filter(|chain| !chain.is_empty())
            .ok_or_else(|| TlsError::NoCertificate(cert.clone()))?;
        let private = PrivateKeyDer::from_pem_slice(&self.contents[1])
            .map_err(|_| TlsError::NoKey(key.clone()))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|config| {
                config
                    .with_no_client_auth()
                    .with_single_cert(chain, private)
            })
            .map_err(|why| match why {
                rustls::Error::InconsistentKeys(_) => TlsError::Mismatch {
                    cert: cert.clone(),
                    key: key.clone(),
                },
                why => TlsError::Unusable {
                    cert: cert.clone(),
                    key: key.clone(),
                    why,
                },
            })?;
        // WebSockets are an upgrade of HTTP/1.1.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Keys(Arc::new(config)))
    }
}

/// Whether TLS can be spoken by these files, before anything is started.
pub fn check(cert: &Path, key: &Path) -> Result<(), TlsError> {
    let names = [cert, key].map(|path| path.display().to_string());
    let open = |path: &Path| {
        File::open(path).map_err(|error| TlsError::Unreadable {
            what: path.display().to_string(),
            why: error.to_string(),
        })
    };
    Pair::read(names, [open(cert)?, open(key)?])?
        .keys()
        .map(drop)
}

/// Asks for the files again and again. What comes out has the keys in force, none before the first.
pub(super) fn follow(
    serve: OwnedFd,
    names: [String; 2],
) -> io::Result<watch::Receiver<Option<Keys>>> {
    let serve = PacketSocket::from_fd(serve)?;
    let (sender, receiver) = watch::channel(None);
    tokio::spawn(async move {
        let mut last = None;
        loop {
            match ask(&serve, &names).await {
                Ok(pair) if last.as_ref() == Some(&pair.digest()) => {}
                Ok(pair) => {
                    last = Some(pair.digest());
                    match pair.keys() {
                        Ok(keys) => {
                            if sender.send_replace(Some(keys)).is_some() {
                                tracing::info!("another certificate is in force from now on");
                            }
                        }
                        Err(error) => tracing::error!(%error, "the certificate cannot be used"),
                    }
                }
                // Told once for each cause, and again when they could be read in between.
                Err(error) => {
                    let told = Some(Sha256::digest(error.to_string()).into());
                    if last != told {
                        tracing::error!(%error, "the certificate cannot be read");
                        last = told;
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = sender.closed() => return,
            }
        }
    });
    Ok(receiver)
}

async fn ask(serve: &PacketSocket, names: &[String; 2]) -> Result<Pair, TlsError> {
    let unreadable = |why: String| TlsError::Unreadable {
        what: names.join(" or "),
        why,
    };
    let gone = |error: &dyn std::fmt::Display| unreadable(format!("serve did not answer: {error}"));
    serve
        .send(certificate::REQUEST, &[])
        .await
        .map_err(|error| gone(&error))?;
    let answer = serve
        .receive(certificate::LONGEST)
        .await
        .map_err(|error| gone(&error))?;
    let (why, files) = answer.ok_or_else(|| gone(&"it has hung up"))?;
    let files: [OwnedFd; 2] = files
        .try_into()
        .map_err(|_| unreadable(String::from_utf8_lossy(&why).into_owned()))?;
    Pair::read(names.clone(), files.map(File::from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertifiedKey, generate_simple_self_signed};

    fn made() -> (Vec<u8>, Vec<u8>) {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).expect("made");
        (
            cert.pem().into_bytes(),
            signing_key.serialize_pem().into_bytes(),
        )
    }

    fn keys(cert: &[u8], key: &[u8]) -> Result<Keys, TlsError> {
        let pair = Pair {
            names: ["cert.pem".to_owned(), "key.pem".to_owned()],
            contents: [cert.to_vec(), key.to_vec()],
        };
        pair.keys()
    }

    #[test]
    fn what_cannot_be_used_is_said_in_words() {
        let ((cert, key), (other, _)) = (made(), made());
        assert!(keys(&cert, &key).is_ok(), "the two that belong together");
        let why = |cert: &[u8], key: &[u8]| keys(cert, key).expect_err("refused").to_string();
        assert!(why(&other, &key).contains("not the key of the first certificate"));
        assert!(why(b"", &key).contains("cert.pem holds no certificate"));
        assert!(why(&key, &key).contains("cert.pem holds no certificate"));
        assert!(why(&cert, b"nothing").contains("key.pem holds no private key"));
        assert!(why(&cert, &cert).contains("key.pem holds no private key"));
        let chained = [&cert[..], &other[..]].concat();
        assert!(keys(&chained, &key).is_ok(), "a chain goes on after it");
        let broken = String::from_utf8(cert.clone())
            .expect("text")
            .replace("MII", "MIJ");
        assert!(keys(broken.as_bytes(), &key).is_err());
    }

    #[test]
    fn a_file_that_is_not_there_or_too_long_is_said() {
        let directory = tempfile::tempdir().expect("directory");
        let (cert, key) = (directory.path().join("c"), directory.path().join("k"));
        let why = check(&cert, &key).expect_err("nothing there").to_string();
        assert!(why.contains("cannot be read: No such file"), "{why}");
        std::fs::write(&cert, vec![b'a'; 1024 * 1024 + 1]).expect("written");
        std::fs::write(&key, "").expect("written");
        let why = check(&cert, &key).expect_err("too long").to_string();
        assert!(why.contains("more than a megabyte"), "{why}");
    }
}
