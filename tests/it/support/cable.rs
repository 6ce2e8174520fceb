//! A cable between the service and its database that a test can cut and mend.

use std::{path::PathBuf, str::FromStr};

use sqlx::{ConnectOptions, postgres::PgConnectOptions};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncWrite, copy_bidirectional},
    net::{TcpStream, UnixListener, UnixStream},
    task::JoinSet,
};

/// The number in the socket's name.
const PORT: u16 = 5432;

/// Where the database listens.
#[derive(Clone)]
enum Far {
    Socket(PathBuf),
    Address(String),
}

/// A cable; dropping it cuts it.
pub struct Cable {
    folder: TempDir,
    far: Far,
    running: Option<JoinSet<()>>,
}

impl Cable {
    /// Lays a cable to the database at `url`; gives the address of its near end.
    pub async fn lay(url: &str) -> (Self, String) {
        let options = PgConnectOptions::from_str(url).unwrap();
        let far = match options.get_socket() {
            Some(folder) => Far::Socket(folder.join(format!(".s.PGSQL.{}", options.get_port()))),
            None => Far::Address(format!("{}:{}", options.get_host(), options.get_port())),
        };
        let folder = tempfile::Builder::new().prefix("cable").tempdir_in("/tmp").unwrap();
        let near = options.port(PORT).socket(folder.path()).to_url_lossy().to_string();
        let mut cable = Self { folder, far, running: None };
        cable.mend();
        (cable, near)
    }

    /// Ends every connection and refuses new ones.
    pub fn cut(&mut self) {
        self.running = None;
        drop(std::fs::remove_file(self.socket()));
    }

    /// Lets connections through again.
    pub fn mend(&mut self) {
        let listener = UnixListener::bind(self.socket()).unwrap();
        let mut running = JoinSet::new();
        running.spawn(carry(listener, self.far.clone()));
        self.running = Some(running);
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join(format!(".s.PGSQL.{PORT}"))
    }
}

/// Carries each connection until this future is dropped, and the connections with it.
async fn carry(listener: UnixListener, far: Far) {
    let mut connections = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        let far = far.clone();
        connections.spawn(async move {
            match far {
                Far::Socket(path) => join(near, UnixStream::connect(path).await).await,
                Far::Address(address) => join(near, TcpStream::connect(address).await).await,
            }
        });
    }
}

async fn join(mut near: UnixStream, far: std::io::Result<impl AsyncRead + AsyncWrite + Unpin>) {
    if let Ok(mut far) = far {
        drop(copy_bidirectional(&mut near, &mut far).await);
    }
}
