//! The tar of a model's folder, written while it is read: one chunk of it is in memory at a time.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use futures::Stream;
use tokio::io::{AsyncReadExt, AsyncWrite, DuplexStream, duplex};
use tokio_tar::{Builder, EntryType, Header};
use tokio_util::io::ReaderStream;

use crate::layout;

/// What is packed of a folder beside its tensors, where it is there; the card comes beside it.
const FILES: [&str; 6] = [
    layout::CONFIG,
    layout::GENERATION_CONFIG,
    layout::SPECIAL_TOKENS,
    layout::CARD,
    layout::TOKENIZER,
    layout::TOKENIZER_CONFIG,
];

const CARD: &str = "README.md";

/// A header and the end of an archive are counted in blocks.
const BLOCK_BYTES: u64 = 512;

/// Two empty blocks end an archive.
const END_BYTES: u64 = 2 * BLOCK_BYTES;

/// What the reader may be ahead of the client.
const BUFFER_BYTES: usize = 256 << 10;

/// A longer name would need an entry of its own; it is only that of the unpacked folder.
const MAX_NAME: usize = 64;

/// A model ready to be packed.
#[derive(Debug)]
pub struct Export {
    folder: String,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    name: String,
    content: Content,
    bytes: u64,
}

#[derive(Debug)]
enum Content {
    File(PathBuf),
    Text(String),
}

impl Export {
    /// The model in `directory` under `name`, with this card.
    ///
    /// # Errors
    /// A file that cannot be looked at; one that is not there is left out.
    pub fn new(directory: &Path, name: &str, card: String) -> io::Result<Self> {
        let bytes = card.len() as u64;
        let mut entries = vec![Entry { name: CARD.to_owned(), content: Content::Text(card), bytes }];
        for name in FILES.map(str::to_owned).into_iter().chain(layout::weight_files(directory)) {
            let path = directory.join(&name);
            match fs::metadata(&path) {
                Ok(found) => entries.push(Entry { name, content: Content::File(path), bytes: found.len() }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(Self { folder: plain_name(name), entries })
    }

    /// Whether the folder lacks the file that every T5's tokenizer can be read from.
    pub fn lacks_tokenizer(&self) -> bool {
        self.entries.iter().all(|entry| entry.name != layout::TOKENIZER)
    }

    /// Adds a `tokenizer.json` that the folder lacks.
    pub fn add_tokenizer(&mut self, json: String) {
        let bytes = json.len() as u64;
        self.entries.push(Entry { name: layout::TOKENIZER.to_owned(), content: Content::Text(json), bytes });
        self.entries.sort_by(|one, other| one.name.cmp(&other.name));
    }

    /// A file name that is safe in a header and on every disk.
    pub fn filename(&self) -> String {
        format!("{}.tar", self.folder)
    }

    /// The size of the tar: a client that gets less knows that it broke off.
    pub fn bytes(&self) -> u64 {
        let blocks = |entry: &Entry| BLOCK_BYTES + entry.bytes.next_multiple_of(BLOCK_BYTES);
        self.entries.iter().map(blocks).sum::<u64>() + END_BYTES
    }

    /// The tar. It ends early where a file can no longer be read; the log has the cause.
    pub fn stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send + use<> {
        let (writer, reader) = duplex(BUFFER_BYTES);
        tokio::spawn(async move {
            let folder = self.folder.clone();
            match self.pack(writer).await {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    tracing::debug!(folder, "an export's client went away");
                }
                Err(error) => tracing::error!(folder, %error, "an export broke off"),
            }
        });
        ReaderStream::with_capacity(reader, BUFFER_BYTES)
    }

    async fn pack(self, writer: DuplexStream) -> io::Result<()> {
        let mut archive = Builder::new_non_terminated(writer);
        for Entry { name, content, bytes } in self.entries {
            let mut header = header(bytes);
            let path = format!("{}/{name}", self.folder);
            match content {
                Content::Text(text) => archive.append_data(&mut header, path, text.as_bytes()).await?,
                Content::File(file) => append_file(&mut archive, &mut header, path, &file, bytes).await?,
            }
        }
        archive.finish().await
    }
}

async fn append_file<W: AsyncWrite + Unpin + Send>(
    archive: &mut Builder<W>,
    header: &mut Header,
    path: String,
    file: &Path,
    bytes: u64,
) -> io::Result<()> {
    // Somebody may be writing a folder by hand: its length is what the header says, or the archive breaks off.
    let mut content = tokio::fs::File::open(file).await?.take(bytes);
    archive.append_data(header, path, &mut content).await?;
    if content.limit() == 0 {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{} became shorter", file.display())))
}

fn header(bytes: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_size(bytes);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

/// The name with everything replaced that a header, a shell or a file system might take for something else.
fn plain_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let name: String = name.chars().map(plain).take(MAX_NAME).collect();
    let name = name.trim_start_matches(['.', '-']);
    if name.is_empty() { "model".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    async fn packed(directory: &Path, name: &str) -> Vec<u8> {
        let export = Export::new(directory, name, "# card\n".to_owned()).unwrap();
        let promised = export.bytes();
        let mut stream = Box::pin(export.stream());
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.next().await {
            bytes.extend_from_slice(&chunk.unwrap());
        }
        assert_eq!(bytes.len() as u64, promised);
        bytes
    }

    #[tokio::test]
    async fn the_same_folder_gives_the_same_bytes_of_the_promised_length() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("config.json"), vec![b'x'; 513]).unwrap();
        fs::write(folder.path().join("model.safetensors"), vec![7; 1 << 20]).unwrap();
        fs::write(folder.path().join("secret.txt"), "not part of a model").unwrap();
        let first = packed(folder.path(), "a model").await;
        fs::write(folder.path().join("config.json"), vec![b'x'; 513]).unwrap();
        assert_eq!(packed(folder.path(), "a model").await, first);
        let mut entries = tokio_tar::Archive::new(first.as_slice()).entries().unwrap();
        let mut seen = Vec::new();
        while let Some(entry) = entries.next().await {
            let entry = entry.unwrap();
            let header = entry.header();
            assert_eq!((header.mode().unwrap(), header.mtime().unwrap()), (0o644, 0));
            seen.push(entry.path().unwrap().display().to_string());
        }
        assert_eq!(seen, ["a-model/README.md", "a-model/config.json", "a-model/model.safetensors"]);
    }

    #[test]
    fn no_name_leaves_its_folder_or_its_header() {
        for (name, plain) in [
            ("desk:ckpt-step-20", "desk-ckpt-step-20"),
            ("../../etc", "etc"),
            ("a\"\r\nb", "a---b"),
            ("…", "model"),
            ("-rf", "rf"),
        ] {
            assert_eq!(plain_name(name), plain, "{name}");
        }
    }
}
