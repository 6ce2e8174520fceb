//! A cable between the service and its database that a test can cut and mend, or make carry in one direction only.

use std::{
    path::PathBuf,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use sqlx::{ConnectOptions, postgres::PgConnectOptions};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, split},
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
    mute: Arc<AtomicBool>,
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
        let mut cable = Self { folder, far, running: None, mute: Arc::default() };
        cable.mend();
        (cable, near)
    }

    /// Ends every connection and refuses new ones.
    pub fn cut(&mut self) {
        self.running = None;
        drop(std::fs::remove_file(self.socket()));
    }

    /// Carries what is asked, and no answer any more.
    pub fn mute(&self) {
        self.mute.store(true, Ordering::SeqCst);
    }

    /// Lets connections through again, in both directions.
    pub fn mend(&mut self) {
        self.mute = Arc::default();
        let listener = UnixListener::bind(self.socket()).unwrap();
        let mut running = JoinSet::new();
        running.spawn(carry(listener, self.far.clone(), Arc::clone(&self.mute)));
        self.running = Some(running);
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join(format!(".s.PGSQL.{PORT}"))
    }
}

/// Carries each connection until this future is dropped, and the connections with it.
async fn carry(listener: UnixListener, far: Far, mute: Arc<AtomicBool>) {
    let mut connections = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        let (far, mute) = (far.clone(), Arc::clone(&mute));
        connections.spawn(async move {
            match far {
                Far::Socket(path) => join(near, UnixStream::connect(path).await, &mute).await,
                Far::Address(address) => join(near, TcpStream::connect(address).await, &mute).await,
            }
        });
    }
}

/// Carries one connection until either side ends it.
async fn join(near: UnixStream, far: std::io::Result<impl AsyncRead + AsyncWrite + Unpin>, mute: &AtomicBool) {
    let Ok(far) = far else { return };
    let ((mut asked, mut near), (mut answers, mut far)) = (split(near), split(far));
    let back = async {
        let mut bytes = vec![0; 1 << 16];
        while let Ok(count @ 1..) = answers.read(&mut bytes).await {
            if !mute.load(Ordering::SeqCst) && near.write_all(&bytes[..count]).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        _ = copy(&mut asked, &mut far) => {}
        () = back => {}
    }
}
